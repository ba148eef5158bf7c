import dataclasses
import hashlib
import itertools
import re
import struct
from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from helpers import refused
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from skewlab.data.profiles import Profile, class_counts
from skewlab.data.subsets import Subset, counts_by_label, draw_subset
from skewlab.errors import ConfigError

NAMES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RATIO_PROFILES = ("step", "exp", "zipf", "one_minority")
# 10 classes of 60 samples, mixed.
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 60))

profile_names = st.sampled_from(RATIO_PROFILES)
seeds = st.integers(0, 2**31 - 1)
# With 50 samples of each class to train on, every profile can give these ratios.
ratios = st.floats(1, 20)


def counts_of(profile: Profile, available: int, classes: int = 10, **budget: object) -> list[int]:
    return class_counts(profile, np.full(classes, available), **budget).tolist()  # type: ignore[arg-type]


def draw(
    profile: Profile,
    data_seed: int = 0,
    class_order: str | Sequence[int | str] = "identity",
    budget: str = "majority",
    labels: NDArray[np.int64] = LABELS,
    val_per_class: int = 10,
    **more: Any,
) -> Subset:
    return draw_subset(
        labels,
        NAMES[: labels.max() + 1],
        profile,
        data_seed=data_seed,
        val_per_class=val_per_class,
        class_order=class_order,
        budget=budget,
        **more,
    )


# Counts of the profiles.


@pytest.mark.parametrize(
    ("classes", "n_max", "totals"),
    [
        (10, 5000, (20431, 13996, 12406, 11203)),  # CIFAR-10
        (100, 500, (19573, 12608, 10847, 9502)),  # CIFAR-100
        (10, 6000, (24516, 16796, 14886, 13444)),  # Fashion-MNIST
    ],
)
def test_long_tail_has_the_published_totals(
    classes: int, n_max: int, totals: tuple[int, ...]
) -> None:
    found = [sum(counts_of(Profile("exp", rho), n_max, classes)) for rho in (10, 50, 100, 200)]
    assert found == list(totals)


def test_long_tail_has_the_published_counts_of_cifar10() -> None:
    published = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert counts_of(Profile("exp", 100), 5000) == published


@pytest.mark.parametrize(
    ("profile", "n_max", "expected"),
    [
        (Profile("exp", 1000), 1000, [1000, 100, 10, 1]),  # no count is lost to floating point
        (Profile("step", 100), 400, [400, 400, 4, 4]),
        (Profile("step", 100, minority_fraction=0.25), 400, [400, 400, 400, 4]),
        (Profile("step", 100, minority_fraction=0.01), 400, [400, 400, 400, 4]),
        (Profile("step", 100, minority_fraction=0.99), 400, [400, 4, 4, 4]),
        (Profile("step", 7), 100, [100, 100, 14, 14]),
        (Profile("step", 6), 100, [100, 100, 17, 17]),
        (Profile("one_minority", 8), 400, [400, 400, 400, 50]),
        (Profile("zipf", 4), 120, [120, 60, 40, 30]),  # Zipf's law: n_max / rank
        (Profile("zipf", 16), 720, [720, 180, 80, 45]),  # n_max / rank^2
        (Profile("counts", counts=(3, 80, 5, 20)), 80, [3, 80, 5, 20]),
    ],
)
def test_counts_by_hand(profile: Profile, n_max: int, expected: list[int]) -> None:
    assert counts_of(profile, n_max, classes=4) == expected


@given(classes=st.integers(2, 120), n_max=st.integers(1, 10_000), ratio=st.floats(1, 500))
def test_long_tail_is_the_truncated_formula(classes: int, n_max: int, ratio: float) -> None:
    assume(n_max >= ratio)
    with localcontext(prec=50):
        exact = [n_max * Decimal(ratio) ** (Decimal(-c) / (classes - 1)) for c in range(classes)]
    # A count this close to a whole number is a matter of the last bit.
    assume(all(abs(n - round(n)) > 1e-5 for n in exact[1:]))
    assert counts_of(Profile("exp", ratio), n_max, classes) == [int(n) for n in exact]


