"""Which samples are kept: class counts from a profile and a ratio, and nested subsets.

The imbalance ratio is rho = n_max / n_min >= 1 throughout. A *rank* is a class's place in the
profile, 0 the most frequent; `class_order` says which class holds which rank. Needs NumPy only.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skewlab.errors import ConfigError, suggestion

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

# A ratio that rounding moves by more than this share is reported.
RATIO_TOLERANCE = 0.05
# Shots, the long-tail field's groups (Liu et al. 2019): many > 100, medium 20 to 100, few < 20.
MANY_ABOVE, FEW_BELOW = 100, 20


@dataclass(frozen=True)
class Profile:
    """How class counts fall from n_max to n_min.

    Attributes:
        name: `step`, `exp`, `zipf`, `one_minority` or `counts`.
        ratio: the imbalance ratio asked for; None for `counts`, which implies it.
        minority_fraction: share of the classes, from the last rank up, that are the minority.
        counts: for `counts`, the samples of each rank.
    """

    name: str
    ratio: float | None = None
    minority_fraction: float = 0.5
    counts: tuple[int, ...] | None = None

    def minority_size(self, classes: int) -> int:
        """How many classes, from the last rank up, are the minority.

        The same at every ratio, also at ratio 1, so that curves compare across ratios.
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
        """Whole counts. The long tail is truncated, as in the code that fixed its published
        totals (Cao et al. 2019); other profiles go to the nearest, which moves the ratio least."""
        # The tiny term keeps 49.999999999999 from becoming 49.
        whole = np.floor(exact + 1e-6) if self.name == "exp" else np.floor(exact + 0.5)
        return whole.astype(np.int64)

    def smallest_weight_sum(self, classes: int) -> int:
        """Sum of the weights as the ratio grows without bound, in units of n_max."""
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
        available: samples there are of each rank, shape [classes].
        budget: `majority` keeps n_max over ratios; `total` keeps the sum.
        n_max: count of the first rank; None takes what every class could give, so that it is the
            same at every ratio.
        total: for `budget=total`, the sum; None takes the largest that every ratio can have
            (`n_max` for each class that stays at n_max as the ratio grows).

    Raises:
        ConfigError: some class would have no sample, or more than there are.
    """
    classes = len(available)
    if profile.counts is not None:
        if len(profile.counts) != classes:
            raise ConfigError(
                f"imbalance.counts={list(profile.counts)}: must be {classes} numbers, "
                f"one for each class, not {len(profile.counts)}"
            )
        counts = np.asarray(profile.counts, dtype=np.int64)
        _check_available(counts, available, "imbalance.counts", list(profile.counts))
        return counts
    weights = profile.weights(classes)
    largest = int(available.min()) if n_max is None else n_max
    if budget == "majority":
        exact = largest * weights
        counts = profile.round(exact)
        if n_max is not None:
            _check_available(counts, available, "imbalance.n_max", n_max)
    else:
        goal = largest * profile.smallest_weight_sum(classes) if total is None else total
        if goal < classes:
            raise ConfigError(
                f"imbalance.total={goal}: must be at least {classes}, a sample for each class"
            )
        exact = goal * weights / weights.sum()
        counts = _largest_remainder(exact, goal)
        _check_available(counts, available, "imbalance.total", goal)
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
    """The counts of a control: what else than imbalance distinguishes these counts from n_max of
    every class, given to a balanced set.

    Args:
        control: `none` leaves the counts; `same_total` gives every class the same share of their
            sum (fewer samples in all are not imbalance); `same_minority` gives every class the
            smallest count (few samples of a class are not imbalance).
        by_rank: counts of the imbalanced set.
    """
    if control == "same_total":
        total = int(by_rank.sum())
        return _largest_remainder(np.full(len(by_rank), total / len(by_rank)), total)
    if control == "same_minority":
        return np.full_like(by_rank, by_rank.min())
    return by_rank


def _largest_remainder(exact: FloatArray, total: int) -> IntArray:
    """Whole numbers that sum to total, each within one of its exact value."""
    counts = np.floor(exact + 1e-9).astype(np.int64)
    by_remainder = np.argsort(-(exact - counts), kind="stable")
    counts[by_remainder[: total - int(counts.sum())]] += 1
    return counts


def _check_available(counts: IntArray, available: IntArray, key: str, value: object) -> None:
    short = np.flatnonzero(counts > available)
    if len(short):
        rank = int(short[0])
        raise ConfigError(
            f"{key}={value}: asks for {counts[rank]} samples of the class at rank {rank}, which "
            f"has {available[rank]} for training; it must be at most that"
        )


def _largest_ratio(profile: Profile, classes: int, total: int) -> int:
    """The largest whole ratio at which the smallest class has a sample out of so many in all; its
    share falls with the ratio, so halving the interval finds it."""
    low, high = 1, total + 1
    while high - low > 1:
        middle = (low + high) // 2
        weights = Profile(profile.name, float(middle), profile.minority_fraction).weights(classes)
        enough = total * weights.min() / weights.sum() >= 1.0 - 1e-6
        low, high = (middle, high) if enough else (low, middle)
    return low


def order_of_classes(
    class_order: str | Sequence[int | str], class_names: Sequence[str], data_seed: int
) -> IntArray:
    """The class that holds each rank, shape [classes].

    Args:
        class_order: `identity`, `reversed`, `random` (drawn from data_seed), or every class once,
            by name or number, the most frequent first.
        class_names: names in label order.
        data_seed: seed of `random`.

    Raises:
        ConfigError: an unknown class, or a list that does not hold each class once.
    """
    classes = len(class_names)
    if class_order == "identity":
        return np.arange(classes)
    if class_order == "reversed":
        return np.arange(classes)[::-1].copy()
    if class_order == "random":
        return np.random.RandomState([data_seed, 0xC1A55]).permutation(classes).astype(np.int64)
    by_name = {name: label for label, name in enumerate(class_names)}
    order = []
    for entry in class_order:
        if str(entry) in by_name:
            order.append(by_name[str(entry)])
        elif isinstance(entry, int) and 0 <= entry < classes:
            order.append(entry)
        else:
            raise ConfigError(
                f"imbalance.class_order={list(class_order)}: unknown class {entry!r}"
                + suggestion(str(entry), by_name)
            )
    if sorted(order) != list(range(classes)):
        raise ConfigError(
            f"imbalance.class_order={list(class_order)}: must hold each of the {classes} classes "
            f"once: {', '.join(class_names)}"
        )
    return np.asarray(order, dtype=np.int64)


@dataclass(frozen=True)
class Subset:
    """The samples one run trains and selects on.

    Attributes:
        train: indices into the source's training pool, the classes one after the other.
        val: indices into the same pool, disjoint from train; the same number of each class.
        counts: training samples of each class in label order, shape [classes].
        imbalanced_counts: the same before a control evened them out.
        majority, minority: the classes of each group, by rank.
        shots: for the long tail, the classes with many, medium and few training samples.
        ratio: the ratio asked for; for explicit counts and controls the one they have.
    """

    train: IntArray
    val: IntArray
    counts: IntArray
    imbalanced_counts: IntArray
    majority: tuple[int, ...]
    minority: tuple[int, ...]
    shots: dict[str, tuple[int, ...]]
    ratio: float

    @property
    def ratio_reached(self) -> float:
        """n_max / n_min of the whole counts."""
        return float(self.counts.max() / self.counts.min())

    @property
    def ratio_moved(self) -> bool:
        """Whether rounding to whole samples moved the ratio by more than 5%."""
        return abs(self.ratio_reached / self.ratio - 1.0) > RATIO_TOLERANCE

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Every group that has a curve: majority, minority, and for the long tail the shots."""
        return {"majority": self.majority, "minority": self.minority, **self.shots}

    def sha256(self) -> str:
        """Hash of the kept training indices, to compare runs: the same set, the same hash."""
        return hashlib.sha256(np.sort(self.train).astype("<i8").tobytes()).hexdigest()


