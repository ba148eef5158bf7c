"""Heads on frozen features: features that hold the class and features that do not; by hand."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from helpers import refused
from probe_cases import END_OF_EPOCH, LINEAR, classifier_of, facts, outputs
from sklearn.linear_model import LogisticRegression

from skewlab.metrics.scores import recall_per_class
from skewlab.probes.probe import Moment
from skewlab.probes.representation import Representation, linear_head

COUNTS = (20, 4, 1)
HEADS = ("own_head", "prior_adjusted", "nearest_class_mean", "nearest_neighbours", "retrained_head")


def measured(probe: Representation, **splits: Any) -> dict[str, Any]:
    module = classifier_of(tuple(probe.about.counts.tolist()), LINEAR)
    found = probe.measure(END_OF_EPOCH, splits, module)
    assert found is not None
    return found


def separable(each: tuple[int, ...], seed: int, logits: Any = None) -> Any:
    """Classes that lie 10 apart with a spread of 1."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(each)), each)
    features = 10 * np.eye(len(each))[labels] + random.normal(size=(len(labels), len(each)))
    return outputs(labels, features, logits)


@pytest.mark.parametrize(("held", "low", "high"), [(True, 0.95, 1.0), (False, 0.2, 0.5)])
def test_a_head_finds_what_the_features_hold(held: bool, low: float, high: float) -> None:
    random = np.random.RandomState(0)
    labels = np.arange(300) % 3
    features = np.eye(3)[labels] * 4 * held + random.normal(size=(300, 3))
    seen = outputs(labels[150:], features[150:])
    predicted = linear_head(features[:150].astype(np.float32), labels[:150])(seen)
    assert low <= recall_per_class(predicted, labels[150:], 3).mean() <= high
    plain = LogisticRegression().fit(features[:150], labels[:150]).predict(features[150:])
    assert (predicted == plain).mean() > 0.85


def test_every_class_has_the_same_weight() -> None:
    """Overlapping classes, 190 to 10: an unweighted fit gives almost all to the majority."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [190, 10])
    features = (labels[:, None] * 1.5 + random.normal(size=(200, 1))).astype(np.float32)
    test = np.repeat([0, 1], 200)
    seen = outputs(test, test[:, None] * 1.5 + random.normal(size=(400, 1)))
    weighted = recall_per_class(linear_head(features, labels)(seen), test, 2)
    plain = LogisticRegression().fit(features, labels).predict(seen.features)
    assert recall_per_class(plain, test, 2)[1] < 0.4
    assert (weighted > 0.6).all()


def test_one_sample_of_a_class_is_enough() -> None:
    train = separable((20, 4, 1), 0)
    test = separable((10, 10, 10), 1)
    predicted = linear_head(train.features, train.labels)(test)
    assert (recall_per_class(predicted, test.labels, 3) >= 0.8).all()


def test_own_head_and_its_prior_by_hand() -> None:
    """log pi is log 0.8, log 0.16, log 0.04: what class 2 gains on class 0 is log 20, about 3."""
    test_logits = np.array([[1.0, 0, 0], [2.9, 0, 0], [3.1, 0, 0], [0, 5, 0], [2, 0.5, 0]])
    labels = np.array([0, 2, 2, 1, 1])
    test = outputs(labels, np.zeros((5, 3)), test_logits)
    train, val = separable(COUNTS, 0), separable((4, 4, 4), 1)
    found = measured(Representation(facts(COUNTS)), train=train, val=val, test=test)
    np.testing.assert_allclose(found["recall"]["own_head"], [1, 1 / 2, 0])
    # Adjusted by 0.22, 1.83, 3.22: classes 2, 2, 0, 1, 2.
    np.testing.assert_allclose(found["recall"]["prior_adjusted"], [0, 1 / 2, 1 / 2])


def test_nearest_means_and_neighbours_by_hand() -> None:
    """On a line: class 0 at 0, 0 and 12, its mean 4; class 1 at 9. A test sample at 6 is nearer to
    the mean 4 and to the sample 9, one at 11 to the mean 9 and to the sample 12."""
    train = outputs([0, 0, 0, 1], np.array([[0.0], [0], [12], [9]]))
    test = outputs([0, 0, 1], np.array([[6.0], [11], [7]]))
    val = outputs([0, 0, 1, 1], np.array([[0.0], [1], [9], [10]]))
    found = measured(Representation(facts((3, 1)), neighbours=1), train=train, val=val, test=test)
    np.testing.assert_allclose(found["recall"]["nearest_class_mean"], [1 / 2, 1])
    np.testing.assert_allclose(found["recall"]["nearest_neighbours"], [1 / 2, 1])


def test_each_head_has_its_line() -> None:
    train, val, test = (separable(each, i) for i, each in enumerate((COUNTS, (6,) * 3, (9,) * 3)))
    found = measured(Representation(facts(COUNTS)), train=train, val=val, test=test)
    few = {"few_probe", "few_as_at/10"}  # 50 and 100 are more than there are
    assert set(found["recall"]) == {*HEADS, *few, "balanced_probe"}
    assert set(found["val"]) == set(HEADS), "not those that are fitted to val"
    for head in (*HEADS[2:], "few_probe", "balanced_probe"):
        assert (found["recall"][head] >= 0.8).all(), head


def test_the_balanced_probe_is_fitted_to_val_and_the_retrained_head_to_train() -> None:
    """Val has the labels of classes 1 and 2 the other way round: who learns from it is misled."""
    train, val, test = (separable(each, i) for i, each in enumerate((COUNTS, (8,) * 3, (9,) * 3)))
    misled = val._replace(labels=np.array([0, 2, 1])[val.labels])
    recall = measured(Representation(facts(COUNTS)), train=train, val=misled, test=test)["recall"]
    for head, expected in (("balanced_probe", 0), ("few_probe", 0), ("retrained_head", 1)):
        assert recall[head][0] == pytest.approx(1)
        np.testing.assert_allclose(recall[head][1:], expected, atol=0.2, err_msg=head)


def test_few_are_as_many_as_there_are_to_train_on() -> None:
    """At most: there may be fewer in val; another draw is another few, and none is there twice."""
    probe, val = Representation(facts(COUNTS)), separable((6, 6, 6), 1)
    draws = [probe._draw(val, np.asarray(COUNTS), draw) for draw in range(5)]
    for rows in draws:
        assert np.bincount(val.labels[rows]).tolist() == [6, 4, 1]
        assert len(np.unique(rows)) == len(rows)
    assert len({rows.tobytes() for rows in draws}) == 5
    np.testing.assert_array_equal(probe._draw(val, np.asarray(COUNTS), 0), draws[0])
    other_seed = Representation(dataclasses.replace(facts(COUNTS), seed=1))
    assert other_seed._draw(val, np.asarray(COUNTS), 0).tobytes() != draws[0].tobytes()


def test_the_recall_of_few_is_the_mean_of_five_draws() -> None:
    """Of 9 test samples a class each draw gets a whole number right: the sum of five is whole."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 9)
    train, val, test = (
        outputs(labels, labels[:, None] + random.normal(size=(18, 3))) for _ in range(3)
    )
    recall = measured(Representation(facts((9, 2))), train=train, val=val, test=test)["recall"]
    right = recall["few_probe"] * 9
    np.testing.assert_allclose(5 * right, np.round(5 * right), atol=1e-9)
    assert (np.abs(right - np.round(right)) > 0.1).any(), "not the recall of a single draw"


