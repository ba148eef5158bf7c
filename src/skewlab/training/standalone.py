"""The folder of a run that another project trains: what the report needs besides the curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from skewlab.runs import json_file
from skewlab.runs.folder import DONE, FAILED, PREEMPTED, RunFolder
from skewlab.runs.provenance import provenance
from skewlab.terminal import note
from skewlab.training.evaluation import LoaderSplits

NAMES = ("data", "model", "method", "optimizer")


class StandaloneRun:
    """Writes `config.yaml`, `data.json`, `status.json` and `summary.json` of a run that
    `PerClassCurves` records in anybody's project.

    Args:
        folder: the run's folder; the one above it is its study.
        about: `seed`, and the names of `data`, `model`, `method` and `optimizer`.

    Raises:
        ValueError: something else in `about`.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self._folder, self._about = RunFolder(folder), about
        if unknown := sorted(set(about) - {"seed", *NAMES}):
            raise ValueError(f"about={unknown}: allowed: seed, {', '.join(NAMES)}")

    def start(
        self,
        trainer: pl.Trainer,
        data: LoaderSplits,
        streamed: Mapping[str, Any],
        resumed: bool,
    ) -> None:
        """Write what is known before the first update. A finished run that lies there is kept
        beside it until the new one is done.

        Args:
            trainer: that trains.
            data: the splits.
            streamed: what of single classes is told to loggers, as in `configs/curves`.
            resumed: whether it goes on from a checkpoint.
        """
        if not resumed and self._folder.state() == DONE:
            aside = self._folder.set_aside()
            note(
                f"{self._folder.path} holds a finished run; kept as {aside} until this one is done"
            )
        counts = data.counts.tolist()
        ratio = max(counts) / max(min(counts), 1)
        seed = int(self._about.get("seed", 0))
        module = type(trainer.lightning_module).__name__
        defaults = {"data": "loaders", "model": module, "method": "ce", "optimizer": "own"}
        named = {part: {"name": str(self._about.get(part, defaults[part]))} for part in NAMES}
        config = {
            "ratio": ratio,
            **dict.fromkeys(("seed", "data_seed", "init_seed", "order_seed"), seed),
            "study": self._folder.path.parent.name,
            **named,
            "imbalance": {"profile": "natural", "control": "none", "class_order": "identity"},
            "curves": {**streamed, "probes": {}},
            "trainer": {"max_epochs": trainer.max_epochs},
        }
        self._folder.start(config, {**provenance(), "recorded_by": "skewlab.PerClassCurves"})
        json_file.write(
            self._folder.path / "data.json",
            {
                "class_names": list(data.class_names),
                "train_counts": counts,
                "groups": {name: list(members) for name, members in data.groups.items()},
                "shots": {},
                "ratio": ratio,
                "ratio_reached": ratio,
            },
        )

    def end(self, summary: Mapping[str, float]) -> None:
        """Write that training has ended."""
        json_file.write(self._folder.path / "summary.json", dict(summary))
        self._folder.finish(DONE)
        self._folder.drop_set_aside()

    def fail(self, error: BaseException) -> None:
        """Write why it ended too early."""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self._folder.finish(PREEMPTED, reason="interrupted")
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
            self._folder.finish(FAILED, reason=f"{type(error).__name__}: {reason}")
