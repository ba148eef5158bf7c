"""Means over seeds and their intervals."""

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from skewlab.curves.scalars import FloatArray

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95% percentile bootstrap interval (Efron 1979).

    Attributes:
        mean: over the seeds.
        low, high: ends of the interval; equal to the mean where there is one seed.
        n: seeds.
    """

    mean: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        if self.n < 2:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


@functools.lru_cache(maxsize=8)
def draws(n: int) -> FloatArray:
    """How often each of n seeds is in each resample, as shares, shape [resamples, n]; the same
    at each call, so that a report of the same runs is the same report."""
    picked = np.random.RandomState(0).randint(0, n, (RESAMPLES, n))
    place = picked + n * np.arange(RESAMPLES)[:, None]
    counts = np.bincount(place.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n)
    shares = np.asarray(counts / n, dtype=np.float64)
    shares.flags.writeable = False  # everybody is given the same array
    return shares


def bootstrap(values: Sequence[float] | FloatArray) -> Estimate:
    """The mean of one value a seed. For a paired comparison, give the differences by seed."""
    array = np.asarray(values, dtype=np.float64)
    low, high = band(array[:, None])
    return Estimate(float(array.mean()), float(low[0]), float(high[0]), len(array))


def band(curves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ends of the interval of the mean at each time, for curves of shape [seeds, times].

    Whole seeds are resampled, so a curve stays a curve. NaN where any seed is.
    """
    means = draws(len(curves)) @ curves
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def bootstrap_share(part: Sequence[float], whole: Sequence[float]) -> Estimate | None:
    """Mean part over mean whole, both by seed and resampled together; None where the whole is
    not clearly positive, and a share has no meaning."""
    parts, wholes = (np.asarray(v, dtype=np.float64) for v in (part, whole))
    weights = draws(len(parts))
    if (weights @ wholes).min() <= 1e-9:
        return None
    shares = (weights @ parts) / (weights @ wholes)
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(parts.mean() / wholes.mean()), float(low), float(high), len(parts))