@given(name=profile_names, classes=st.integers(2, 50), n_max=st.integers(1, 5000))
def test_ratio_1_is_balanced(name: str, classes: int, n_max: int) -> None:
    assert counts_of(Profile(name, 1), n_max, classes) == [n_max] * classes


@given(
    name=profile_names,
    classes=st.integers(2, 50),
    n_max=st.integers(100, 5000),
    ratio=st.floats(1, 100),
)
def test_counts_fall_from_n_max_to_its_share(
    name: str, classes: int, n_max: int, ratio: float
) -> None:
    counts = counts_of(Profile(name, ratio), n_max, classes)
    assert counts[0] == n_max
    assert all(before >= after for before, after in itertools.pairwise(counts))
    assert abs(counts[-1] - n_max / ratio) < 1


def test_n_max_is_what_the_smallest_class_can_give() -> None:
    counts = class_counts(Profile("step", 10), np.array([500, 300, 400, 900]))
    assert counts.tolist() == [300, 300, 30, 30]


def test_n_max_may_exceed_a_class_of_which_less_is_asked() -> None:
    counts = class_counts(Profile("step", 4), np.array([400, 400, 100, 100]), n_max=400)
    assert counts.tolist() == [400, 400, 100, 100]


# The budget `total`.


@pytest.mark.parametrize(
    ("profile", "total", "expected"),
    [
        (Profile("step", 4), 1000, [400, 400, 100, 100]),
        (Profile("exp", 8), 1500, [800, 400, 200, 100]),
        (Profile("one_minority", 5), 320, [100, 100, 100, 20]),
        (Profile("step", 1), 10, [3, 3, 2, 2]),
        # 4.8, 4.8, 4.8 and 1.6: the largest remainders are rounded up.
        (Profile("one_minority", 3), 16, [5, 5, 5, 1]),
    ],
)
def test_total_is_shared_out_by_the_profile(
    profile: Profile, total: int, expected: list[int]
) -> None:
    assert counts_of(profile, 800, classes=4, budget="total", total=total) == expected


@pytest.mark.parametrize(
    ("name", "largest_total"), [("step", 2000), ("exp", 400), ("zipf", 400), ("one_minority", 3600)]
)
@given(ratio=st.floats(1, 100))
def test_sum_is_the_same_at_every_ratio(name: str, largest_total: int, ratio: float) -> None:
    counts = counts_of(Profile(name, ratio), 400, budget="total")
    assert sum(counts) == largest_total
    assert max(counts) <= 400
    # A whole sample either way, in the numerator and in the denominator.
    assert (counts[0] - 1) / (counts[-1] + 1) < ratio < (counts[0] + 1) / (counts[-1] - 0.999)


# What the data cannot give.


@pytest.mark.parametrize("budget", ["majority", "total"])
@given(
    name=profile_names,
    classes=st.integers(2, 12),
    n_max=st.integers(12, 500),
    minority_fraction=st.floats(0.1, 0.9),
)
def test_largest_ratio_named_works_and_one_more_does_not(
    budget: str, name: str, classes: int, n_max: int, minority_fraction: float
) -> None:
    def counts_at(ratio: float) -> list[int]:
        profile = Profile(name, ratio, minority_fraction)
        return counts_of(profile, n_max, classes, budget=budget)

    with pytest.raises(ConfigError, match=r"^ratio=1e\+06: .* it must be at most \d+\Z") as refusal:
        counts_at(1e6)
    named = int(re.findall(r"\d+", str(refusal.value))[-1])
    assert min(counts_at(named)) >= 1
    with pytest.raises(ConfigError, match=f"^ratio={named + 1}: .* at most {named}\\Z"):
        counts_at(named + 1)


def test_more_than_available_is_refused() -> None:
    step = Profile("step", 10)
    message = refused(lambda: counts_of(step, 400, n_max=500))
    assert message.startswith("imbalance.n_max=500:")
    assert "has 400" in message
    message = refused(lambda: counts_of(step, 400, budget="total", total=4000))
    assert message.startswith("imbalance.total=4000:")
    assert "has 400" in message
    message = refused(lambda: counts_of(Profile("counts", counts=(9, 401)), 400, classes=2))
    assert message.startswith("imbalance.counts=[9, 401]:")
    assert "has 400" in message


