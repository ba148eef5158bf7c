"""Calibration against its definition bin by bin, torchmetrics, and numbers by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probe_cases import END_OF_EPOCH, LINEAR, classifier_of, facts, outputs
from torchmetrics.functional.classification import multiclass_calibration_error

from skewlab.probes.calibration import Calibration, calibration_error, divergence, reliability

COUNTS = (80, 15, 5)


def measured(labels: Any, probability: Any, bins: int = 15) -> dict[str, Any]:
    with np.errstate(divide="ignore"):
        seen = outputs(labels, logits=np.log(np.asarray(probability)))
    module = classifier_of(COUNTS, LINEAR)
    found = Calibration(facts(COUNTS), bins).measure(END_OF_EPOCH, {"test": seen}, module)
    assert found is not None
    return found


def naive(confidence: Any, correct: Any, bins: int) -> float:
    """The definition, a loop over bins closed above; NaN without samples."""
    if not len(confidence):
        return float("nan")
    total = 0.0
    for place in range(bins):
        low, high = place / bins, (place + 1) / bins
        held = (confidence > low) & (confidence <= high)
        if held.any():
            gap = abs(correct[held].mean() - confidence[held].mean())
            total += held.sum() / len(confidence) * gap
    return total


def random_case(seed: int, samples: int) -> tuple[Any, Any]:
    """At least one sample of each class; confident and unsure ones."""
    random = np.random.default_rng(seed)
    labels = np.append(np.arange(3), random.integers(0, 3, samples))
    logits = random.normal(0, random.uniform(0.2, 4), (samples + 3, 3)).astype(np.float32)
    return labels, torch.from_numpy(logits).double().softmax(1).numpy()


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), samples=st.integers(0, 80), bins=st.integers(1, 20))
def test_error_is_the_definition_and_torchmetrics(seed: int, samples: int, bins: int) -> None:
    labels, probability = random_case(seed, samples)
    found = measured(labels, probability, bins)
    confidence, predicted = probability.max(1), probability.argmax(1)
    correct = (predicted == labels).astype(float)
    for kind, groups in (("true", labels), ("predicted", predicted)):
        expected = [
            naive(confidence[groups == label], correct[groups == label], bins) for label in range(3)
        ]
        np.testing.assert_allclose(found["error"][kind], expected, atol=1e-6, err_msg=kind)
    other = multiclass_calibration_error(
        torch.from_numpy(probability), torch.from_numpy(labels), 3, n_bins=bins, norm="l1"
    )
    assert found["error"]["all"] == pytest.approx(float(other), abs=1e-6)


def test_error_by_hand() -> None:
    """One bin: |2/3 right - 0.8 sure|. Two bins, one of them closed above at 0.5."""
    sure, right = np.array([0.9, 0.9, 0.6]), np.array([1.0, 1.0, 0.0])
    alike = np.zeros(3, np.int64)
    assert calibration_error(sure, right, alike, 1, 1) == pytest.approx(0.8 - 2 / 3)
    edge = np.array([0.5, 1.0])
    both = np.zeros(2, np.int64)
    error = calibration_error(edge, np.array([1.0, 1.0]), both, 1, 2)
    assert error == pytest.approx(0.25), "0.5 is in the lower bin"
    cut = calibration_error(edge, np.array([1.0, 0.0]), both, 1, 2)
    assert cut == pytest.approx((0.5 + 1) / 2)
    assert np.isnan(calibration_error(sure, right, alike, 2, 5)[1])


def test_a_reliability_diagram_by_hand() -> None:
    """Two bins. Class 0: 0.9 sure and right, 0.7 sure and wrong. Class 1: 0.5 sure and wrong."""
    sums = reliability(
        np.array([0.9, 0.7, 0.5]), np.array([1.0, 0.0, 0.0]), np.array([0, 0, 1]), 2, 2
    )
    np.testing.assert_allclose(sums["samples"], [[0, 2], [1, 0]])
    np.testing.assert_allclose(sums["confidence"], [[0, 1.6], [0.5, 0]])
    np.testing.assert_allclose(sums["right"], [[0, 1], [0, 0]])


def test_the_last_line_alone_has_the_reliability_diagram() -> None:
    labels, probability = random_case(0, 20)
    seen = outputs(labels, logits=np.log(probability))
    probe, module = Calibration(facts(COUNTS)), classifier_of(COUNTS, LINEAR)
    for last in (False, True):
        found = probe.measure(END_OF_EPOCH._replace(last=last), {"test": seen}, module)
        assert found is not None
        assert ("reliability" in found) == last
    assert found["reliability"]["true"]["samples"].sum() == len(labels)
    right = np.bincount(labels[probability.argmax(1) == labels], minlength=3)
    np.testing.assert_allclose(found["reliability"]["true"]["right"].sum(1), right)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), samples=st.integers(0, 80))
def test_brier_is_the_formula(seed: int, samples: int) -> None:
    labels, probability = random_case(seed, samples)
    each = np.array(
        [
            sum((p - (label == c)) ** 2 for c, p in enumerate(of_sample))
            for label, of_sample in zip(labels, probability, strict=True)
        ]
    )
    found, predicted = measured(labels, probability)["brier"], probability.argmax(1)
    assert found["all"] == pytest.approx(each.mean(), abs=1e-6)
    for label in range(3):
        assert found["true"][label] == pytest.approx(each[labels == label].mean(), abs=1e-6)
        if (predicted == label).any():
            expected = each[predicted == label].mean()
            assert found["predicted"][label] == pytest.approx(expected, abs=1e-6)
        else:
            assert np.isnan(found["predicted"][label])


def test_by_predicted_class_is_not_by_true_class() -> None:
    """All are taken for class 0 with certainty: right for it, as wrong as can be for 1 and 2."""
    found = measured([0, 1, 2, 2], np.tile([1.0, 0, 0], (4, 1)))
    np.testing.assert_allclose(found["error"]["true"], [0, 1, 1])
    np.testing.assert_allclose(found["error"]["predicted"], [0.75, np.nan, np.nan])
    np.testing.assert_allclose(found["brier"]["true"], [0, 2, 2])
    np.testing.assert_allclose(found["brier"]["predicted"], [1.5, np.nan, np.nan])


def test_divergences_by_hand() -> None:
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.5, 0.25])
    assert divergence(p, q) == pytest.approx(0.5 * np.log(2))
    assert divergence(p, p) == 0


def test_a_network_that_expects_the_training_prior_or_none() -> None:
    prior = np.array(COUNTS) / 100
    labels = [0, 0, 0, 1, 2]
    expecting = measured(labels, np.tile(prior, (5, 1)))
    assert expecting["from_prior"] == pytest.approx(0, abs=1e-6)
    assert expecting["from_uniform"] == pytest.approx((prior * np.log(prior * 3)).sum(), abs=1e-6)
    np.testing.assert_allclose(expecting["prior"], prior)
    indifferent = measured(labels, np.full((5, 3), 1 / 3))
    assert indifferent["from_uniform"] == pytest.approx(0, abs=1e-6)
    expected = -np.log(3 * prior).sum() / 3
    assert indifferent["from_prior"] == pytest.approx(expected, abs=1e-6)


def test_each_true_class_counts_once_in_the_mean_prediction() -> None:
    """Three samples of class 0 and one each of 1 and 2, none of them in doubt: no prior."""
    found = measured([0, 0, 0, 1, 2], np.eye(3)[[0, 0, 0, 1, 2]])
    np.testing.assert_allclose(found["mean_prediction"], 1 / 3)
    assert found["from_uniform"] == pytest.approx(0)
