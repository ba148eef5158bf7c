"""How cost grows with classes, samples and epochs, in one process: python benchmarks/growth.py

Made-up numbers of realistic sizes through skewlab's own parts; the best of three. What very many
runs cost is measured by scale.py.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from skewlab.data.batches import EveryRowOnce, TrainingBatches
from skewlab.data.profiles import Profile
from skewlab.data.subsets import draw_subset
from skewlab.metrics.per_class import PerClassMetric
from skewlab.metrics.scores import class_metrics, scalars
from skewlab.runs.curve_file import NAME, CurveFile, read_curves

CLASSES = (10, 100, 1_000, 10_000)
SAMPLES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
EVALUATIONS = (10, 100, 1_000, 10_000)
EVALUATED = 20_000  # samples of an evaluation
CONFUSION = 100  # as `curves.confusion_classes`
BATCH = 250


def milliseconds(measure: Callable[[], object]) -> float:
    """The best of three."""
    found = []
    for _ in range(3):
        began = time.perf_counter()
        measure()
        found.append(1000 * (time.perf_counter() - began))
    return min(found)


def table(title: str, heads: list[str], lines: list[list[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for line in lines:
        print(f"| {' | '.join(line)} |", flush=True)


def made_up(classes: int) -> dict[str, np.ndarray]:
    """One evaluation's metrics."""
    random = np.random.default_rng(0)
    sums = random.random((classes, 6))
    sums[:, 0] = 50
    return class_metrics(sums)


def of_classes(folder: Path) -> None:
    lines = []
    for classes in CLASSES:
        labels = torch.randint(classes, (EVALUATED,))
        logits = torch.randn(BATCH, classes)
        metric = PerClassMetric(classes, confusion=classes <= CONFUSION)
        state = sum(t.numel() * t.element_size() for t in metric.metric_state.values())

        def evaluate(metric: PerClassMetric = metric, logits=logits, labels=labels) -> None:
            metric.reset()
            for batch in labels.split(BATCH):
                metric.update(logits, batch)
            metric.compute()

        found = {split: made_up(classes) for split in ("train", "val", "test")}
        groups = {"majority": range(classes // 2), "minority": range(classes // 2, classes)}
        taken = milliseconds(evaluate)
        named = milliseconds(lambda found=found, groups=groups: scalars(found, groups))
        place = folder / f"classes{classes}"
        place.mkdir()
        with closing(CurveFile(place)) as file:
            write = milliseconds(lambda: file.append(1.0, 1, "test", found["test"]))  # noqa: B023
        read = milliseconds(lambda place=place: read_curves(place)) / 3
        size = (place / NAME).stat().st_size / 3 / 2**10
        lines.append(
            [
                f"{classes:,}", f"{taken:.0f} ms", f"{state / 2**10:,.0f} KiB", f"{named:.2f} ms",
                f"{write:.2f} ms", f"{read:.2f} ms", f"{size:,.1f} KiB",
            ]
        )  # fmt: skip
    table(
        f"Classes: an evaluation of {EVALUATED:,} samples, logits given",
        ["classes", "metric", "its state", "means", "line written", "read", "line"],
        lines,
    )


def of_samples() -> None:
    lines = []
    for samples in SAMPLES:
        labels = np.arange(samples) % 10
        names = [str(label) for label in range(10)]
        profile = Profile("exp", 50)

        def draw(labels=labels, names=names, profile=profile) -> object:
            return draw_subset(
                labels, names, profile, data_seed=0, val_per_class=len(labels) // 100
            )

        taken = milliseconds(draw)
        batches = TrainingBatches(EveryRowOnce(samples), 256, seed=0)
        order = milliseconds(lambda batches=batches: list(batches))
        kept = len(draw().train)
        lines.append([f"{samples:,}", f"{kept:,}", f"{taken:,.1f} ms", f"{order:,.1f} ms"])
    table(
        "Samples: a long tail is drawn from a pool of indices; an epoch of the whole pool is put "
        "in order, in batches of 256",
        ["pool", "kept at ratio 50", "drawn in", "an epoch's order"],
        lines,
    )


def of_evaluations(folder: Path) -> None:
    lines = []
    found = made_up(10)
    for evaluations in EVALUATIONS:
        place = folder / f"evaluations{evaluations}"
        place.mkdir()
        began = time.perf_counter()
        with closing(CurveFile(place)) as file:
            for epoch in range(evaluations):
                for split in ("train", "val", "test"):
                    file.append(float(epoch), epoch, split, found)
        write = 1000 * (time.perf_counter() - began)
        read = milliseconds(lambda place=place: read_curves(place))
        size = (place / NAME).stat().st_size / 2**10
        lines.append(
            [f"{evaluations:,}", f"{write:,.1f} ms", f"{read:,.1f} ms", f"{size:,.0f} KiB"]
        )
    table(
        "Epochs: three splits of ten classes, written after each",
        ["evaluations", "written in", "read in", "file"],
        lines,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        of_classes(Path(scratch))
        of_samples()
        of_evaluations(Path(scratch))
