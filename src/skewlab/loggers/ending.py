"""How a run ended, for loggers that show more of it than its rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from skewlab.metrics.scores import evaluations, of_streamed_classes
from skewlab.report.read import Run, read_run
from skewlab.runs import curve_file
from skewlab.runs.curve_file import read_curves
from skewlab.runs.folder import PREEMPTED

# The names under which every logger shows them.
CLASSES, CONFUSION = "result/classes", "result/confusion"
CURVES, SAMPLES = "result/curves", "result/samples"


class ClassRow(NamedTuple):
    """The results of one class; recalls at the last evaluation."""

    name: str
    samples: int
    group: str
    train_recall: float
    test_recall: float


COLUMNS = ("class", "training samples", "group", "train recall", "test recall")


@dataclass(frozen=True)
class Ending:
    """How a run ended, with its results, which are read from its folder on first use.

    Attributes:
        path: the run's folder.
        state: done, diverged, preempted or failed, see `runs.folder`.
        summary: the scalars of the last evaluation, and under `val_best/` those of the best on
            val; empty unless it is done.
    """

    path: Path
    state: str
    summary: dict[str, float]

    @cached_property
    def run(self) -> Run:
        """The run as it lies on disk."""
        return read_run(self.path)[0]

    @property
    def has_results(self) -> bool:
        """Whether there are results to show. A run that was preempted goes on later and is told
        again; a run that failed before its first evaluation has none."""
        curves = self.path / curve_file.CURVES
        return self.state != PREEMPTED and curves.exists() and "test" in self.run.curves

    @property
    def step(self) -> int:
        """Training steps at the last evaluation."""
        return int(self.run.curves["test"].step[-1])

    @property
    def choices(self) -> dict[str, Any]:
        """What differs between the runs of a study: ratio, seed, and the names of the parts."""
        config = self.run.config
        parts = ("data", "model", "method", "optimizer")
        named = {part: str(config[part].get("name", part)) for part in parts}
        return {"ratio": self.run.ratio, "seed": self.run.seed, **named}

    @property
    def classes(self) -> list[ClassRow]:
        """A row for each class, in label order."""
        minority = set(self.run.data["groups"]["minority"])
        last = {split: self.run.curves[split].values["recall"][-1] for split in ("train", "test")}
        return [
            ClassRow(
                name,
                self.run.counts[label],
                "minority" if label in minority else "majority",
                float(last["train"][label]),
                float(last["test"][label]),
            )
            for label, name in enumerate(self.run.data["class_names"])
        ]

    @property
    def confusion(self) -> NDArray[np.int64] | None:
        """Test samples by true (rows) and predicted class (columns) at the last evaluation; None
        where the classes were too many to count."""
        counts = self.run.curves["test"].values.get("confusion")
        return None if counts is None else counts[-1].astype(np.int64)

    def rows(self) -> Iterator[dict[str, float]]:
        """Every row of the curves that the loggers were told, in order."""
        names = self.run.data["class_names"]
        return map(self.streamed, evaluations(read_curves(self.path)[0], self.run.groups, names))

    def streamed(self, row: Mapping[str, float]) -> dict[str, float]:
        """What loggers are told of a row."""
        curves = self.run.config["curves"]
        few = len(self.run.data["class_names"]) <= int(curves["streamed_classes"])
        metrics = [*curves["streamed_class_metrics"], *curves.get("metrics", {})]
        return of_streamed_classes(row, few, metrics)

    def pictures(self) -> dict[str, Path]:
        """The run's pictures by their names on the loggers: its curves, which are drawn into its
        folder here, and as `result/<probe>` each `<probe>.png` that a probe has drawn there."""
        from skewlab.report.run_figure import draw_run

        shown = {CURVES: draw_run(self.run, self.path / "curves.png")}
        for probe in self.run.config["curves"]["probes"]:
            if (path := self.path / f"{probe}.png").exists():
                shown[f"result/{probe}"] = path
        return shown


@runtime_checkable
class Ends(Protocol):
    """A logger that is told how the run ended."""

    def end(self, ending: Ending) -> None:
        """Show the results, and close."""
