"""Intervals and tests against SciPy and closed forms, their coverage by simulation, and quantities
by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from skewlab.report.measures import class_spread, learning_interval, time_to_learn
from skewlab.report.statistics import (
    ABSENT,
    Seeds,
    band,
    censored_regression,
    estimate,
    factors,
    holm,
    mean_squares,
    on_test,
    share,
    spread,
)

Array = NDArray[np.float64]


def alike(n: int) -> list[Seeds]:
    """Seeds that move together."""
    return [(k, k, k) for k in range(n)]


def of(values: Array | list[float]) -> dict[Seeds, float]:
    return dict(zip(alike(len(values)), map(float, values), strict=True))


@pytest.mark.parametrize("n", [3, 5, 12])
def test_interval_and_test_are_students(n: int) -> None:
    values = np.random.RandomState(n).normal(size=n)
    ours, theirs = estimate(of(values)), stats.ttest_1samp(values, 0.2)
    assert ours.mean == pytest.approx(values.mean())
    ends = theirs.confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((ends.low, ends.high))
    assert ours.interval(0.99) == pytest.approx(tuple(theirs.confidence_interval(0.99)))
    assert ours.p_value(0.2) == pytest.approx(theirs.pvalue)
    assert ours.n == n


def test_which_seeds_are_independent_draws() -> None:
    together, fixed = factors(alike(4))
    assert [levels.tolist() for levels in together] == [[0, 1, 2, 3]]
    assert fixed == ()
    grid = [(d, i, 7) for d in range(3) for i in range(2)]
    crossed, fixed = factors(grid)
    assert sorted(int(levels.max()) + 1 for levels in crossed) == [2, 3]
    assert fixed == ("order_seed",)
    nested, _ = factors([(k // 3, k, k) for k in range(9)])
    assert [levels.tolist() for levels in nested] == [[0, 0, 0, 1, 1, 1, 2, 2, 2]]
    assert factors([(0, 0, 0)] * 2)[0] == []
    # An order of its own for each run of a grid is nested in both other seeds.
    assert len(factors([(d, i, 3 * d + i) for d in range(3) for i in range(3)])[0]) == 2


def test_nested_seeds_are_as_many_as_the_outer_ones() -> None:
    values = np.random.RandomState(0).normal(size=9)
    seeds = [(k // 3, k, k) for k in range(9)]
    found = estimate(dict(zip(seeds, values, strict=True)))
    ends = stats.ttest_1samp(values.reshape(3, 3).mean(axis=1), 0).confidence_interval()
    assert (found.low, found.high, found.n) == pytest.approx((ends.low, ends.high, 3))


def test_mean_squares_of_a_grid_by_hand() -> None:
    """The two-way layout without replication, by its textbook sums of squares."""
    y = np.random.RandomState(1).normal(size=(4, 3))
    seeds = [(d, i, 0) for d in range(4) for i in range(3)]
    drawn, _ = factors(seeds)
    table = mean_squares(y.reshape(-1, 1), drawn)
    assert table is not None
    squares, degrees, cells = table
    rows, columns, grand = y.mean(axis=1), y.mean(axis=0), y.mean()
    left = y - rows[:, None] - columns + grand
    by_size = {
        int(levels.max()) + 1: float(m[0]) for levels, m in zip(drawn, squares, strict=False)
    }
    assert by_size[4] == pytest.approx(3 * ((rows - grand) ** 2).sum() / 3)
    assert by_size[3] == pytest.approx(4 * ((columns - grand) ** 2).sum() / 2)
    assert float(squares[-1][0]) == pytest.approx((left**2).sum() / 6)
    assert (sorted(degrees), cells) == ([2, 3, 6], 12)
    assert mean_squares(y.reshape(-1, 1)[:-1], factors(seeds[:-1])[0]) is None


def test_an_incomplete_grid_has_a_wide_interval_of_its_rarest_seed() -> None:
    y = np.random.RandomState(2).normal(size=(3, 3))
    seeds = [(d, i, 0) for d in range(3) for i in range(3)]
    whole = estimate(dict(zip(seeds, y.ravel(), strict=True)))
    part = estimate(dict(zip(seeds[:-1], y.ravel()[:-1], strict=True)))
    assert part.n == whole.n == 3
    assert part.df == 2


def coverage(values: Array, seeds: list[Seeds]) -> float:
    """The share of made-up studies, a column each, whose 95% interval holds the true mean, 0."""
    low, high = band(values, seeds)
    return float(((low <= 0) & (high >= 0)).mean())


STUDIES = 5000


@pytest.mark.parametrize("n", [3, 5, 10])
def test_coverage_of_seeds(n: int) -> None:
    """benchmarks/coverage.py has the large table."""
    random = np.random.RandomState(n)
    assert 0.94 <= coverage(random.normal(size=(n, STUDIES)), alike(n)) <= 0.96
    # Recalls near 1: skewed to the left.
    assert coverage(random.beta(8, 1, size=(n, STUDIES)) - 8 / 9, alike(n)) >= 0.88


def test_coverage_of_crossed_and_nested_seeds() -> None:
    """Nine runs of three subsets and three initial weights are not nine independent ones: as such
    they would cover 0.6 to 0.7."""
    random = np.random.RandomState(0)
    grid = [(d, i, 0) for d in range(3) for i in range(3)]

    both = random.normal(size=(3, 1, STUDIES)) + random.normal(size=(1, 3, STUDIES))
    crossed = (both + 0.5 * random.normal(size=(3, 3, STUDIES))).reshape(9, STUDIES)
    assert 0.94 <= coverage(crossed, grid) <= 0.98
    assert coverage(crossed, alike(9)) < 0.75
    outer = np.repeat(random.normal(size=(4, STUDIES)), 3, axis=0)
    nested = outer + random.normal(size=(12, STUDIES))
    assert 0.94 <= coverage(nested, [(k // 3, k, k) for k in range(12)]) <= 0.96


def test_coverage_of_the_test_sample() -> None:
    """Samples differ in how hard they are, and all seeds share them: the truth is the mean over
    all samples that there could be."""
    random = np.random.RandomState(3)
    seeds, samples, inside, without = 5, 200, 0, 0
    studies = 400
    for _ in range(studies):
        hard = random.beta(0.7, 0.3, size=samples)  # of mean 0.7
        right = random.uniform(size=(seeds, samples)) < hard
        labels = np.zeros(samples, dtype=np.int64)
        n = np.asarray([float(samples)])
        values = of(right.mean(axis=1))
        test = {
            key: on_test(np.ones(1), one.mean(keepdims=True), n, one, labels)
            for key, one in zip(alike(seeds), right, strict=True)
        }
        found = estimate(values, test)
        inside += found.low <= 0.7 <= found.high
        alone = estimate(values)
        without += alone.low <= 0.7 <= alone.high
    assert 0.93 <= inside / studies <= 0.98
    assert without / studies < 0.85


def test_the_test_samples_share_by_hand() -> None:
    """Two seeds that are right on the same samples: all of the variance is the test sample's."""
    right = np.asarray([True] * 30 + [False] * 10)
    labels, n = np.zeros(40, dtype=np.int64), np.asarray([40.0])
    one = on_test(np.ones(1), np.asarray([0.75]), n, right, labels)
    assert one.influence is not None
    assert (one.influence**2).sum() == pytest.approx(0.75 * 0.25 / 40)
    assert one.least == pytest.approx(2 / (40 * 44))
    assert one.variance == pytest.approx(32 / 44 * (12 / 44) / 44)
    found = estimate(of([0.75, 0.75]), dict.fromkeys(alike(2), one))
    assert found.error**2 == pytest.approx(0.75 * 0.25 / 40)
    # A difference to a run that is right on the same samples has no error but the least.
    same = one.minus(one)
    assert same.influence is not None
    assert not same.influence.any()
    # Without predictions what both share is not known.
    assert one._replace(influence=None).minus(one).influence is None
    assert same.variance == pytest.approx(2 * one.variance)


