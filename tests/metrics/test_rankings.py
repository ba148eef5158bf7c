"""Rankings against scikit-learn, with ties, absent classes and several parts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from skewlab.metrics.per_class import Rankings, log_odds
from skewlab.metrics.rankings import (
    chosen,
    decided,
    held_against_rest,
    matthews_correlation,
    one_versus_rest,
    ranked,
)
from skewlab.metrics.scores import METRICS, binary, overall, scalars

# Of few values: most samples are tied with others.
few_values = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=40)
many_values = st.lists(st.tuples(st.integers(-999, 999), st.booleans()), min_size=2, max_size=40)


def sides(cases: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    scores = np.array([score for score, _ in cases], dtype=np.float32)
    return scores, np.array([positive for _, positive in cases])


@settings(max_examples=200)
@given(cases=st.one_of(few_values, many_values))
def test_auroc_and_average_precision_are_scikit_learns(cases: list[tuple[int, bool]]) -> None:
    scores, positive = sides(cases)
    found = ranked(scores[positive], scores[~positive])
    if len(set(positive)) < 2:
        assert found is None
        return
    assert found
    assert found.auroc == pytest.approx(sklearn_metrics.roc_auc_score(positive, scores), abs=1e-12)
    expected = sklearn_metrics.average_precision_score(positive, scores)
    assert found.average_precision == pytest.approx(expected, abs=1e-12)


@settings(max_examples=100)
@given(cases=st.one_of(few_values, many_values))
def test_thresholds_are_points_of_scikit_learns_curves(cases: list[tuple[int, bool]]) -> None:
    scores, positive = sides(cases)
    found = ranked(scores[positive], scores[~positive])
    if found is None:
        return
    precision, recall, at = sklearn_metrics.precision_recall_curve(positive, scores)
    by_threshold = {t: (p, r) for t, p, r in zip(at, precision, recall, strict=False)}
    false_rate, _, at = sklearn_metrics.roc_curve(positive, scores, drop_intermediate=False)
    false_rates = dict(zip(at, false_rate, strict=True))
    for place, threshold in enumerate(found.score):
        assert (found.precision[place], found.recall[place]) == by_threshold[threshold]
        assert found.false_positive_rate[place] == false_rates[threshold]


@settings(max_examples=100)
@given(cases=few_values, at_precision=st.sampled_from([0.5, 0.9, 1]), at_recall=st.floats(0.1, 1))
def test_chosen_thresholds_are_the_best_there_are(
    cases: list[tuple[int, bool]], at_precision: float, at_recall: float
) -> None:
    scores, positive = sides(cases)
    found = ranked(scores[positive], scores[~positive])
    if found is None:
        return
    points = []
    for threshold in np.unique(scores):
        predicted = scores >= threshold
        points.append(
            (
                sklearn_metrics.precision_score(positive, predicted, zero_division=0),
                sklearn_metrics.recall_score(positive, predicted),
                sklearn_metrics.f1_score(positive, predicted),
            )
        )
    places = chosen(found, at_precision, at_recall)
    assert found.f1[places["f1"]] == pytest.approx(max(f1 for _, _, f1 in points))
    recalls = [recall for precision, recall, _ in points if precision >= at_precision]
    place = places["recall_at_precision"]
    # A threshold at a negative's score alone is no better than the next one at a positive's.
    assert (place is None) == (not recalls or max(recalls) == 0)
    if place is not None:
        assert found.recall[place] == max(recalls)
    precisions = [precision for precision, recall, _ in points if recall >= at_recall]
    assert found.precision[places["precision_at_recall"]] == pytest.approx(max(precisions))


@settings(max_examples=100)
@given(cases=few_values, threshold=st.integers(-1, 5))
def test_what_a_threshold_decides_is_scikit_learns(
    cases: list[tuple[int, bool]], threshold: int
) -> None:
    scores, positive = sides(cases)
    got = decided(scores[positive], scores[~positive], threshold)
    if len(set(positive)) < 2:
        assert np.isnan(list(got.values())).all()
        return
    predicted = scores >= threshold
    expected = {
        "recall": sklearn_metrics.recall_score(positive, predicted),
        "precision": sklearn_metrics.precision_score(positive, predicted, zero_division=0),
        "f1": sklearn_metrics.f1_score(positive, predicted, zero_division=0),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(positive, predicted),
        "matthews_correlation": sklearn_metrics.matthews_corrcoef(positive, predicted),
    }
    assert got == pytest.approx(expected)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    samples=st.integers(1, 80),
    classes=st.integers(2, 40),
    absent=st.sets(st.integers(0, 39), max_size=30),
    batch=st.integers(1, 80),
)
def test_every_class_against_the_rest(
    seed: int, samples: int, classes: int, absent: set[int], batch: int
) -> None:
    random = np.random.default_rng(seed)
    present = [label for label in range(classes) if label not in absent] or [0]
    labels = random.choice(present, samples)
    # Whole numbers: many samples have the same probability.
    logits = torch.from_numpy(random.integers(-2, 3, (samples, classes)).astype(np.float32))
    rankings = Rankings()
    for x, y in zip(logits.split(batch), torch.from_numpy(labels).split(batch), strict=True):
        rankings.update(x, y)
    found = rankings.compute()
    # Of the same parts: the last digit depends on the size of a batch, and breaks ties.
    scores = torch.cat([log_odds(part) for part in logits.split(batch)]).numpy()
    for label in range(classes):
        positive = labels == label
        if positive.any() and not positive.all():
            expected = (
                sklearn_metrics.roc_auc_score(positive, scores[:, label]),
                sklearn_metrics.average_precision_score(positive, scores[:, label]),
            )
        else:
            expected = (np.nan, np.nan)
        got = (found["auroc"][label], found["average_precision"][label])
        assert got == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_scores_have_the_order_of_probabilities() -> None:
    logits = torch.randn(300, 6, generator=torch.Generator().manual_seed(0)).double() * 4
    probability = logits.softmax(1)
    expected = (probability / (1 - probability)).log()
    torch.testing.assert_close(log_odds(logits), expected, rtol=1e-6, atol=1e-6)
    certain = torch.tensor([[60.0, 0.0, 1.0], [70.0, 0.0, 1.0]])
    assert (certain.softmax(1)[:, 0] == 1).all(), "the same to the last bit"
    assert log_odds(certain)[1, 0] > log_odds(certain)[0, 0], "and yet in order"


def test_scores_that_are_no_numbers_have_no_ranking() -> None:
    scores = np.array([[0.1, np.nan], [0.2, 1.0], [0.3, 2.0]])
    found = one_versus_rest([scores], np.array([0, 1, 1]))
    assert found["auroc"][0] == 0
    assert np.isnan(found["auroc"][1])


def test_parts_are_put_together_in_order() -> None:
    scores = np.arange(36, dtype=np.float32).reshape(2, 18)
    labels = np.array([17, 3])
    columns = list(held_against_rest([scores[:1], scores[1:]], labels))
    assert len(columns) == 18
    assert [side.tolist() for side in columns[17]] == [[17], [35]]
    assert [side.tolist() for side in columns[3]] == [[21], [3]]


def test_two_classes_are_read_as_positive_and_negative() -> None:
    """8 positives of 20, of which 6 are found, and 3 of the 12 others are taken for them."""
    labels = np.repeat([1, 0], [8, 12])
    predicted = np.repeat([1, 0, 1, 0], [6, 2, 3, 9])
    metrics = {
        "n": np.array([12.0, 8.0]),
        "recall": np.array([9 / 12, 6 / 8]),
        "f1": sklearn_metrics.f1_score(labels, predicted, average=None),
    }
    expected = {
        "prevalence": 0.4,
        "f1": sklearn_metrics.f1_score(labels, predicted),
        "matthews_correlation": sklearn_metrics.matthews_corrcoef(labels, predicted),
    }
    assert binary(metrics, positive=1) == pytest.approx(expected)
    assert matthews_correlation(0, 0, 4, 6) == 0, "as in scikit-learn"
    whole = {name: metrics.get(name, metrics["f1"]) for name in ("n", *METRICS)}
    named = scalars({"test": whole}, {"majority": (0,), "minority": (1,)})
    assert {name: named[f"test/{name}"] for name in expected} == pytest.approx(expected)


def test_means_leave_out_what_is_absent() -> None:
    metrics = {"n": np.array([2.0, 3.0, 0.0]), **dict.fromkeys(METRICS, np.array([1, 0.5, np.nan]))}
    metrics["auroc"] = np.array([0.9, 0.7, np.nan])
    groups = {"majority": (0,), "minority": (1, 2)}
    assert overall(metrics)["auroc"] == pytest.approx(0.8)
    assert "average_precision" not in overall(metrics)
    assert scalars({"val": metrics}, groups)["val/auroc/minority"] == pytest.approx(0.7)
