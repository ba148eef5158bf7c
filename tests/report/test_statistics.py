"""Intervals against SciPy's bootstrap, and quantities by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from skewlab.report.quantities import time_to_learn
from skewlab.report.statistics import band, bootstrap, bootstrap_share


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


def test_one_seed_has_no_width() -> None:
    one = bootstrap([0.4])
    assert (one.mean, one.low, one.high, one.n) == (0.4, 0.4, 0.4, 1)


def test_a_share_needs_a_whole() -> None:
    share = bootstrap_share([0.2, 0.4], [0.4, 0.8])
    assert share is not None
    assert (share.mean, share.low, share.high) == pytest.approx((0.5, 0.5, 0.5))
    assert bootstrap_share([0.2, 0.4], [0.1, -0.1]) is None


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
