"""Geometry: exact collapse, covariances known in advance, and the formulas with another solver."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probe_cases import END_OF_EPOCH, LINEAR, classifier_of, facts, outputs

from skewlab.probes.geometry import (
    ClassFeatures,
    Geometry,
    cosine_matrix,
    duality,
    equiangularity,
    equinorm,
    feature_deviation,
    nearest_mean,
    plane,
    slope,
    turned,
    within_over_between,
)


def simplex(classes: int, width: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """A simplex equiangular tight frame, turned in a wider space: shape [classes, width]."""
    frame = np.sqrt(classes / (classes - 1)) * (np.eye(classes) - 1 / classes)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, classes)))[0]
    return np.asarray(frame @ turn.T)


def random_features(
    seed: int, counts: list[int], width: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    means = random.normal(0, 3, (len(counts), width))
    return means[labels] + random.normal(size=(len(labels), width)), labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_collapsed_network(classes: int) -> None:
    """Features on a simplex about any centre, however often each class; the head its vectors."""
    means, counts = simplex(classes, 8), list(range(1, classes + 1))
    labels = np.repeat(np.arange(classes), counts)
    of = ClassFeatures.of(4 * means[labels] + 7, labels, classes)
    assert within_over_between(of, labels) == pytest.approx(0, abs=1e-12)
    assert equinorm(of.centred) == pytest.approx(0, abs=1e-12)
    assert equiangularity(of.centred) == pytest.approx((0, 0), abs=1e-12)
    assert duality(2 * means, of.centred) == pytest.approx(0, abs=1e-12)
    others = cosine_matrix(of.centred)[~np.eye(classes, dtype=bool)]
    np.testing.assert_allclose(others, -1 / (classes - 1))


def test_a_known_distance_from_collapse() -> None:
    """Norms 1, 1, 4: standard deviation sqrt 2, mean 2. Right angles but one opposite: by hand."""
    assert equinorm(np.array([[1.0, 0], [0, 1], [4, 0]])) == pytest.approx(np.sqrt(2) / 2)
    spread, from_widest = equiangularity(np.array([[1.0, 0], [-1, 0], [0, 1]]))
    assert spread == pytest.approx(np.std([-1, 0, 0]))
    assert from_widest == pytest.approx(np.mean([0.5, 0.5, 0.5]))
    opposite = simplex(3, 4)
    assert duality(-opposite, opposite) == pytest.approx(2)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    counts=st.lists(st.integers(1, 12), min_size=2, max_size=6),
    width=st.integers(1, 8),
)
def test_nc1_is_the_formula(seed: int, counts: list[int], width: int) -> None:
    features, labels = random_features(seed, counts, width)
    classes = len(counts)
    means = np.stack([features[labels == label].mean(0) for label in range(classes)])
    within = np.mean(
        [np.cov(features[labels == label].T, bias=True) for label in range(classes)], axis=0
    ).reshape(width, width)
    centred = means - means.mean(0)
    between = centred.T @ centred / classes
    expected = np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / classes
    found = within_over_between(ClassFeatures.of(features, labels, classes), labels)
    assert found == pytest.approx(expected, rel=1e-5)


def test_nc1_of_known_covariances() -> None:
    """Two classes at -2 and 2, within +-1 along and +-5 across what is between: 1 / 4 / 2."""
    offsets = [[1, 5], [-1, 5], [1, -5], [-1, -5]]
    features = np.concatenate([np.add(offsets, [-2, 0]), np.add(offsets, [2, 0])]).astype(float)
    labels = np.repeat([0, 1], 4)
    of = ClassFeatures.of(features, labels, 2)
    assert within_over_between(of, labels) == pytest.approx(1 / 8)
    np.testing.assert_allclose(of.spread, 26)
    np.testing.assert_allclose(of.mean_variance, 26 / 3)
    np.testing.assert_allclose(of.means, [[-2, 0], [2, 0]])


@given(st.integers(0, 1000), st.integers(2, 9))
def test_imbalance_does_not_move_the_centre(seed: int, times: int) -> None:
    """Each sample of one class so many times: nothing changes, for each class counts once."""
    features, labels = random_features(seed, [4, 3, 5], 6)
    rows = np.concatenate([np.repeat(np.flatnonzero(labels == 0), times), np.flatnonzero(labels)])
    of, more = (
        ClassFeatures.of(features[chosen], labels[chosen], 3) for chosen in (slice(None), rows)
    )
    np.testing.assert_allclose(more.centred, of.centred)
    assert within_over_between(more, labels[rows]) == pytest.approx(within_over_between(of, labels))


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_deviation_has_no_bias(shift: float) -> None:
    """Many draws of few samples: on average the squared shift over the spread, and 0 without one;
    without the correction it would be 6 (1 / 5 + 1 / 40) / 6 = 0.225."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(3000):
        train, test = random.normal(size=(5, 6)), random.normal(size=(40, 6))
        test[:, 0] += shift
        one, other = (
            ClassFeatures.of(drawn, np.zeros(len(drawn), np.int64), 1) for drawn in (train, test)
        )
        found.append(feature_deviation(one, other)[0])
    error = np.std(found) / np.sqrt(len(found))
    assert error < 0.01
    assert np.mean(found) == pytest.approx(shift**2 / 6, abs=4 * error + 0.01)


