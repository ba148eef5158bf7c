"""Means over seeds: intervals and tests that count every source of error.

What a run finds depends on four draws: the training subset (`data_seed`), the initial weights
(`init_seed`), the order of samples (`order_seed`), and the test samples, which all runs share. An
interval is for the mean over all four, for a number of seeds as small as three.

- *Seeds.* Seeds that move together are one draw. Of nested seeds (several `init_seed` in each
  `data_seed`) the outer ones are the independent draws, and their means are used. Crossed seeds (a
  grid) are taken apart by the analysis of variance of a random-effects model, its degrees of
  freedom after Satterthwaite (1946).
- *The test sample* is crossed with the seeds: its share of the variance is added, without what
  chance in single runs adds to it, as in the two-way layout of Owen (2007).
- *The interval* is Student's t; that of a ratio of two means is Fieller's (1954).
- *Families* of tests are corrected by Holm (1979).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from skewlab.metrics.scores import FloatArray

LEVEL = 0.95
# data_seed, init_seed, order_seed, and what each of them draws.
Seeds = tuple[int, ...]
SOURCES = {"data_seed": "training subset", "init_seed": "initial weights", "order_seed": "order"}


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: over the seeds; NaN where there is no number at all.
        error: its standard error; NaN with fewer than two independent draws.
        df: degrees of freedom of the error.
        n: independent draws of the seed that was drawn least often.
        fixed: the seeds that are the same in all runs, where others are not: the interval is for
            these draws alone.
        within: the least and the largest value that are possible.
    """

    mean: float
    error: float
    df: float
    n: int
    fixed: tuple[str, ...] = ()
    within: tuple[float, float] = (-np.inf, np.inf)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Both ends; the mean itself where there is no error."""
        if not np.isfinite(self.error):
            return self.mean, self.mean
        low, high = self._ends(float(stdtrit(self.df, (1 + level) / 2)))
        least, most = self.within
        # Without the last digits: a zero is one, and not a little above or below it.
        low, high = (round(float(np.clip(end, least, most)), 12) + 0.0 for end in (low, high))
        return low, high

    def _ends(self, quantile: float) -> tuple[float, float]:
        return self.mean - quantile * self.error, self.mean + quantile * self.error

    @property
    def low(self) -> float:
        """The lower end of the 95% interval."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """The upper end of the 95% interval."""
        return self.interval()[1]

    def p_value(self, threshold: float) -> float:
        """Of the two-sided test that the mean is the threshold; NaN where there is no error."""
        apart, error = self._apart(threshold)
        if not np.isfinite(error):
            return np.nan
        if error == 0:
            return float(apart == 0)
        return float(2 * stdtr(self.df, -abs(apart) / error))

    def _apart(self, threshold: float) -> tuple[float, float]:
        """The distance to the threshold, and its standard error."""
        return round(self.mean - threshold, 12), self.error

    def __str__(self) -> str:
        if np.isnan(self.mean):
            return ""
        # Recalls and losses to three digits, numbers of updates to one.
        digits = 3 if max(abs(self.low), abs(self.high)) < 10 else 1
        mean, low, high = (f"{value:.{digits}f}" for value in (self.mean, *self.interval()))
        return mean if np.isnan(self.error) else f"{mean} ({low} to {high})"


ABSENT = Estimate(np.nan, np.nan, np.nan, 0)


@dataclass(frozen=True)
class Share(Estimate):
    """One mean over another, with Fieller's interval; `mean` is the ratio, and `error` its
    standard error to first order.

    Attributes:
        part, whole: both means.
        covariance: of the two means, shape [2, 2].
    """

    part: float = np.nan
    whole: float = np.nan
    covariance: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))

    def _ends(self, quantile: float) -> tuple[float, float]:
        (part, both), (_, whole) = (np.asarray(self.covariance) * quantile**2).tolist()
        # The ratios r at which part - r * whole is not clearly apart from 0: a r^2 - 2 b r + c < 0.
        a, b, c = self.whole**2 - whole, self.part * self.whole - both, self.part**2 - part
        if a <= 0:  # the whole may be 0: any ratio is possible
            return -np.inf, np.inf
        root = np.sqrt(max(b**2 - a * c, 0.0))
        return float((b - root) / a), float((b + root) / a)

    def _apart(self, threshold: float) -> tuple[float, float]:
        (part, both), (_, whole) = self.covariance
        variance = part - 2 * threshold * both + threshold**2 * whole
        return self.part - threshold * self.whole, float(np.sqrt(max(variance, 0.0)))


class OnTest(NamedTuple):
    """How the test sample enters one run's number.

    Attributes:
        variance: that the test sample gives the number, if all its classes are binomial.
        least: what of that is there even where every prediction is right or every one wrong.
        influence: of each test sample on the number, shape [samples]; None where the predictions
            are not on disk.
    """

    variance: float
    least: float
    influence: FloatArray | None

    def minus(self, other: "OnTest", factor: float = 1.0) -> "OnTest":
        """Of this number minus `factor` times another one."""
        influence = None
        if (
            self.influence is not None
            and other.influence is not None
            and len(self.influence) == len(other.influence)
        ):
            influence = self.influence - factor * other.influence
        # Without predictions, what both have in common is not known, and counted twice.
        return OnTest(
            self.variance + factor**2 * other.variance,
            max(self.least, factor**2 * other.least),
            influence,
        )


def on_test(
    weights: FloatArray,
    recall: FloatArray,
    n: FloatArray,
    correct: NDArray[np.bool_] | None = None,
    labels: NDArray[np.int64] | None = None,
) -> OnTest:
    """How the test sample enters a number that changes with the recalls by these weights.

    Args:
        weights: derivative of the number by the recall of each class, shape [classes].
        recall: of each class, shape [classes]; NaN where the class is absent.
        n: test samples of each class, shape [classes].
        correct, labels: of each test sample, shape [samples], where they are known.
    """
    used = (n > 0) & (weights != 0) & np.isfinite(recall)
    w, r, k = weights[used], recall[used], n[used]
    # Two successes and two failures more (Agresti and Coull 1998), so that a class that is all
    # right in a small sample is not taken for one without error.
    plus = (r * k + 2) / (k + 4)
    variance = float((w**2 * plus * (1 - plus) / (k + 4)).sum())
    least = float((w**2 * 2 / (k * (k + 4))).sum())
    influence = None
    if correct is not None and labels is not None:
        by_class = np.where(n > 0, weights / np.maximum(n, 1), 0.0)
        influence = by_class[labels] * (correct - np.nan_to_num(recall)[labels])
    return OnTest(variance, least, influence)


class Spread(NamedTuple):
    """Means of columns over runs: shape [columns] each, and what of the design they depend on."""

    mean: FloatArray
    error: FloatArray
    df: FloatArray
    n: int
    fixed: tuple[str, ...]


def factors(seeds: Sequence[Seeds]) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """The independent draws behind some runs.

    Returns:
        For each factor the level of each run, shape [runs]: one factor where all seeds move
        together or are nested, several that are crossed otherwise, none where all runs have the
        same seeds. And the names of the seeds that never change.
    """
    names = SOURCES if seeds and len(seeds[0]) == len(SOURCES) else range(len(seeds[0]))
    found: list[NDArray[np.int64]] = []
    fixed = []
    for name, column in zip(names, zip(*seeds, strict=True), strict=True):
        levels = np.unique(np.asarray(column), return_inverse=True)[1].reshape(-1)
        if levels.max() == 0:
            fixed.append(str(name))
        else:
            found.append(levels)
    kept: list[NDArray[np.int64]] = []
    for levels in sorted(found, key=lambda one: int(one.max())):  # the outer ones first
        if not any(_nested(levels, outer) for outer in kept):
            kept.append(levels)
    return kept, tuple(fixed) if kept else ()


def _nested(inner: NDArray[np.int64], outer: NDArray[np.int64]) -> bool:
    """Whether every level of `inner` lies in one of `outer`; so does one that moves with it."""
    pairs = np.unique(np.stack([inner, outer]), axis=1)
    return bool(pairs.shape[1] == inner.max() + 1)


def _level_means(values: FloatArray, levels: NDArray[np.int64]) -> FloatArray:
    """The mean of each level, shape [levels, columns]."""
    counts = np.bincount(levels)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, levels, values)
    return np.asarray(sums / counts[:, None], dtype=np.float64)


def spread(values: FloatArray, seeds: Sequence[Seeds]) -> Spread:
    """The mean over seeds of each column, with its standard error.

    Args:
        values: of each run, shape [runs, columns].
        seeds: of each run.
    """
    drawn, fixed = factors(seeds)
    nothing = np.full(values.shape[1], np.nan)
    if not drawn:
        return Spread(values.mean(axis=0), nothing, nothing, 1, fixed)
    if len(drawn) == 1:
        means = _level_means(values, drawn[0])
        n = len(means)
        error = means.std(axis=0, ddof=1) / np.sqrt(n)
        return Spread(means.mean(axis=0), error, np.full_like(error, n - 1), n, fixed)
    mean, error, df = _crossed(values, drawn)
    return Spread(mean, error, df, min(int(levels.max()) + 1 for levels in drawn), fixed)


def _crossed(
    values: FloatArray, drawn: Sequence[NDArray[np.int64]]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean, standard error and degrees of freedom of crossed draws with random effects.

    With the mean squares M of a complete grid of N cells, the mean's variance is
    (M_1 + ... + M_k - (k - 1) M_rest) / N; at least that of the largest factor alone. Of an
    incomplete grid nothing is subtracted.
    """
    table = mean_squares(values, drawn)
    if table is None:
        means = [_level_means(values, levels) for levels in drawn]
        variance = sum((m.var(axis=0, ddof=1) / len(m) for m in means), np.zeros(values.shape[1]))
        least = min(len(m) for m in means) - 1
        return values.mean(axis=0), np.sqrt(variance), np.full_like(variance, least)
    squares, degrees, cells = table
    *own, rest = squares
    *own_df, rest_df = degrees
    whole = sum(own) - (len(own) - 1) * rest
    parts = sum(m**2 / d for m, d in zip(own, own_df, strict=True))
    parts = parts + ((len(own) - 1) * rest) ** 2 / rest_df
    largest, place = np.max(own, axis=0), np.argmax(own, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(whole > largest, whole**2 / parts, np.asarray(own_df)[place])
    # No more than the largest factor has could be known of it.
    df = np.clip(np.nan_to_num(df, nan=1.0), min(own_df), sum(own_df))
    return values.mean(axis=0), np.sqrt(np.maximum(whole, largest) / cells), df


def mean_squares(
    values: FloatArray, drawn: Sequence[NDArray[np.int64]]
) -> tuple[list[FloatArray], list[int], int] | None:
    """The analysis of variance of a complete grid; None for an incomplete one.

    Returns:
        Mean squares of each factor and of the rest, shape [columns] each; their degrees of
        freedom; and the number of cells.
    """
    sizes = [int(levels.max()) + 1 for levels in drawn]
    cell = np.ravel_multi_index(tuple(drawn), sizes)
    counts = np.bincount(cell, minlength=int(np.prod(sizes)))
    if counts.min() == 0 or counts.min() != counts.max():
        return None
    grid = _level_means(values, cell)
    levels = np.unravel_index(np.arange(len(grid)), sizes)
    mean = grid.mean(axis=0)
    left = ((grid - mean) ** 2).sum(axis=0)
    squares, degrees = [], []
    for place, size in zip(levels, sizes, strict=True):
        own = len(grid) / size * ((_level_means(grid, place) - mean) ** 2).sum(axis=0)
        squares.append(own / (size - 1))
        degrees.append(size - 1)
        left = left - own
    rest = len(grid) - 1 - sum(degrees)
    return [*squares, np.maximum(left, 0.0) / rest], [*degrees, rest], len(grid)


def estimate(
    values: Mapping[Seeds, float],
    test: Mapping[Seeds, OnTest] | None = None,
    *,
    step: float = 0.0,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Estimate:
    """The mean over seeds of a number for each run, and for a paired comparison of the differences
    of runs of the same seeds.

    Args:
        values: by the run's seeds; what is not finite is left out.
        test: how the test sample enters each of them; None where it does not.
        step: the least difference of two values of one run, such as one over the number of samples
            of a recall. What is rounded so has a variance of step^2 / 12 at least (Sheppard 1898).
        within: the least and the largest possible value.
    """
    present = {seeds: value for seeds, value in values.items() if np.isfinite(value)}
    if not present:
        return ABSENT
    found = spread(np.asarray([list(present.values())], dtype=np.float64).T, list(present))
    error, df = float(found.error[0]), float(found.df[0])
    if np.isfinite(error):
        error = max(error, step / np.sqrt(12 * found.n))
        shared = test_variance([test[seeds] for seeds in present]) if test else 0.0
        error, df = _with_test(error, df, shared)
    mean = float(found.mean[0]) + 0.0
    return Estimate(mean, error, df, found.n, found.fixed, within)


def _with_test(error: float, df: float, shared: float) -> tuple[float, float]:
    """The standard error with the test sample's part, whose own error is small; Satterthwaite's
    degrees of freedom."""
    if shared == 0:
        return error, df
    whole = error**2 + shared
    return float(np.sqrt(whole)), float(df * (whole / error**2) ** 2) if error else np.inf


def test_variance(test: Sequence[OnTest]) -> float:
    """The variance that the test sample gives a mean over runs, all of which it is shared by."""
    influences = [one.influence for one in test if one.influence is not None]
    least = float(np.mean([one.least for one in test]))
    lengths = {len(one) for one in influences}
    if len(influences) < len(test) or len(lengths) != 1:
        return float(np.mean([one.variance for one in test]))
    each = np.stack(influences)
    mean = each.mean(axis=0)
    # What chance in single runs adds to it is in the variance between seeds already.
    by_chance = ((each - mean) ** 2).sum() / (len(each) * max(len(each) - 1, 1))
    return max(float((mean**2).sum() - by_chance), least)


def share(
    part: Mapping[Seeds, float],
    whole: Mapping[Seeds, float],
    part_test: Mapping[Seeds, OnTest] | None = None,
    whole_test: Mapping[Seeds, OnTest] | None = None,
) -> Estimate:
    """Mean part over mean whole, by seed; absent where the whole is not clearly above 0, and a
    share has no meaning."""
    both = [s for s in part if np.isfinite(part[s]) and np.isfinite(whole.get(s, np.nan))]
    parts, wholes = ({s: of[s] for s in both} for of in (part, whole))
    top, below = estimate(parts, part_test), estimate(wholes, whole_test)
    if not both or below.mean <= 0 or (below.n > 1 and below.low <= 0):
        return ABSENT
    ratio = top.mean / below.mean
    if below.n < 2:
        return replace(top, mean=ratio)
    apart_test = None
    if part_test and whole_test:
        apart_test = {s: part_test[s].minus(whole_test[s]) for s in both}
    apart = estimate({s: parts[s] - wholes[s] for s in both}, apart_test)
    covariance = (top.error**2 + below.error**2 - apart.error**2) / 2
    matrix = ((top.error**2, covariance), (covariance, below.error**2))
    variance = top.error**2 - 2 * ratio * covariance + ratio**2 * below.error**2
    return Share(
        mean=ratio,
        error=float(np.sqrt(max(variance, 0.0))) / below.mean,
        df=min(top.df, below.df),
        n=below.n,
        fixed=below.fixed,
        part=top.mean,
        whole=below.mean,
        covariance=matrix,
    )


def holm(p_values: Iterable[float]) -> list[float]:
    """The p-values of a family of tests, corrected so that any false rejection among them has at
    most the level's probability (Holm 1979). NaN stays NaN, and is no member.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    given = np.asarray(list(p_values), dtype=np.float64)
    corrected = np.full(len(given), np.nan)
    order = [place for place in np.argsort(given) if not np.isnan(given[place])]
    largest = 0.0
    for done, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - done) * float(given[place])))
        corrected[place] = largest
    return [float(one) for one in corrected]


def band(
    curves: FloatArray, seeds: Sequence[Seeds], within: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[FloatArray, FloatArray]:
    """Ends of the 95% interval of the mean over seeds at each time, each for itself.

    Args:
        curves: shape [runs, times]; NaN where any run is.
        seeds: of each run.
        within: the least and the largest possible value.
    """
    found = spread(curves, seeds)
    if found.n < 2:
        return found.mean, found.mean
    half = stdtrit(found.df, (1 + LEVEL) / 2) * found.error
    return np.clip(found.mean - half, *within), np.clip(found.mean + half, *within)


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