def test_a_tiny_test_set_that_is_all_right_is_not_without_error() -> None:
    n = np.asarray([5.0])
    right = on_test(np.ones(1), np.ones(1), n, np.ones(5, bool), np.zeros(5, np.int64))
    found = estimate(of([1.0, 1.0, 1.0]), dict.fromkeys(alike(3), right), within=(0, 1))
    # The rule of three has 0.55 (one-sided) for the recall behind 5 right of 5.
    assert 0.5 < found.low < 0.75
    assert found.high == 1.0


def test_rounded_values_that_are_the_same_are_not_without_error() -> None:
    """Three seeds at 14 of 15."""
    found = estimate(of([14 / 15] * 3), step=1 / 15, within=(0, 1))
    half = stats.t.ppf(0.975, 2) / 15 / np.sqrt(12 * 3)
    assert (found.low, found.high) == pytest.approx((14 / 15 - half, 14 / 15 + half))


def test_one_seed_and_none() -> None:
    one = estimate(of([0.4]))
    assert (one.mean, one.low, one.high, one.n) == (0.4, 0.4, 0.4, 1)
    assert np.isnan(one.p_value(0.1))
    assert estimate(of([np.nan, np.inf])) is ABSENT
    assert estimate(of([np.nan, 0.3])).n == 1
    # Two runs with the same three seeds would be one draw.
    assert spread(np.ones((2, 1)), [(0, 0, 0)] * 2).n == 1