def test_deviation_by_hand() -> None:
    """Means 3 apart; train +-1 of two samples, so variance 2 and 2 / 2 off; test +-2, 8 and 4."""
    train = ClassFeatures.of(np.array([[-1.0], [1.0]]), np.zeros(2, np.int64), 1)
    test = ClassFeatures.of(np.array([[1.0], [5.0]]), np.zeros(2, np.int64), 1)
    np.testing.assert_allclose(feature_deviation(train, test), (9 - 1 - 4) / 8)
    single = ClassFeatures.of(np.array([[0.0]]), np.zeros(1, np.int64), 1)
    assert np.isnan(feature_deviation(single, test)[0]), "the error of one sample is not known"


@given(st.integers(0, 1000), st.integers(2, 8))
def test_the_nearest_mean_is_the_nearest(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    features, means = random.normal(size=(20, 5)), random.normal(size=(classes, 5))
    distances = np.linalg.norm(features[:, None] - means[None], axis=2)
    np.testing.assert_array_equal(nearest_mean(features, means), distances.argmin(1))


@given(st.integers(0, 1000), st.integers(3, 9))
def test_slope_is_polyfits(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    counts = np.append([1, 500], random.integers(1, 500, classes - 2))
    values = random.normal(size=classes)
    expected = np.polyfit(np.log(counts), values, 1)[0]
    assert slope(counts, values) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert np.isnan(slope(np.full(classes, 20), values)), "all counts equal"


@given(st.floats(0, 6.3), st.booleans(), st.integers(0, 1000))
def test_a_turn_is_undone(angle: float, mirrored: bool, seed: int) -> None:
    before = np.random.default_rng(seed).normal(size=(6, 2))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = before @ (turn * [1, -1] if mirrored else turn)
    undone = turned(points, before)
    np.testing.assert_allclose(points @ undone, before, atol=1e-9)
    np.testing.assert_allclose(undone @ undone.T, np.eye(2), atol=1e-9)


def test_the_plane_is_that_of_the_means() -> None:
    """Means vary most along the second axis, then the third; of two classes only along the first,
    and samples most along the second."""
    means = np.zeros((4, 5))
    means[:, 1], means[:, 2] = [-9, 9, -9, 9], [-4, -4, 4, 4]
    axes = plane(ClassFeatures.of(means, np.arange(4), 4))
    np.testing.assert_allclose(np.abs(axes[:, 1:3]), np.eye(2), atol=1e-12)
    two = np.array([[-3.0, 5, 0], [-3, -5, 1], [3, 5, 0], [3, -5, 1]])
    axes = plane(ClassFeatures.of(two, np.array([0, 0, 1, 1]), 2))
    assert abs(axes[0, 0]) == pytest.approx(1)
    assert abs(axes[1, 1]) > 0.9
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-12)


def measured(
    probe: Geometry, features: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], head: Any
) -> dict[str, Any]:
    """The probe on these features for train and test, and this head."""
    module = classifier_of(tuple(probe.about.counts.tolist()), LINEAR)
    module.network.head = torch.nn.Linear(head.shape[1], len(head))
    with torch.no_grad():
        module.network.head.weight.copy_(torch.from_numpy(head))
        module.network.head.bias.copy_(torch.arange(len(head)))
    seen = outputs(labels, features, features @ head.T)
    found = probe.measure(END_OF_EPOCH, {"train": seen, "test": seen}, module)
    assert found is not None
    return found