def test_total_too_small_for_every_class_is_refused() -> None:
    message = refused(lambda: counts_of(Profile("step", 2), 400, budget="total", total=9))
    assert message.startswith("imbalance.total=9:")
    assert "at least 10" in message


def test_counts_must_be_one_for_each_class() -> None:
    message = refused(lambda: counts_of(Profile("counts", counts=(4, 3)), 400, classes=3))
    assert message.startswith("imbalance.counts=[4, 3]:")
    assert "3 numbers" in message


def test_validation_set_that_leaves_nothing_to_train_on_is_refused() -> None:
    labels = np.repeat([0, 1, 2], [9, 4, 6])
    message = refused(lambda: draw(Profile("step", 1), labels=labels, val_per_class=4))
    assert message.startswith("data.val_per_class=4:")
    assert "class car has 4" in message
    assert draw(Profile("step", 1), labels=labels, val_per_class=3).counts.tolist() == [1, 1, 1]


# Which samples are kept.


@given(
    name=profile_names,
    ratio=ratios,
    data_seed=seeds,
    class_order=st.permutations(range(10)),
    val_per_class=st.integers(0, 20),
)
def test_subset_holds_what_it_says(
    name: str, ratio: float, data_seed: int, class_order: list[int], val_per_class: int
) -> None:
    subset = draw(Profile(name, ratio), data_seed, class_order, val_per_class=val_per_class)
    assert np.bincount(LABELS[subset.train]).tolist() == subset.counts.tolist()
    assert np.bincount(LABELS[subset.val], minlength=10).tolist() == [val_per_class] * 10
    assert len({*subset.train, *subset.val}) == len(subset.train) + len(subset.val)
    assert subset.counts[class_order].tolist() == counts_of(
        Profile(name, ratio), 60 - val_per_class
    )


@given(name=profile_names, one=ratios, other=ratios, data_seed=seeds)
def test_subsets_are_nested_over_ratios(
    name: str, one: float, other: float, data_seed: int
) -> None:
    low, high = (draw(Profile(name, rho), data_seed) for rho in sorted((one, other)))
    assert set(high.train) <= set(low.train)


# 50 samples in all, for the long tail of 10 classes, allow no more than ratio 13.
@given(name=profile_names, one=st.floats(1, 10), other=st.floats(1, 10), data_seed=seeds)
def test_each_class_is_nested_over_ratios_of_one_total(
    name: str, one: float, other: float, data_seed: int
) -> None:
    kept = [
        [set(subset.train[LABELS[subset.train] == label]) for label in range(10)]
        for subset in (draw(Profile(name, rho), data_seed, budget="total") for rho in (one, other))
    ]
    assert all(a <= b or b <= a for a, b in zip(*kept, strict=True))


@given(name=profile_names, other=profile_names, ratio=ratios, data_seed=seeds)
def test_validation_set_is_the_same_at_every_ratio_and_profile(
    name: str, other: str, ratio: float, data_seed: int
) -> None:
    balanced = draw(Profile(other, 1), data_seed, class_order="reversed")
    assert set(draw(Profile(name, ratio), data_seed).val) == set(balanced.val)


def test_seed_decides_which_samples_are_kept_and_0_is_a_seed() -> None:
    zero, again, one, two = (draw(Profile("step", 5), seed) for seed in (0, 0, 1, 2))
    assert zero.train.tolist() == again.train.tolist()
    assert zero.val.tolist() == again.val.tolist()
    kept = [set(subset.train) for subset in (zero, one, two)]
    held = [set(subset.val) for subset in (zero, one, two)]
    assert all(a != b for a, b in itertools.combinations(kept, 2))
    assert all(a != b for a, b in itertools.combinations(held, 2))


def test_kept_samples_and_drawn_orders_never_change() -> None:
    """What an earlier version drew: a study can be continued with a later one."""
    labels = np.repeat([0, 1, 2], 8)
    subset = draw(Profile("exp", 4), 7, labels=labels, val_per_class=1)
    assert subset.train.tolist() == [7, 5, 6, 4, 3, 2, 0, 15, 10, 11, 22]
    assert subset.val.tolist() == [1, 14, 23]
    counts = draw(Profile("exp", 20), 7, class_order="random").counts
    assert np.argsort(-counts, kind="stable").tolist() == [6, 9, 3, 7, 5, 2, 8, 1, 0, 4]


