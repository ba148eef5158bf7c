"""What one run wrote over time, as arrays: the curves of a split, the measurements of a probe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.metrics.scores import FloatArray, mean_of_present


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
        if not np.isnan(columns).any():
            return np.asarray(columns.mean(axis=1), dtype=np.float64)
        return np.asarray([mean_of_present(row) for row in columns], dtype=np.float64)


@dataclass(frozen=True)
class ProbeCurves:
    """What one probe has found over one run.

    Attributes:
        epoch, step: of each measurement, shape [measurements].
        values: flat, such as `recall/own_head`; shape [measurements, ...].
    """

    epoch: FloatArray
    step: NDArray[np.int64]
    values: Mapping[str, FloatArray]

    def group(self, name: str, members: Sequence[int]) -> FloatArray:
        """The mean of an array over classes over some of them, shape [measurements]; absent
        classes left out."""
        columns = self.values[name][:, list(members)]
        return np.asarray([mean_of_present(row) for row in columns], dtype=np.float64)


def stack_split(lines: list[dict[str, Any]]) -> SplitCurves:
    """The lines of one split together; each has all values."""
    names = [name for name, value in lines[0].items() if isinstance(value, np.ndarray)]
    return SplitCurves(
        epoch=np.asarray([line["epoch"] for line in lines], dtype=np.float64),
        step=np.asarray([line["step"] for line in lines], dtype=np.int64),
        values={name: np.stack([line[name] for line in lines]) for name in names},
    )


def stack_probe(lines: list[dict[str, Any]]) -> ProbeCurves:
    """Measurements of one probe; what the first of some steps lacks is NaN there."""
    values: dict[str, FloatArray] = {}
    for name in dict.fromkeys(name for line in lines for name in line):
        if name not in ("epoch", "step", "probe"):
            known = next(np.asarray(line[name]) for line in lines if name in line)
            missing = np.full(known.shape, np.nan)
            # A single number that is missing was written as null.
            column = [np.asarray(line.get(name, missing), dtype=np.float64) for line in lines]
            values[name] = np.stack(column)
    return ProbeCurves(
        epoch=np.asarray([line["epoch"] for line in lines], dtype=np.float64),
        step=np.asarray([line["step"] for line in lines], dtype=np.int64),
        values=values,
    )
