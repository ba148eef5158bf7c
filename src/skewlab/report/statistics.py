"""Means over seeds and their intervals."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from skewlab.metrics.scores import FloatArray

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

    def __str__(self) -> str:
        # Recalls and losses to three digits, numbers of updates to one.
        digits = 3 if max(abs(self.low), abs(self.high)) < 10 else 1
        mean, low, high = (f"{value:.{digits}f}" for value in (self.mean, self.low, self.high))
        return mean if self.n < 2 else f"{mean} ({low} to {high})"


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
    return Estimate(float(array.mean()) + 0.0, float(low[0]), float(high[0]), len(array))


def bootstrap_present(values: Iterable[float]) -> Estimate | None:
    """The same without what is NaN or infinite; None where nothing is left."""
    present = [value for value in values if np.isfinite(value)]
    return bootstrap(present) if present else None


def band(curves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ends of the interval of the mean at each time, for curves of shape [seeds, times].

    Whole seeds are resampled, so a curve stays a curve. NaN where any seed is.
    """
    # Without the last digits: a zero is one, and not a little above or below it.
    means = np.round(draws(len(curves)) @ curves, 12) + 0.0
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


@dataclass(frozen=True)
class Censored:
    """A line fitted to values that are known to lie in intervals.

    Attributes:
        slope, intercept: of the line.
        sigma: standard deviation about it.
    """

    slope: float
    intercept: float
    sigma: float


def censored_regression(x: FloatArray, low: FloatArray, high: FloatArray) -> Censored:
    """Maximum likelihood of y = intercept + slope x + sigma e, e standard normal, where of each y
    only an interval is known (Tobin 1958, with both ends): low < y <= high, infinite ends allowed.

    Args:
        x: shape [values].
        low, high: ends of the intervals, shape [values]; equal where y itself is known.
    """
    from scipy.optimize import minimize
    from scipy.special import log_ndtr

    known = high - low < 1e-9
    # A start from what is known best: the middles, or the one finite end.
    middle = np.where(np.isfinite(low) & np.isfinite(high), (low + high) / 2, 0.0)
    middle = np.where(np.isfinite(low) & ~np.isfinite(high), low, middle)
    middle = np.where(~np.isfinite(low) & np.isfinite(high), high, middle)
    slope, intercept = np.polyfit(x, middle, 1)
    spread = float(np.std(middle - intercept - slope * x)) + 0.1

    def cost(parameters: FloatArray) -> float:
        line, sigma = parameters[0] * x + parameters[1], np.exp(parameters[2])
        upper, lower = (high - line) / sigma, (low - line) / sigma
        # log of the normal's mass in between, from the side where it does not cancel.
        flip = lower > 0
        a, b = np.where(flip, -upper, lower), np.where(flip, -lower, upper)
        with np.errstate(divide="ignore", invalid="ignore"):
            below = log_ndtr(b)
            mass = below + np.log1p(-np.exp(log_ndtr(a) - below))
        density = -0.5 * (lower**2 + np.log(2 * np.pi)) - parameters[2]
        total = np.where(known, density, mass)
        return -float(np.maximum(total, -1e6).sum())

    # The surface is smooth but flat far away: no gradient needed for three parameters.
    best = minimize(
        cost,
        np.asarray([slope, intercept, np.log(spread)]),
        method="Nelder-Mead",
        options={"maxiter": 4000, "xatol": 1e-6, "fatol": 1e-8},
    )
    return Censored(float(best.x[0]), float(best.x[1]), float(np.exp(best.x[2])))
