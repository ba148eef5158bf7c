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
        name: `step`, `exp`, `zipf`, `one_minority`, `counts` or `natural`.
        ratio: the wanted imbalance ratio; None where the counts give it: for `counts`, and for
            `natural` as the data are.
        minority_fraction: share of the classes that are the minority; they have the last ranks.
        counts: for `counts`, the samples of each rank.
        minority_classes: how many classes are the minority, in the place of a share of them.
    """

    name: str
    ratio: float | None = None
    minority_fraction: float = 0.5
    counts: tuple[int, ...] | None = None
    minority_classes: int | None = None

    def minority_size(self, classes: int) -> int:
        """The number of classes that are the minority; they have the last ranks.

        It is the same at every ratio, also at ratio 1, so that curves can be compared over ratios.
        """
        if self.minority_classes is not None:
            return self.minority_classes
        if self.name == "one_minority":
            return 1
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
    if profile.name == "natural":
        return natural_counts(profile.ratio, available)
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
            f"{given}, it must be at most {limit}" + _as_it_is(available)
        )
    return counts


def _as_it_is(available: IntArray) -> str:
    """Ends a message where the data are imbalanced by themselves."""
    if available.min() == available.max():
        return ""
    return (
        f"; the data have {available.max()} to {available.min()} a class, and imbalance=natural "
        "takes them as they are"
    )


def natural_counts(ratio: float | None, available: IntArray) -> IntArray:
    """The counts that the data have, or those of a lower ratio drawn from them, shape [classes].

    At ratio rho a class with n_c samples keeps n_min (n_c / n_min) ** (log rho / log rho_data),
    rounded to the nearest number. So the smallest class keeps all of its samples at every ratio,
    the classes keep their order, a lower ratio's samples are part of a higher one's, and data that
    fall as `exp`, `zipf` or `step` do go on falling so.

    Args:
        ratio: at most that of the data; None keeps every sample.
        available: samples of each class, shape [classes].

    Raises:
        ConfigError: the data have a lower ratio.
    """
    smallest, largest = int(available.min()), int(available.max())
    natural = largest / smallest
    if ratio is None or ratio == natural:
        return available.copy()
    if ratio > natural:
        raise ConfigError(
            f"ratio={ratio:g}: must be natural, or at most {natural:.6g}, the ratio that the data "
            f"have ({largest} to {smallest}); other profiles make larger ones, such as "
            "imbalance=step"
        )
    exact = smallest * (available / smallest) ** (math.log(ratio) / math.log(natural))
    return np.minimum(np.floor(exact + 0.5).astype(np.int64), available)


def at_most_the_middle(counts: IntArray) -> NDArray[np.bool_]:
    """Whether each class has at most the geometric mean of the largest and the smallest count:
    which classes of counts that nobody has chosen are the minority."""
    return np.asarray(counts <= math.sqrt(int(counts.min()) * int(counts.max())))


def control_counts(control: str, by_rank: IntArray, most: int | None = None) -> IntArray:
    """The counts of a control: a balanced set that shares one other property with the imbalanced
    set, so that its effect can be told from that of imbalance.

    Args:
        control: `none` leaves the counts. `same_total` gives every class the same share of their
            sum: as few samples in all, but no imbalance. `same_minority` gives every class the
            smallest count: as few samples of a minority class, but no imbalance.
        by_rank: counts of the imbalanced set.
        most: samples that every class can give. Where a balanced set of the same total needs more,
            it is the largest balanced one; None for no such limit.
    """
    if control == "same_total":
        total = int(by_rank.sum())
        if most is not None:
            total = min(total, most * len(by_rank))
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
            f"{key}={value}: asks for {counts[rank]} samples of the {_ordinal(rank + 1)} class, "
            f"which has {available[rank]} for training; it must be at most that"
        )


def _ordinal(rank: int) -> str:
    """`largest`, `2nd largest`, `3rd largest`, ..."""
    if rank == 1:
        return "largest"
    ending = {1: "st", 2: "nd", 3: "rd"}.get(rank % 10 if rank % 100 not in (11, 12, 13) else 0)
    return f"{rank}{ending or 'th'} largest"


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