def draw_subset(
    labels: IntArray,
    class_names: Sequence[str],
    profile: Profile,
    *,
    data_seed: int,
    val_per_class: int,
    class_order: str | Sequence[int | str] = "identity",
    budget: str = "majority",
    n_max: int | None = None,
    total: int | None = None,
    control: str = "none",
) -> Subset:
    """Carve the balanced validation set, then keep each class's count of what is left.

    Each class is shuffled once by (data_seed, class) and cut from the front. So for one data_seed
    the validation set is the same at every ratio, the smaller of two subsets of a class is part of
    the larger, and with `budget=majority` every sample kept at a higher ratio is also kept at a
    lower one.

    Args:
        labels: labels of the training pool, shape [samples], int64.
        class_names: names in label order.
        profile: how the counts fall, and to which ratio.
        data_seed: which samples are kept.
        val_per_class: samples of each class held for validation; 0 for none.
        class_order, budget, n_max, total: see `order_of_classes` and `class_counts`.
        control: see `control_counts`; the groups stay those of the imbalanced set.

    Raises:
        ConfigError: the data cannot give what is asked.
    """
    classes = len(class_names)
    order = order_of_classes(class_order, class_names, data_seed)
    present = np.bincount(labels, minlength=classes)
    if val_per_class >= present.min():
        raise ConfigError(
            f"data.val_per_class={val_per_class}: must leave samples to train on; class "
            f"{class_names[int(present.argmin())]} has {present.min()}"
        )
    by_rank = class_counts(
        profile, (present - val_per_class)[order], budget=budget, n_max=n_max, total=total
    )
    minority_size = profile.minority_size(classes)
    if profile.counts is not None:
        most_first = np.argsort(-by_rank, kind="stable")
        order, by_rank = order[most_first], by_rank[most_first]
    counts, imbalanced = np.empty((2, classes), dtype=np.int64)
    counts[order], imbalanced[order] = control_counts(control, by_rank), by_rank
    _check_available(counts, present - val_per_class, "imbalance.control", control)

    train, val = [], []
    for label in range(classes):
        # RandomState's stream is frozen by NumPy's policy: the same subset with every version.
        shuffled = np.random.RandomState([data_seed, label]).permutation(
            np.flatnonzero(labels == label)
        )
        val.append(shuffled[:val_per_class])
        train.append(shuffled[val_per_class : val_per_class + counts[label]])

    shots: dict[str, tuple[int, ...]] = {}
    if profile.name == "exp":
        many, few = counts > MANY_ABOVE, counts < FEW_BELOW
        for name, members in (("many", many), ("medium", ~many & ~few), ("few", few)):
            shots[name] = tuple(np.flatnonzero(members).tolist())
    subset = Subset(
        train=np.concatenate(train),
        val=np.concatenate(val),
        counts=counts,
        imbalanced_counts=imbalanced,
        majority=tuple(order[: classes - minority_size].tolist()),
        minority=tuple(order[classes - minority_size :].tolist()),
        shots=shots,
        ratio=float(
            profile.ratio if profile.ratio and control == "none" else counts.max() / counts.min()
        ),
    )
    _assert_exact(subset, labels)
    return subset


def _assert_exact(subset: Subset, labels: IntArray) -> None:
    """Counts are promised exactly: no duplicate, no empty class, nothing shared with val."""
    kept = np.bincount(labels[subset.train], minlength=len(subset.counts))
    assert np.array_equal(kept, subset.counts)
    assert kept.min() > 0
    together = np.concatenate([subset.train, subset.val])
    assert len(np.unique(together)) == len(together)
