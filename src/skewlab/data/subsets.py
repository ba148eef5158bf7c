"""Which samples are kept: nested subsets with the counts of a profile, and the groups of classes.

`class_order` gives each class its rank in the profile. Needs NumPy only.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from skewlab.data.profiles import (
    IntArray,
    Profile,
    at_most_the_middle,
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
    order = labels_named(class_order, class_names, "imbalance.class_order")
    if sorted(order) != list(range(classes)):
        raise ConfigError(
            f"imbalance.class_order={list(class_order)}: must hold each of the {classes} classes "
            f"once: {', '.join(class_names)}"
        )
    return np.asarray(order, dtype=np.int64)


def labels_named(entries: Sequence[int | str], class_names: Sequence[str], key: str) -> list[int]:
    """The labels of some classes.

    Args:
        entries: each a name or, where no class has it as its name, a label.
        class_names: names in label order.
        key: of the configuration that has the entries.

    Raises:
        ConfigError: an unknown class.
    """
    by_name = {name: label for label, name in enumerate(class_names)}
    labels = []
    for entry in entries:
        if str(entry) in by_name:
            labels.append(by_name[str(entry)])
        elif isinstance(entry, int) and 0 <= entry < len(class_names):
            labels.append(entry)
        else:
            raise ConfigError(
                f"{key}={list(entries)}: unknown class {entry!r}" + suggestion(str(entry), by_name)
            )
    return labels


def counts_by_label(counts: Mapping[str, int], class_names: Sequence[str]) -> tuple[int, ...]:
    """Counts that are given by class name, in label order.

    Args:
        counts: of every class, by name or label.
        class_names: names in label order.

    Raises:
        ConfigError: an unknown class, one that is missing, or one that is there twice.
    """
    entries = [int(name) if name.isdecimal() else name for name in counts]
    labels = labels_named(entries, class_names, "imbalance.counts")
    missing = [name for label, name in enumerate(class_names) if label not in labels]
    if missing or len(labels) > len(set(labels)):
        raise ConfigError(
            f"imbalance.counts={dict(counts)}: must hold each of the {len(class_names)} classes "
            f"once: {', '.join(class_names)}"
        )
    by_label = dict(zip(labels, counts.values(), strict=True))
    return tuple(by_label[label] for label in range(len(class_names)))


@dataclass(frozen=True)
class Subset:
    """The samples of one run for training and for validation.

    Attributes:
        train: indices into the source's training pool, one class after the other.
        val: indices into the same pool, none of them in train; or into the source's own validation
            samples, where it has such (`plan.pool`).
        counts: training samples of each class in label order, shape [classes].
        imbalanced_counts: the counts of the imbalanced set; a control has other `counts`.
        majority, minority: the classes of each group, by rank.
        shots: the classes with many, medium and few training samples; any of them may be empty.
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
    def imbalanced_ratio(self) -> float:
        """n_max / n_min of the imbalanced set; a control is compared with the runs of this one."""
        return float(self.imbalanced_counts.max() / self.imbalanced_counts.min())

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
        """All groups of classes: majority, minority, and those of the shots that have classes."""
        shots = {name: members for name, members in self.shots.items() if members}
        return {"majority": self.majority, "minority": self.minority, **shots}

    def sha256(self) -> str:
        """A hash of the set of training indices; it does not depend on their order."""
        return hashlib.sha256(np.sort(self.train).astype("<i8").tobytes()).hexdigest()