def test_every_class_has_a_shuffle_of_its_own() -> None:
    """The places that two classes of as many samples keep are not the same ones."""
    subset = draw(Profile("exp", 1), labels=np.repeat([0, 1, 2], 60), val_per_class=30)
    places = [frozenset(subset.train[label * 30 :][:30] - 60 * label) for label in range(3)]
    assert len(set(places)) == 3


def test_hash_is_of_the_set_of_training_samples() -> None:
    subset = draw(Profile("exp", 5))
    in_other_order = dataclasses.replace(subset, train=subset.train[::-1], val=subset.val[:0])
    plain = b"".join(struct.pack("<q", index) for index in sorted(subset.train))
    assert subset.sha256() == in_other_order.sha256() == hashlib.sha256(plain).hexdigest()
    assert subset.sha256() != draw(Profile("exp", 5), data_seed=1).sha256()
    assert subset.sha256() != draw(Profile("exp", 6)).sha256()


# Which class holds which rank.


@pytest.mark.parametrize(
    ("class_order", "expected"),
    [
        ("identity", [50, 20, 10]),
        ("reversed", [10, 20, 50]),
        ([1, 2, 0], [10, 50, 20]),
        (["car", "bird", "plane"], [10, 50, 20]),
        (["car", 2, "plane"], [10, 50, 20]),
    ],
)
def test_class_order_gives_the_first_class_the_most(
    class_order: str | list[int | str], expected: list[int]
) -> None:
    labels = np.repeat([0, 1, 2], 60)
    subset = draw(Profile("counts", counts=(50, 20, 10)), class_order=class_order, labels=labels)
    assert subset.counts.tolist() == expected


def test_random_class_order_is_a_permutation_drawn_from_the_seed() -> None:
    orders = [
        tuple(np.argsort(-draw(Profile("exp", 20), seed, class_order="random").counts))
        for seed in range(20)
    ]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len(set(orders)) == 20
    again = draw(Profile("exp", 20), 3, class_order="random").counts
    assert tuple(np.argsort(-again)) == orders[3]


@pytest.mark.parametrize(
    ("class_order", "said"),
    [
        (["cat", "dgo"], "unknown class 'dgo'; did you mean dog?"),
        ([0, 10], "unknown class 10;"),
        ([-1, 0], "unknown class -1;"),
        (["cat", "dog"], "each of the 10 classes once"),
        ([*NAMES, "cat"], "each of the 10 classes once"),
    ],
)
def test_class_order_must_hold_every_class_once(class_order: list[int | str], said: str) -> None:
    message = refused(lambda: draw(Profile("exp", 5), class_order=class_order))
    assert message.startswith(f"imbalance.class_order={class_order}:")
    assert said in message
    assert all(name in message.partition(said)[2] for name in NAMES)


# Groups of classes.


@pytest.mark.parametrize(
    ("name", "minority"),
    [
        ("step", {5, 6, 7, 8, 9}),
        ("exp", {5, 6, 7, 8, 9}),
        ("zipf", {5, 6, 7, 8, 9}),
        ("one_minority", {9}),
    ],
)
@given(ratio=ratios)
def test_groups_are_the_same_classes_at_every_ratio(
    name: str, minority: set[int], ratio: float
) -> None:
    subset = draw(Profile(name, ratio))
    assert set(subset.groups["minority"]) == minority
    assert set(subset.groups["majority"]) == set(range(10)) - minority


def test_groups_follow_the_class_order() -> None:
    subset = draw(Profile("step", 5), class_order="reversed")
    assert set(subset.majority) == {5, 6, 7, 8, 9}
    assert set(subset.minority) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("class_order", ["identity", "random", [3, 1, 0, 2, 9, 8, 7, 6, 5, 4]])
def test_swapped_roles_turn_any_order_round(class_order: str | list[int | str]) -> None:
    """For the same seed the other classes are the minority, with the same counts."""
    subset = draw(Profile("step", 5), 3, class_order)
    swapped = draw(Profile("step", 5), 3, class_order, control="swapped_roles")
    assert set(swapped.minority) == set(subset.majority)
    assert sorted(swapped.counts) == sorted(subset.counts)
    assert swapped.ratio == subset.ratio == 5


