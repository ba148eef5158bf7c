"""What one run wrote over time, as arrays: the curves of a split, the measurements of a probe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.metrics.scores import FloatArray, mean_of_present

# What says of a line when and on what it was measured.
NOT_VALUES = ("epoch", "step", "split", "probe")


@dataclass(frozen=True)
class Curves:
    """What was measured on one split, or by one probe, over one run.

    Attributes:
        epoch: time in epochs, with its fraction, shape [times].
        step: training steps done, shape [times].
        values: by name, shape [times, ...]. The metrics of a split have the shape [times,
            classes], `confusion` [times, classes, classes]; a probe's names have the form
            `recall/own_head`.
    """

    epoch: FloatArray
    step: NDArray[np.int64]
    values: Mapping[str, FloatArray]

    def group(self, name: str, members: Sequence[int]) -> FloatArray:
        """The mean over some classes, shape [times]; absent classes are left out."""
        columns = self.values[name][:, list(members)]
        if not np.isnan(columns).any():
            return np.asarray(columns.mean(axis=1), dtype=np.float64)
        return np.asarray([mean_of_present(row) for row in columns], dtype=np.float64)

    def until(self, step: int) -> "Curves":
        """What was measured up to an update, with it."""
        kept = self.step <= step
        values = {name: value[kept] for name, value in self.values.items()}
        return Curves(self.epoch[kept], self.step[kept], values)


def stack(lines: Sequence[Mapping[str, Any]]) -> Curves:
    """Lines of `curves.jsonl`, of one split or one probe, as arrays; what a line lacks is NaN."""
    values: dict[str, FloatArray] = {}
    for name in dict.fromkeys(name for line in lines for name in line):
        if name not in NOT_VALUES:
            shape = next(np.shape(line[name]) for line in lines if name in line)
            missing = np.full(shape, np.nan)
            # The file has null for a single number that is missing, which becomes NaN here.
            values[name] = np.array([line.get(name, missing) for line in lines], dtype=np.float64)
    return Curves(
        epoch=np.asarray([line["epoch"] for line in lines], dtype=np.float64),
        step=np.asarray([line["step"] for line in lines], dtype=np.int64),
        values=values,
    )
