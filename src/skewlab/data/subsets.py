"""Which samples are kept: nested subsets with the counts of a profile, and the groups of classes.

`class_order` gives each class its rank in the profile. Needs NumPy only.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skewlab.data.profiles import (
    IntArray,
    Profile,
    check_available,
    class_counts,
    control_counts,
)
from skewlab.errors import ConfigError, suggestion

# A ratio is reported if rounding to whole counts changes it by more than this share.
RATIO_TOLERANCE = 0.05
# Shots, the long-tail field's groups (Liu et al. 2019): many > 100, medium 20 to 100, few < 20.
MANY_ABOVE, FEW_BELOW = 100, 20


def order_of_classes(
    class_order: str | Sequence[int | str], class_names: Sequence[str], data_seed: int
) -> IntArray:
    """The class at each rank, shape [classes].

    Args:
        class_order: `identity`, `reversed`, `random` (drawn from data_seed), or every class once,
            by name or number, the most frequent first.
        class_names: names in label order.
        data_seed: seed of `random`.

    Raises:
        ConfigError: an unknown class, or a list without each class exactly once.
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
    """The samples of one run for training and for validation.

    Attributes:
        train: indices into the source's training pool, one class after the other.
        val: indices into the same pool, none of them in train; the same number of each class.
        counts: training samples of each class in label order, shape [classes].
        imbalanced_counts: the counts of the imbalanced set; a control has other `counts`.
        majority, minority: the classes of each group, by rank.
        shots: for the long tail, the classes with many, medium and few training samples.
        ratio: the wanted ratio; for explicit counts and for controls the ratio of the counts.
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
        """All groups of classes: majority, minority, and for the long tail the shots."""
        return {"majority": self.majority, "minority": self.minority, **self.shots}

    def sha256(self) -> str:
        """A hash of the set of training indices; it does not depend on their order."""
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
    """Take the balanced validation set first, then each class's count from the remaining samples.

    The samples of each class are shuffled with (data_seed, class), and the first ones are taken. So
    for one data_seed the validation set is the same at every ratio, and of two subsets of a class
    the smaller is part of the larger. With `budget=majority`, every sample that is kept at a higher
    ratio is also kept at a lower one.

    Args:
        labels: labels of the training pool, shape [samples], int64.
        class_names: names in label order.
        profile: how the counts fall, and to which ratio.
        data_seed: which samples are kept.
        val_per_class: samples of each class in the validation set; 0 for no validation set.
        class_order, budget, n_max, total: see `order_of_classes` and `class_counts`.
        control: see `control_counts`; the groups stay those of the imbalanced set. `swapped_roles`
            turns the order of the classes round.

    Raises:
        ConfigError: the data do not have the wanted samples.
    """
    classes = len(class_names)
    order = order_of_classes(class_order, class_names, data_seed)
    if control == "swapped_roles":
        order = order[::-1].copy()
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
    check_available(counts, present - val_per_class, "imbalance.control", control)

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
            profile.ratio
            if profile.ratio and control in ("none", "swapped_roles")
            else counts.max() / counts.min()
        ),
    )
    _assert_exact(subset, labels)
    return subset


def _assert_exact(subset: Subset, labels: IntArray) -> None:
    """Check the promise of exact counts: no duplicate, no empty class, no sample also in val."""
    kept = np.bincount(labels[subset.train], minlength=len(subset.counts))
    assert np.array_equal(kept, subset.counts)
    assert kept.min() > 0
    together = np.concatenate([subset.train, subset.val])
    assert len(np.unique(together)) == len(together)