def test_groups_of_explicit_counts_part_at_their_geometric_middle() -> None:
    labels = np.repeat([0, 1, 2, 3], 60)
    subset = draw(Profile("counts", counts=(2, 50, 8, 20)), labels=labels)  # middle: 10
    assert subset.majority == (1, 3)
    assert subset.minority == (2, 0)
    assert subset.ratio == subset.ratio_reached == 25


def test_count_at_the_geometric_middle_is_of_the_minority() -> None:
    labels = np.repeat([0, 1, 2], 60)
    subset = draw(Profile("counts", counts=(4, 9, 6)), labels=labels)  # middle: 6
    assert subset.majority == (1,)
    assert subset.minority == (2, 0)


def test_equal_counts_part_by_the_minority_fraction() -> None:
    labels = np.repeat([0, 1, 2, 3], 60)
    equal = Profile("counts", minority_fraction=0.25, counts=(5, 5, 5, 5))
    subset = draw(equal, labels=labels)
    assert subset.majority == (0, 1, 2)
    assert subset.minority == (3,)
    assert subset.ratio == 1


def test_shots_of_cifar100_are_the_fields_35_35_and_30_classes() -> None:
    subset = draw_subset(
        np.repeat(np.arange(100), 500),
        [f"class {label}" for label in range(100)],
        Profile("exp", 100),
        data_seed=0,
        val_per_class=0,
    )
    assert subset.shots["many"] == tuple(range(35))
    assert subset.shots["medium"] == tuple(range(35, 70))
    assert subset.shots["few"] == tuple(range(70, 100))
    assert set(subset.groups) == {"majority", "minority", "many", "medium", "few"}


def test_100_and_20_samples_are_medium_shots() -> None:
    labels = np.repeat([0, 1, 2], 510)
    subset = draw(Profile("exp", 25), labels=labels)
    assert subset.counts.tolist() == [500, 100, 20]
    assert subset.shots == {"many": (0,), "medium": (1, 2), "few": ()}


@given(
    name=profile_names, ratio=ratios, many_above=st.integers(1, 60), few_below=st.integers(1, 60)
)
def test_every_profile_has_shots_by_its_counts(
    name: str, ratio: float, many_above: int, few_below: int
) -> None:
    subset = draw(Profile(name, ratio), many_above=many_above, few_below=few_below)
    for label, count in enumerate(subset.counts):
        assert (label in subset.shots["many"]) == (count > many_above)
        assert (label in subset.shots["few"]) == (count < few_below)
        assert (label in subset.shots["medium"]) == (few_below <= count <= many_above)
    empty = {name for name, members in subset.shots.items() if not members}
    assert set(subset.groups) == {"majority", "minority", "many", "medium", "few"} - empty


@pytest.mark.parametrize(
    ("profile", "minority", "counts", "rest"),
    [
        # These classes have the small counts.
        ("step", ["plane", "car"], [10, 10, 50, 50], (2, 3)),
        ("step", [1], [50, 10, 50, 50], (0, 2, 3)),
        ("one_minority", ["bird"], [50, 50, 10, 50], (0, 1, 3)),
        # Here the counts stay, and the group has another name.
        ("exp", ["car", "plane"], [50, 29, 17, 10], (2, 3)),
    ],
)
def test_a_minority_by_name(
    profile: str, minority: list[int | str], counts: list[int], rest: tuple[int, ...]
) -> None:
    labels = np.repeat([0, 1, 2, 3], 60)
    subset = draw(Profile(profile, 5), labels=labels, minority=minority)
    assert subset.counts.tolist() == counts
    assert subset.majority == rest
    assert set(subset.minority) == set(range(4)) - set(rest)
    assert set(draw(Profile(profile, 1), labels=labels, minority=minority).majority) == set(rest)


