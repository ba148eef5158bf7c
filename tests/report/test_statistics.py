"""Intervals against SciPy's bootstrap, and quantities by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from skewlab.report.measures import learning_interval, time_to_learn
from skewlab.report.statistics import (
    Estimate,
    band,
    bootstrap,
    bootstrap_share,
    censored_regression,
)


@pytest.mark.parametrize("n", [3, 5, 12])
def test_the_interval_is_the_percentile_bootstrap(n: int) -> None:
    values = np.random.RandomState(n).normal(size=n)
    ours = bootstrap(values)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    spread = values.std()
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.06 * spread)
    assert ours.high == pytest.approx(theirs.high, abs=0.06 * spread)


def test_a_band_is_the_interval_at_each_time() -> None:
    curves = np.random.RandomState(0).normal(size=(5, 7))
    low, high = band(curves)
    for time in range(7):
        one = bootstrap(curves[:, time])
        assert (low[time], high[time]) == pytest.approx((one.low, one.high))


def test_a_zero_is_one() -> None:
    """Means of resamples that are zero must not be a little above it, or an interval is clear of
    zero for nothing: these five numbers of updates have one that ends there."""
    found = bootstrap([-48.0, -24.0, -24.0, -48.0, 24.0])
    assert str(found) == "-24.0 (-43.2 to 0.0)"
    assert -bootstrap([48.0, 24.0, 24.0, 48.0, -24.0]).low == 0.0
    assert str(bootstrap([-0.0, -0.0])) == "0.000 (0.000 to 0.000)"


def test_one_seed_has_no_width() -> None:
    one = bootstrap([0.4])
    assert (one.mean, one.low, one.high, one.n) == (0.4, 0.4, 0.4, 1)


def test_a_share_needs_a_whole() -> None:
    share = bootstrap_share([0.2, 0.4], [0.4, 0.8])
    assert share is not None
    assert (share.mean, share.low, share.high) == pytest.approx((0.5, 0.5, 0.5))
    assert bootstrap_share([0.2, 0.4], [0.1, -0.1]) is None
    # The mean of the whole is positive, but not that of every resample.
    assert bootstrap_share([0.2, 0.4], [0.5, -0.1]) is None


def test_an_estimate_in_words() -> None:
    """Shares to three digits, numbers of updates to one; a single seed has no interval."""
    assert str(Estimate(9.5, 9.25, 9.75, 2)) == "9.500 (9.250 to 9.750)"
    assert str(Estimate(9.5, 9.25, 10.0, 2)) == "9.5 (9.2 to 10.0)"
    assert str(Estimate(0.5, 0.5, 0.5, 1)) == "0.500"


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