def test_what_the_seeds_never_drew_is_said() -> None:
    found = estimate({(0, k, 0): float(k) for k in range(5)})
    assert found.n == 5
    assert found.fixed == ("data_seed", "order_seed")
    assert estimate(of([1.0, 2.0])).fixed == ()


def test_a_band_is_the_interval_at_each_time() -> None:
    curves = np.random.RandomState(0).normal(size=(5, 7))
    low, high = band(curves, alike(5))
    for time in range(7):
        one = estimate(of(curves[:, time]))
        assert (low[time], high[time]) == pytest.approx((one.low, one.high))


def test_an_interval_stays_within_what_is_possible() -> None:
    found = estimate(of([0.9, 1.0, 1.0]), within=(0, 1))
    assert found.high == 1.0
    assert found.low == pytest.approx(estimate(of([0.9, 1.0, 1.0])).low)


def test_a_share_is_fiellers() -> None:
    """Its ends are the ratios at which part - ratio * whole is just not clear of 0."""
    random = np.random.RandomState(5)
    whole = 1 + 0.2 * random.normal(size=6)
    part = 0.4 * whole + 0.1 * random.normal(size=6)
    found = share(of(part), of(whole))
    assert found.mean == pytest.approx(part.mean() / whole.mean())
    for end in (found.low, found.high):
        assert stats.ttest_1samp(part - end * whole, 0).pvalue == pytest.approx(0.05, abs=1e-6)
    assert found.p_value(0.5) == pytest.approx(stats.ttest_1samp(part - 0.5 * whole, 0).pvalue)


def test_a_share_needs_a_whole() -> None:
    assert str(share(of([0.4, 0.5, 0.6]), of([0.8, 1.0, 1.2]))) == "0.500 (0.500 to 0.500)"
    assert share(of([0.2, 0.4]), of([0.1, -0.1])) is ABSENT
    assert share(of([0.2, 0.4, 0.1]), of([0.5, -0.1, 0.2])) is ABSENT, "not clearly above 0"
    assert share({}, of([1.0])) is ABSENT


def test_holm_by_hand() -> None:
    """The example of Holm's procedure in statsmodels' and R's documentation of p.adjust."""
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.03, np.nan, 0.001]) == pytest.approx([0.03, np.nan, 0.002], nan_ok=True)
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_closed_test_of_bonferroni_rejects(p_values: list[float]) -> None:
    """By its definition: a hypothesis falls if every subset that holds it has a p-value of at most
    the level over the subset's size."""
    level, count = 0.05, len(p_values)
    subsets = [s for k in range(1, count + 1) for s in itertools.combinations(range(count), k)]
    for place, corrected in enumerate(holm(p_values)):
        worst = max(len(s) * min(p_values[k] for k in s) for s in subsets if place in s)
        assert (corrected <= level) == (min(worst, 1.0) <= level)


def test_pure_noise_is_seldom_taken_for_a_find() -> None:
    """30 methods like ce, five seeds: without the correction more than one looks clear."""
    random = np.random.RandomState(0)
    studies, methods, seeds = 1000, 30, 5
    ce = random.normal(size=(seeds, studies, 1))
    apart = (random.normal(size=(seeds, studies, methods)) - ce).reshape(seeds, -1)
    found = spread(apart, alike(seeds))
    p_values = 2 * stats.t.sf(np.abs(found.mean) / found.error, found.df)
    by_study = p_values.reshape(studies, methods)
    assert np.mean([min(holm(one)) < 0.05 for one in by_study]) <= 0.05
    assert (by_study < 0.05).sum(axis=1).mean() > 1


def test_an_estimate_in_words() -> None:
    """Shares to three digits, numbers of updates to one; a single seed has no interval."""
    assert str(estimate(of([9.0, 9.5, 10.0]))) == "9.5 (8.3 to 10.7)"
    assert str(estimate(of([0.4, 0.5, 0.6]))) == "0.500 (0.252 to 0.748)"
    assert str(estimate(of([0.5]))) == "0.500"
    assert str(ABSENT) == ""
    assert str(estimate(of([-0.0, -0.0]))) == "0.000 (0.000 to 0.000)"