def draw_subset(
    labels: IntArray,
    class_names: Sequence[str],
    profile: Profile,
    *,
    data_seed: int,
    val_per_class: int = 0,
    val_fraction: float | None = None,
    own_val: int | None = None,
    class_order: str | Sequence[int | str] = "identity",
    minority: Sequence[int | str] = (),
    many_above: int = MANY_ABOVE,
    few_below: int = FEW_BELOW,
    budget: str = "majority",
    n_max: int | None = None,
    total: int | None = None,
    control: str = "none",
) -> Subset:
    """Take the validation set first, then each class's count from the remaining samples.

    The samples of each class are shuffled with (data_seed, class), and the first ones are taken. So
    for one data_seed the validation set is the same at every ratio, and of two subsets of a class
    the smaller is part of the larger. With `budget=majority`, every sample that is kept at a higher
    ratio is also kept at a lower one; with `natural`, every sample that is kept at a lower ratio
    is also kept at a higher one.

    The groups are the same at every ratio. The minority has the last ranks of a profile; of
    `counts` and `natural`, the classes with at most the geometric mean of the largest and the
    smallest count.

    Args:
        labels: labels of the training pool, shape [samples], int64.
        class_names: names in label order.
        profile: how the counts fall, and to which ratio.
        data_seed: which samples are kept.
        val_per_class: samples of each class in the validation set; 0 for no validation set.
        val_fraction: share of each class in the validation set instead, rounded to the nearest
            number; at least one sample of a class that has two.
        own_val: how many validation samples the source has; then none is taken out of the pool.
        class_order, budget, n_max, total: see `order_of_classes` and `class_counts`.
        minority: names or labels of the minority, in the place of the profile's own. In `step` and
            `one_minority` these classes have the small counts.
        many_above, few_below: classes with more training samples are `many`, with fewer `few`.
        control: see `control_counts`; the groups stay those of the imbalanced set. `swapped_roles`
            turns the order of the classes round.

    Raises:
        ConfigError: the data do not have the wanted samples.
    """
    classes = len(class_names)
    order = order_of_classes(class_order, class_names, data_seed)
    named = _named_minority(minority, class_names, profile)
    if named and profile.name in ("step", "one_minority"):
        order = np.asarray([*(c for c in order if c not in named), *named], dtype=np.int64)
        profile, named = replace(profile, minority_classes=len(named)), set()
    if control == "swapped_roles":
        order = order[::-1].copy()
    present = np.bincount(labels, minlength=classes)
    held = _held_out(present, class_names, val_per_class, val_fraction, own_val)
    available = present - held
    if profile.name == "natural":
        order = order[np.argsort(-available[order], kind="stable")]
    by_rank = class_counts(profile, available[order], budget=budget, n_max=n_max, total=total)
    minority_size = profile.minority_size(classes)
    if profile.counts is not None:
        most_first = np.argsort(-by_rank, kind="stable")
        order, by_rank = order[most_first], by_rank[most_first]
    if profile.name in ("counts", "natural"):
        unchosen = by_rank if profile.counts is not None else available[order]
        if unchosen.min() < unchosen.max():
            minority_size = int(at_most_the_middle(unchosen).sum())
    small = named or set(order[classes - minority_size :].tolist())
    counts, imbalanced = np.empty((2, classes), dtype=np.int64)
    most = int(available.min()) if profile.name == "natural" else None
    counts[order], imbalanced[order] = control_counts(control, by_rank, most), by_rank
    check_available(counts, available, "imbalance.control", control)

    train, val = [], []
    for label in range(classes):
        # RandomState's stream is frozen by NumPy's policy: the same subset with every version.
        shuffled = np.random.RandomState([data_seed, label]).permutation(
            np.flatnonzero(labels == label)
        )
        val.append(shuffled[: held[label]])
        train.append(shuffled[held[label] : held[label] + counts[label]])

    many, few = counts > many_above, counts < few_below
    shots = {"many": many, "medium": ~many & ~few, "few": few}
    subset = Subset(
        train=np.concatenate(train),
        val=np.concatenate(val) if own_val is None else np.arange(own_val),
        counts=counts,
        imbalanced_counts=imbalanced,
        majority=tuple(label for label in order.tolist() if label not in small),
        minority=tuple(label for label in order.tolist() if label in small),
        shots={name: tuple(np.flatnonzero(some).tolist()) for name, some in shots.items()},
        ratio=float(
            profile.ratio
            if profile.ratio and control in ("none", "swapped_roles")
            else counts.max() / counts.min()
        ),
    )
    _assert_exact(subset, labels, own_val is not None)
    return subset


def _named_minority(
    minority: Sequence[int | str], class_names: Sequence[str], profile: Profile
) -> set[int]:
    """The labels of a minority that is given by name; none where it is not."""
    key = f"imbalance.minority={list(minority)}"
    named = set(labels_named(minority, class_names, "imbalance.minority"))
    if len(named) == len(class_names):
        raise ConfigError(f"{key}: must be some, not all, of {', '.join(class_names)}")
    if named and profile.name == "one_minority" and len(named) > 1:
        raise ConfigError(f"{key}: must be one class with imbalance=one_minority")
    return named


def _held_out(
    present: IntArray,
    class_names: Sequence[str],
    per_class: int,
    fraction: float | None,
    own_val: int | None,
) -> IntArray:
    """How many samples of each class are taken out of the training pool for validation."""
    if own_val is not None:
        return np.zeros_like(present)
    if fraction is not None:
        wanted = np.floor(fraction * present + 0.5).astype(np.int64)
        return np.asarray(np.minimum(np.maximum(wanted, 1), present - 1))
    if per_class >= present.min():
        raise ConfigError(
            f"data.val_per_class={per_class}: must leave samples to train on; class "
            f"{class_names[int(present.argmin())]} has {present.min()}; data.val_fraction=0.1 "
            "holds out a share of each class instead"
        )
    return np.full_like(present, per_class)


def _assert_exact(subset: Subset, labels: IntArray, own_val: bool) -> None:
    """Check the promise of exact counts: no duplicate, no empty class, no sample also in val."""
    kept = np.bincount(labels[subset.train], minlength=len(subset.counts))
    assert np.array_equal(kept, subset.counts)
    assert kept.min() > 0
    together = subset.train if own_val else np.concatenate([subset.train, subset.val])
    assert len(np.unique(together)) == len(together)
