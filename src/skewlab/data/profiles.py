"""How many samples each class keeps: counts from a profile and a ratio.

The imbalance ratio is rho = n_max / n_min >= 1. The *rank* of a class is its place in the profile;
rank 0 is the most frequent class. Needs NumPy only.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skewlab.errors import ConfigError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """How class counts fall from n_max to n_min.

    Attributes:
        name: `step`, `exp`, `zipf`, `one_minority` or `counts`.
        ratio: the wanted imbalance ratio; None for `counts`, where the counts give it.
        minority_fraction: share of the classes that are the minority; they have the last ranks.
        counts: for `counts`, the samples of each rank.
    """

    name: str
    ratio: float | None = None
    minority_fraction: float = 0.5
    counts: tuple[int, ...] | None = None

    def minority_size(self, classes: int) -> int:
        """The number of classes that are the minority; they have the last ranks.

        It is the same at every ratio, also at ratio 1, so that curves can be compared over ratios.
        With `counts`, classes up to the geometric mean of n_max and n_min are the minority.
        """
        if self.name == "one_minority":
            return 1
        if self.counts is not None and min(self.counts) < max(self.counts):
            middle = math.sqrt(min(self.counts) * max(self.counts))
            return sum(count <= middle for count in self.counts)
        return min(max(round(classes * self.minority_fraction), 1), classes - 1)

    def weights(self, classes: int) -> FloatArray:
        """Counts as shares of n_max, by rank, shape [classes]; the first is 1.

        - step (Buda et al. 2018): 1 for the majority, 1 / rho for the minority.
        - exp (Cui et al. 2019): rho ** (-rank / (classes - 1)), the long tail.
        - zipf: (rank + 1) ** -s with s = log rho / log classes; rho = classes is Zipf's law.
        - one_minority: 1 / rho for the last rank, 1 for all others.
        """
        rank = np.arange(classes, dtype=np.float64)
        if self.counts is not None:
            return np.asarray(self.counts, dtype=np.float64) / max(self.counts)
        assert self.ratio is not None
        if self.name in ("step", "one_minority"):
            minority = rank >= classes - self.minority_size(classes)
            return np.where(minority, 1.0 / self.ratio, 1.0)
        if self.name == "exp":
            return self.ratio ** (-rank / (classes - 1))
        return (rank + 1.0) ** (-math.log(self.ratio) / math.log(classes))

    def round(self, exact: FloatArray) -> IntArray:
        """Whole counts. `exp` rounds down, as the code behind the published totals does (Cao et al.
        2019). Other profiles round to the nearest number, which changes the ratio least."""
        # The tiny term keeps 49.999999999999 from becoming 49.
        whole = np.floor(exact + 1e-6) if self.name == "exp" else np.floor(exact + 0.5)
        return whole.astype(np.int64)

    def smallest_weight_sum(self, classes: int) -> int:
        """The limit of the sum of the weights as the ratio grows."""
        if self.name in ("step", "one_minority"):
            return classes - self.minority_size(classes)
        return 1


def class_counts(
    profile: Profile,
    available: IntArray,
    *,
    budget: str = "majority",
    n_max: int | None = None,
    total: int | None = None,
) -> IntArray:
    """The number of samples of each rank, shape [classes].

    Args:
        profile: how counts fall.
        available: number of available samples of each rank, shape [classes].
        budget: `majority` keeps n_max the same at every ratio, `total` the sum of the counts.
        n_max: count of the first rank. None takes the number of samples of the smallest class, so
            that it is the same at every ratio.
        total: for `budget=total`, the sum of the counts. None takes the largest sum that is
            possible at every ratio: n_max for each class that keeps n_max as the ratio grows.

    Raises:
        ConfigError: a class would have no sample, or more than are available.
    """
    classes = len(available)
    if profile.counts is not None:
        if len(profile.counts) != classes:
            raise ConfigError(
                f"imbalance.counts={list(profile.counts)}: must be {classes} numbers, "
                f"one for each class, not {len(profile.counts)}"
            )
        counts = np.asarray(profile.counts, dtype=np.int64)
        check_available(counts, available, "imbalance.counts", list(profile.counts))
        return counts
    weights = profile.weights(classes)
    largest = int(available.min()) if n_max is None else n_max
    if budget == "majority":
        exact = largest * weights
        counts = profile.round(exact)
        if n_max is not None:
            check_available(counts, available, "imbalance.n_max", n_max)
    else:
        goal = largest * profile.smallest_weight_sum(classes) if total is None else total
        if goal < classes:
            raise ConfigError(
                f"imbalance.total={goal}: must be at least {classes}, a sample for each class"
            )
        exact = goal * weights / weights.sum()
        counts = _largest_remainder(exact, goal)
        check_available(counts, available, "imbalance.total", goal)
    if exact.min() < 1.0 - 1e-6:
        if budget == "majority":
            limit, given = largest, f"{largest} samples in the largest class"
        else:
            limit, given = _largest_ratio(profile, classes, goal), f"{goal} samples in all"
        raise ConfigError(
            f"ratio={profile.ratio:g}: the smallest class would have less than one sample; with "
            f"{given}, it must be at most {limit}"
        )
    return counts


def control_counts(control: str, by_rank: IntArray) -> IntArray:
    """The counts of a control: a balanced set that shares one other property with the imbalanced
    set, so that its effect can be told from that of imbalance.

    Args:
        control: `none` leaves the counts. `same_total` gives every class the same share of their
            sum: as few samples in all, but no imbalance. `same_minority` gives every class the
            smallest count: as few samples of a minority class, but no imbalance.
        by_rank: counts of the imbalanced set.
    """
    if control == "same_total":
        total = int(by_rank.sum())
        return _largest_remainder(np.full(len(by_rank), total / len(by_rank)), total)
    if control == "same_minority":
        return np.full_like(by_rank, by_rank.min())
    return by_rank


def _largest_remainder(exact: FloatArray, total: int) -> IntArray:
    """Whole numbers that sum to total; each differs from its exact value by less than one."""
    counts = np.floor(exact + 1e-9).astype(np.int64)
    by_remainder = np.argsort(-(exact - counts), kind="stable")
    counts[by_remainder[: total - int(counts.sum())]] += 1
    return counts


def check_available(counts: IntArray, available: IntArray, key: str, value: object) -> None:
    """Refuse counts that are larger than the number of available samples.

    Raises:
        ConfigError: names the key and the value that asked for them.
    """
    short = np.flatnonzero(counts > available)
    if len(short):
        rank = int(short[0])
        raise ConfigError(
            f"{key}={value}: asks for {counts[rank]} samples of the class at rank {rank}, which "
            f"has {available[rank]} for training; it must be at most that"
        )


def _largest_ratio(profile: Profile, classes: int, total: int) -> int:
    """The largest whole ratio at which the smallest class still has a sample, for a total number of
    samples. The share of the smallest class falls with the ratio, so bisection finds it."""
    low, high = 1, total + 1
    while high - low > 1:
        middle = (low + high) // 2
        weights = Profile(profile.name, float(middle), profile.minority_fraction).weights(classes)
        enough = total * weights.min() / weights.sum() >= 1.0 - 1e-6
        low, high = (middle, high) if enough else (low, middle)
    return low
