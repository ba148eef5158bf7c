"""Runs as they lie on disk, finished or not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from skewlab.curves.scalars import FloatArray, mean_of_present
from skewlab.runs import jsonfile
from skewlab.runs.curvefile import read_curves

# Keys of the configuration that do not make two runs different settings of the study.
NOT_A_SETTING = frozenset(
    {"seed", "data_seed", "init_seed", "order_seed", "study", "logs_dir", "data_dir", "overwrite"}
    | {"logger", "ratio"}
)


@dataclass(frozen=True)
class SplitCurves:
    """The curves of one split of one run.

    Attributes:
        epoch: time in epochs, a fraction within one, shape [evaluations].
        step: training steps done, shape [evaluations].
        values: for each metric, shape [evaluations, classes]; `confusion` has one more.
    """

    epoch: FloatArray
    step: NDArray[np.int64]
    values: Mapping[str, FloatArray]

    def group(self, metric: str, members: Sequence[int]) -> FloatArray:
        """A metric's mean over some classes, shape [evaluations]; absent classes left out."""
        columns = self.values[metric][:, list(members)]
        return np.asarray([mean_of_present(row) for row in columns], dtype=np.float64)


@dataclass(frozen=True)
class Run:
    """One run's folder, read.

    Attributes:
        path: the folder.
        state: of `status.json`: done, failed, diverged, running.
        reason: why it failed or diverged.
        config: `config.yaml`.
        data: `data.json`.
        status: `status.json`.
        curves: by split; empty where nothing was evaluated yet.
        problems: what could not be read.
    """

    path: Path
    state: str
    reason: str | None
    config: dict[str, Any]
    data: dict[str, Any]
    status: dict[str, Any]
    curves: dict[str, SplitCurves]
    problems: tuple[str, ...]

    @property
    def ratio(self) -> float:
        return float(self.data["ratio"])

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def samples(self) -> int:
        """Training samples."""
        return int(sum(self.data["train_counts"]))

    def group(self, split: str, metric: str, group: str) -> tuple[FloatArray, FloatArray]:
        """(epochs, values) of a group's curve."""
        curves = self.curves[split]
        return curves.epoch, curves.group(metric, self.data["groups"][group])

    def final(self, split: str, metric: str, group: str) -> float:
        """A group's value at the last evaluation."""
        return float(self.group(split, metric, group)[1][-1])

    @cached_property
    def setting(self) -> dict[str, str]:
        """All that may differ between settings of a study but ratio and seeds, flat."""
        return dict(_flatten({k: v for k, v in self.config.items() if k not in NOT_A_SETTING}))


def _flatten(value: Any, key: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _flatten(entry, f"{key}.{name}" if key else str(name))
    else:
        yield key, str(value)


def read_run(path: Path) -> Run:
    """Read one run's folder.

    Raises:
        ValueError: it is no run: it lacks a configuration, data or status that can be read.
    """
    try:
        config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        data = jsonfile.read(path / "data.json") if (path / "data.json").exists() else {}
        status = jsonfile.read(path / "status.json")
        state, reason = str(status["state"]), status.get("reason")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not a readable run ({error})") from error
    lines, problems = read_curves(path) if data else ([], [])
    by_split: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_split.setdefault(line["split"], []).append(line)
    curves = {split: _stack(lines) for split, lines in by_split.items()}
    return Run(path, state, reason, config, data, status, curves, tuple(problems))


def _stack(lines: list[dict[str, Any]]) -> SplitCurves:
    names = [name for name, value in lines[0].items() if isinstance(value, np.ndarray)]
    return SplitCurves(
        epoch=np.asarray([line["epoch"] for line in lines], dtype=np.float64),
        step=np.asarray([line["step"] for line in lines], dtype=np.int64),
        values={name: np.stack([line[name] for line in lines]) for name in names},
    )


def differing_keys(runs: Sequence[Run]) -> list[str]:
    """The configuration's keys that tell these runs' settings apart, ratio and seeds aside.

    Where a part's name tells as much as all its keys (two networks, two methods), the name alone.
    """
    keys = {key for run in runs for key in run.setting}
    differing = [key for key in sorted(keys) if len({run.setting.get(key) for run in runs}) > 1]
    kept: list[str] = []
    for section in dict.fromkeys(key.split(".")[0] for key in differing):
        members = [key for key in differing if key.split(".")[0] == section]
        name = f"{section}.name"
        if name in members:
            contents = {tuple(run.setting.get(key) for key in members) for run in runs}
            if len(contents) == len({run.setting.get(name) for run in runs}):
                members = [name]
        kept += members
    return kept


def by_setting(runs: Sequence[Run]) -> dict[tuple[str, ...], list[Run]]:
    """Runs that differ in ratio and seed only, together; the key holds the values of
    `differing_keys`."""
    keys = differing_keys(runs)
    together: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        together.setdefault(tuple(run.setting.get(key, "") for key in keys), []).append(run)
    return together