def test_the_spread_of_classes_is_net_of_chance() -> None:
    random = np.random.RandomState(0)
    truth = np.asarray([0.6, 0.7, 0.8, 0.9])
    n = np.full(4, 25.0)
    found = [class_spread(random.binomial(25, truth) / 25, n) ** 2 for _ in range(3000)]
    raw = [(random.binomial(25, truth) / 25).var(ddof=1) for _ in range(3000)]
    # Squares are unbiased but for those cut at 0.
    assert np.mean(found) == pytest.approx(truth.var(ddof=1), rel=0.08)
    assert np.mean(raw) > 1.3 * truth.var(ddof=1)
    assert np.isnan(class_spread(np.asarray([0.5, np.nan]), np.asarray([3.0, 0.0])))


def test_time_to_learn_by_hand() -> None:
    epochs = np.arange(6.0)
    recall = np.asarray([0.0, 0.95, 0.5, 0.9, 0.92, 1.0])
    assert time_to_learn(epochs, recall, 0.9, sustained=1) == 1
    assert time_to_learn(epochs, recall, 0.9, sustained=2) == 3, "one evaluation is not sustained"
    assert time_to_learn(epochs, recall, 0.9, sustained=9) == 3, "to the end, where fewer remain"
    assert time_to_learn(epochs, recall, 1.01, sustained=1) == np.inf


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 5))
def test_time_to_learn_against_a_plain_loop(recall: list[float], sustained: int) -> None:
    expected = np.inf
    for start in range(len(recall)):
        if all(value >= 0.5 for value in recall[start : start + sustained]):
            expected = start
            break
    found = time_to_learn(np.arange(len(recall), dtype=float), np.asarray(recall), 0.5, sustained)
    assert found == expected


def test_an_uncensored_fit_is_least_squares() -> None:
    random = np.random.RandomState(0)
    x = random.normal(size=60)
    y = 2.0 - 1.5 * x + 0.3 * random.normal(size=60)
    fit = censored_regression(x, y, y)
    slope, intercept = np.polyfit(x, y, 1)
    assert (fit.slope, fit.intercept) == pytest.approx((slope, intercept), abs=1e-4)
    residuals = y - intercept - slope * x
    assert fit.sigma == pytest.approx(residuals.std(), abs=1e-4)


def test_a_fit_of_intervals_is_a_survival_library_s() -> None:
    """SciPy's maximum likelihood for a censored normal sample, which has no slope: a constant x."""
    random = np.random.RandomState(1)
    y = 1.0 + random.normal(size=400)
    low, high = np.floor(y), np.floor(y) + 1
    low[y > 2], high[y > 2] = 2.0, np.inf
    low[y < -1], high[y < -1] = -np.inf, -1.0
    x = np.where(np.arange(400) % 2, 1.0, -1.0)  # independent of y: its slope is near 0
    fit = censored_regression(x, low, high)
    data = stats.CensoredData(
        left=high[np.isinf(low)],
        right=low[np.isinf(high)],
        interval=np.stack([low, high], 1)[np.isfinite(low) & np.isfinite(high)],
    )
    mean, sigma = stats.norm.fit(data)
    assert fit.intercept == pytest.approx(mean, abs=0.01)
    assert fit.sigma == pytest.approx(sigma, abs=0.01)
    assert abs(fit.slope) < 0.15


def test_a_censored_slope_is_found_where_the_learned_alone_mislead() -> None:
    """Half of the slow ones are not seen: a fit of those that are is too flat."""
    random = np.random.RandomState(2)
    x = np.repeat(np.linspace(-3, 0, 12), 20)
    y = 1.0 - x + 0.6 * random.normal(size=len(x))
    seen = y < 2.5
    low, high = np.where(seen, y, 2.5), np.where(seen, y, np.inf)
    assert censored_regression(x, low, high).slope == pytest.approx(-1, abs=0.1)
    assert np.polyfit(x[seen], y[seen], 1)[0] > -0.85


def test_when_a_class_was_learned_by_hand() -> None:
    time, recall = np.asarray([0.0, 1, 2, 3, 4]), np.asarray([0.1, 0.95, 0.2, 0.9, 1.0])
    assert learning_interval(time, recall, 0.9, sustained=2) == (2.0, 3.0)
    assert learning_interval(time, recall, 0.9, sustained=1) == (0.0, 1.0)
    assert learning_interval(time, np.zeros(5), 0.9, sustained=1) == (4.0, np.inf)
    assert learning_interval(time, np.ones(5), 0.9, sustained=3) == (0.0, 0.0)