@pytest.mark.parametrize(
    ("profile", "minority", "said"),
    [
        ("step", ["dgo"], "unknown class 'dgo'; did you mean dog?"),
        ("exp", list(NAMES), "must be some, not all, of plane, car"),
        ("one_minority", ["cat", "dog"], "must be one class"),
    ],
)
def test_a_minority_that_cannot_be(profile: str, minority: list[int | str], said: str) -> None:
    message = refused(lambda: draw(Profile(profile, 5), minority=minority))
    assert message.startswith(f"imbalance.minority={minority}:")
    assert said in message


# Counts by class name.


def test_counts_by_name() -> None:
    assert counts_by_label({"dog": 5, "cat": 50}, ("cat", "dog")) == (50, 5)
    assert counts_by_label({"10": 3, "2": 7}, ("2", "10")) == (7, 3), "names before numbers"
    assert counts_by_label({"1": 3, "0": 7}, ("cat", "dog")) == (7, 3)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"cat": 50}, "must hold each of the 2 classes once: cat, dog"),
        ({"cat": 50, "dgo": 5}, "unknown class 'dgo'; did you mean dog?"),
        ({"cat": 50, "dog": 5, "0": 3}, "must hold each of the 2 classes once"),
    ],
)
def test_counts_by_name_must_hold_every_class_once(counts: dict[str, int], said: str) -> None:
    message = refused(lambda: counts_by_label(counts, ("cat", "dog")))
    assert message.startswith("imbalance.counts=")
    assert said in message


# The data as they are.


def test_natural_keeps_every_sample() -> None:
    labels = np.repeat([0, 1], [1108, 77])
    subset = draw(Profile("natural"), labels=labels, val_per_class=0)
    assert sorted(subset.train) == list(range(1185))
    assert subset.counts.tolist() == [1108, 77]
    assert subset.ratio == subset.ratio_reached == pytest.approx(1108 / 77)
    assert (subset.majority, subset.minority) == ((0,), (1,))


many_counts = st.lists(st.integers(1, 300), min_size=2, max_size=8)