def test_the_line_of_a_collapsed_minority() -> None:
    """Fang et al.'s minority collapse: the two minority classes have one head vector."""
    counts = (8, 4, 2)
    features, labels = random_features(1, list(counts), 6)
    head = np.array([[2.0, 0, 0, 0, 0, 0], [0, 3, 4, 0, 0, 0], [0, 3, 4, 0, 0, 0]])
    found = measured(Geometry(facts(counts)), features, labels, head)
    assert found["head_cosine"]["minority"] == pytest.approx(1)
    assert np.isnan(found["head_cosine"]["majority"]), "one class is no pair"
    np.testing.assert_allclose(found["head_norm"], [2, 5, 5])
    np.testing.assert_allclose(found["head_bias"], [0, 1, 2])
    log = np.log(counts)
    assert found["head_norm_slope"] == pytest.approx(np.polyfit(log, [2, 5, 5], 1)[0])
    assert found["head_bias_slope"] == pytest.approx(np.polyfit(log, [0, 1, 2], 1)[0])
    means = np.stack([features[labels == label].mean(0) for label in range(3)])
    norms = np.linalg.norm(means - means.mean(0), axis=1)
    np.testing.assert_allclose(found["mean_norm"], norms, rtol=1e-5)
    nearest = np.linalg.norm(features[:, None] - means, axis=2).argmin(1)
    agreed = (nearest == (features @ head.T).argmax(1)).mean()
    assert 0 < agreed < 1
    assert found["nc4"]["train"] == found["nc4"]["test"] == pytest.approx(agreed)
    assert (found["deviation"] < 0).all(), "the very same samples are closer than by chance"


def test_a_head_without_biases_has_none() -> None:
    module = classifier_of((8, 4), LINEAR)
    module.network.head = torch.nn.Linear(3, 2, bias=False)
    seen = outputs([0, 0, 1, 1], np.random.default_rng(0).normal(size=(4, 3)))
    found = Geometry(facts((8, 4))).measure(END_OF_EPOCH, {"train": seen, "test": seen}, module)
    assert found is not None
    np.testing.assert_array_equal(found["head_bias"], 0)


@pytest.mark.parametrize("counts", [(8, 5), (8, 4, 2), (9, 5, 4, 3)])
def test_a_turned_feature_space_has_the_same_picture(counts: tuple[int, ...]) -> None:
    """Two evaluations between which all features were turned; and in a run that goes on."""
    features, labels = random_features(2, list(counts), 6)
    features[:, 0] += labels * 8.0
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    head, probe = np.ones((len(counts), 6)), Geometry(facts(counts), projected=1000)
    first = measured(probe, features, labels, head)["projection"]
    resumed = Geometry(facts(counts), projected=1000)
    resumed.load_state_dict(probe.state_dict())
    for again in (probe, resumed):
        second = measured(again, features @ turn, labels, head)["projection"]
        np.testing.assert_allclose(second["means"], first["means"], atol=2e-3)
        np.testing.assert_allclose(second["train"], first["train"], atol=2e-3)
    np.testing.assert_array_equal(first["train_labels"], labels)
    for label in range(len(counts)):
        of_class = first["train"][labels == label].mean(0)
        np.testing.assert_allclose(of_class, first["means"][label], atol=2e-3)


def test_only_some_samples_are_projected() -> None:
    counts = (8, 5)
    features, labels = random_features(3, list(counts), 6)
    line = measured(Geometry(facts(counts), projected=6), features, labels, np.ones((2, 6)))
    assert line["projection"]["train_labels"].tolist() == [0, 0, 0, 1, 1, 1]
    least = measured(Geometry(facts(counts), projected=1), features, labels, np.ones((2, 6)))
    assert least["projection"]["train_labels"].tolist() == [0, 0, 1, 1], "two of each at least"
    none = measured(Geometry(facts(counts), projected=0), features, labels, np.ones((2, 6)))
    assert "projection" not in none


def test_the_features_of_these_samples_are_kept_at_the_end(tmp_path: Path) -> None:
    features, labels = random_features(3, [8, 5], 6)
    module = classifier_of((8, 5), LINEAR)
    module.network.head = torch.nn.Linear(6, 2)
    seen = outputs(labels, features)
    for last in (False, True):
        probe = Geometry(facts((8, 5), tmp_path), projected=6)
        assert not (tmp_path / "features.npz").exists()
        probe.measure(END_OF_EPOCH._replace(last=last), {"train": seen, "test": seen}, module)
    with np.load(tmp_path / "features.npz") as kept:
        for split in ("train", "test"):
            rows = kept[f"{split}_rows"]
            np.testing.assert_array_equal(kept[split], features[rows].astype(np.float32))
            np.testing.assert_array_equal(kept[f"{split}_labels"], [0, 0, 0, 1, 1, 1])
            np.testing.assert_array_equal(labels[rows], [0, 0, 0, 1, 1, 1])