def test_few_as_at_another_ratio_is_the_few_probe_of_a_run_at_it() -> None:
    """On the same features: the balanced run measures what the imbalanced one does."""
    skewed, even = (20, 4, 4), (20, 20, 20)
    train, val, test = (separable(each, i) for i, each in enumerate((skewed, (6,) * 3, (9,) * 3)))
    balanced, imbalanced = (
        measured(Representation(facts(counts), few_as_at=[5]), train=train, val=val, test=test)[
            "recall"
        ]
        for counts in (even, skewed)
    )
    np.testing.assert_array_equal(balanced["few_as_at/5"], imbalanced["few_probe"])
    np.testing.assert_array_equal(imbalanced["few_as_at/5"], imbalanced["few_probe"])
    np.testing.assert_array_equal(balanced["few_probe"], balanced["balanced_probe"])


def test_a_ratio_that_the_data_cannot_give_is_left_out() -> None:
    probe = Representation(facts(COUNTS), few_as_at=[5, 100])
    assert list(probe._few) == ["few_probe", "few_as_at/5"]
    assert "few_as_at=[0.1]: must be" in refused(
        lambda: Representation(facts(COUNTS), few_as_at=[0.1])
    )


def test_with_enough_to_train_on_few_are_all() -> None:
    counts = (9, 7, 6)
    train, val, test = (separable(each, i) for i, each in enumerate((counts, (6,) * 3, (9,) * 3)))
    recall = measured(Representation(facts(counts)), train=train, val=val, test=test)["recall"]
    np.testing.assert_array_equal(recall["few_probe"], recall["balanced_probe"])


def test_when() -> None:
    probe = Representation(facts(COUNTS), every_n_epochs=2)
    for epoch, step, whole, last, due in [
        (0.0, 0, False, False, True),
        (0.1, 1, False, False, False),
        (1.0, 9, True, False, False),
        (2.0, 18, True, False, True),
        (2.1, 19, False, False, False),
        (3.0, 27, True, True, True),
    ]:
        assert bool(probe.wants(Moment(epoch, step, whole, last))) is due, step