@given(pool=many_counts, data_seed=seeds, fractions=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_lower_ratios_are_nested_in_the_data_and_keep_the_smallest_class(
    pool: list[int], data_seed: int, fractions: tuple[float, float]
) -> None:
    labels = np.repeat(np.arange(len(pool)), pool)
    whole = draw(Profile("natural"), data_seed, labels=labels, val_per_class=0)
    natural = max(pool) / min(pool)
    low, high = (
        draw(Profile("natural", natural**power), data_seed, labels=labels, val_per_class=0)
        for power in sorted(fractions)
    )
    assert set(low.train) <= set(high.train) <= set(whole.train)
    for subset, power in ((low, min(fractions)), (high, max(fractions))):
        assert subset.counts.min() == min(pool)
        assert abs(subset.counts.max() - min(pool) * natural**power) <= 0.5 + 1e-6
        assert (subset.majority, subset.minority) == (whole.majority, whole.minority)
        assert all(np.diff(subset.counts[np.argsort(pool, kind="stable")]) >= 0)


def test_lower_ratios_of_long_tailed_data_are_long_tailed() -> None:
    """Data with the counts of `exp` at ratio 100 have those of `exp` at ratio 10."""
    labels = np.repeat([0, 1, 2], [100, 10, 1])
    at_10 = draw(Profile("natural", 10), labels=labels, val_per_class=0).counts
    assert at_10.tolist() == [10, 3, 1]


def test_a_ratio_above_that_of_the_data_is_refused() -> None:
    labels = np.repeat([0, 1], [60, 20])
    message = refused(lambda: draw(Profile("natural", 3.1), labels=labels, val_per_class=0))
    assert message.startswith("ratio=3.1: must be natural, or at most 3,")


def test_groups_of_the_data_part_at_their_geometric_middle() -> None:
    labels = np.repeat([0, 1, 2], [12, 300, 60])  # middle: 60
    subset = draw(Profile("natural"), labels=labels, val_per_class=0)
    assert (subset.majority, subset.minority) == ((1,), (2, 0))
    named = draw(Profile("natural"), labels=labels, val_per_class=0, minority=["plane"])
    assert (named.majority, named.minority) == ((1, 2), (0,))


def test_controls_of_the_data_are_the_balanced_sets_that_they_have() -> None:
    labels = np.repeat([0, 1, 2], [50, 40, 10])
    drawn = {
        control: draw(Profile("natural"), labels=labels, val_per_class=0, control=control)
        for control in ("none", "same_total", "same_minority")
    }
    assert drawn["same_minority"].counts.tolist() == [10, 10, 10]
    assert drawn["same_total"].counts.tolist() == [10, 10, 10], "33 of each are not there"
    assert drawn["same_total"].imbalanced_ratio == drawn["none"].ratio == 5
    labels = np.repeat([0, 1, 2], [8, 8, 7])  # 23 in all, in balance 8, 8 and 7
    same_total = draw(Profile("natural"), labels=labels, val_per_class=0, control="same_total")
    assert same_total.counts.tolist() == [7, 7, 7]


# What validation holds.


@given(
    pool=st.lists(st.integers(1, 200), min_size=2, max_size=6),
    fraction=st.floats(0.01, 0.99),
    data_seed=seeds,
)
def test_a_share_of_each_class_is_held_out(
    pool: list[int], fraction: float, data_seed: int
) -> None:
    labels = np.repeat(np.arange(len(pool)), pool)
    subset = draw(Profile("natural"), data_seed, labels=labels, val_fraction=fraction)
    held = np.bincount(labels[subset.val], minlength=len(pool))
    assert (held + subset.counts).tolist() == pool
    for count, n in zip(pool, held, strict=True):
        assert abs(n - fraction * count) <= 0.5 + 1e-9 or n in (1, count - 1)
        assert n >= 1 or count == 1


def test_own_validation_samples_leave_the_pool_whole() -> None:
    subset = draw(Profile("natural"), own_val=7)
    assert subset.counts.tolist() == [60] * 10
    assert subset.val.tolist() == list(range(7))


@pytest.mark.parametrize(
    ("ratio", "reached", "moved"),
    [(10, 10.0, False), (12, 12.5, False), (30, 25.0, True), (45, 50.0, True), (1, 1.0, False)],
)
def test_ratio_moved_by_whole_samples_is_told(ratio: float, reached: float, moved: bool) -> None:
    subset = draw(Profile("step", ratio))
    assert subset.ratio == ratio
    assert subset.ratio_reached == reached
    assert subset.ratio_moved is moved


# Controls.


@given(profile=profile_names, ratio=ratios, seed=seeds)
def test_controls_are_balanced_and_keep_the_groups(profile: str, ratio: float, seed: int) -> None:
    def drawn(control: str) -> Subset:
        return draw_subset(
            LABELS,
            NAMES,
            Profile(profile, ratio),
            data_seed=seed,
            val_per_class=10,
            control=control,
        )

    study, same_total, same_minority = (
        drawn(control) for control in ("none", "same_total", "same_minority")
    )
    assert same_total.counts.sum() == study.counts.sum()
    assert same_total.counts.max() - same_total.counts.min() <= 1
    assert set(same_minority.counts.tolist()) == {int(study.counts.min())}
    for control in (same_total, same_minority):
        assert control.majority == study.majority
        assert control.minority == study.minority
        assert np.array_equal(control.val, study.val)
        assert control.imbalanced_counts.tolist() == study.counts.tolist()
        assert control.ratio == control.counts.max() / control.counts.min(), "the one it has"
    smallest = int(study.counts.argmin())
    kept = set(study.train[LABELS[study.train] == smallest].tolist())
    assert kept <= set(same_minority.train.tolist()), "the minority's samples are the same"


def test_control_that_asks_for_more_than_a_class_has_is_refused() -> None:
    """50, 50 and 10 samples are 110 in all: 36 or 37 of each, and class bird has 10."""
    labels = np.repeat([0, 1, 2], [50, 50, 10])

    def drawn(control: str) -> Subset:
        return draw_subset(
            labels,
            NAMES[:3],
            Profile("one_minority", 5),
            data_seed=0,
            val_per_class=0,
            n_max=50,
            control=control,
        )

    assert drawn("none").counts.tolist() == [50, 50, 10]
    message = refused(lambda: drawn("same_total"))
    assert message.startswith("imbalance.control=same_total: asks for 36 samples")
    assert "has 10" in message
