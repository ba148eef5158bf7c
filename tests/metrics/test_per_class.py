"""Every metric against scikit-learn or plain NumPy, with absent classes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from skewlab.metrics.per_class import PerClassMetric
from skewlab.metrics.scores import METRICS, FloatArray, overall, scalars

CLASSES = 6


def random_case(seed: int, samples: int, absent: set[int]) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    present = [label for label in range(CLASSES) if label not in absent]
    labels = random.choice(present, samples)
    logits = random.normal(0, 2, (samples, CLASSES)).astype(np.float32)
    return torch.from_numpy(logits), torch.from_numpy(labels)


def measured(logits: torch.Tensor, labels: torch.Tensor, batch: int = 7) -> dict[str, FloatArray]:
    metric = PerClassMetric(CLASSES, confusion=True)
    for x, y in zip(logits.split(batch), labels.split(batch), strict=True):
        metric.update(x, y)
    return metric.compute()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    samples=st.integers(1, 120),
    absent=st.sets(st.integers(0, CLASSES - 1), max_size=CLASSES - 1),
)
def test_per_class_metrics_equal_independent_ones(
    seed: int, samples: int, absent: set[int]
) -> None:
    logits, labels = random_case(seed, samples, absent)
    found = measured(logits, labels)
    x, y = logits.double().numpy(), labels.numpy()
    predicted = x.argmax(1)
    every = list(range(CLASSES))
    there = np.bincount(y, minlength=CLASSES) > 0

    np.testing.assert_array_equal(
        found["confusion"], sklearn_metrics.confusion_matrix(y, predicted, labels=every)
    )
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        y, predicted, labels=every, zero_division=0
    )
    np.testing.assert_array_equal(found["n"], support)
    for name, expected in (("precision", precision), ("recall", recall), ("f1", f1)):
        np.testing.assert_allclose(found[name][there], expected[there], err_msg=name)

    probability = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    true = probability[np.arange(len(y)), y]
    others = np.where(np.arange(CLASSES) == y[:, None], -np.inf, x).max(1)
    for name, each in (
        ("loss", -np.log(true)),
        ("confidence", true),
        ("margin", x[np.arange(len(y)), y] - others),
    ):
        for label in np.flatnonzero(there):
            expected = each[y == label].mean()
            assert found[name][label] == pytest.approx(expected, rel=1e-5, abs=1e-6), name
    for name in METRICS:
        assert np.isnan(found[name][~there]).all(), f"{name} of an absent class must be NaN"


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), samples=st.integers(1, 120))
def test_overall_numbers_equal_scikit_learn(seed: int, samples: int) -> None:
    logits, labels = random_case(seed, samples, absent={2})
    named = overall(measured(logits, labels))
    y, predicted = labels.numpy(), logits.numpy().argmax(1)
    present = np.unique(y)
    recalls = sklearn_metrics.recall_score(y, predicted, labels=present, average=None)
    f1 = sklearn_metrics.f1_score(y, predicted, labels=present, average="macro", zero_division=0)
    assert named["balanced_accuracy"] == pytest.approx(recalls.mean())
    assert named["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(y, predicted))
    assert named["macro_f1"] == pytest.approx(f1)
    assert named["worst_class"] == pytest.approx(recalls.min())
    assert named["g_mean"] == pytest.approx(float(np.prod(recalls)) ** (1 / len(recalls)))
    expected = sklearn_metrics.log_loss(
        y, torch.softmax(logits.double(), 1).numpy(), labels=range(CLASSES)
    )
    assert named["loss"] == pytest.approx(expected, rel=1e-5)


def test_batches_do_not_matter() -> None:
    logits, labels = random_case(3, 100, set())
    whole, cut = measured(logits, labels, batch=100), measured(logits, labels, batch=1)
    for name in ("n", "recall", "precision", "f1"):
        np.testing.assert_array_equal(whole[name], cut[name])
    np.testing.assert_allclose(whole["loss"], cut["loss"], rtol=1e-6)


def test_counts_stay_exact_where_float32_would_not() -> None:
    """Above 2^24 a float32 sum no longer grows by one."""
    metric = PerClassMetric(2)
    metric.sums[0, 0] = 2.0**24
    metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert metric.compute()["n"][0] == 2**24 + 1


def test_groups_and_gaps_by_hand() -> None:
    def split(recall: list[float]) -> dict[str, FloatArray]:
        values = np.asarray(recall)
        return {"n": np.where(np.isnan(values), 0.0, 10.0), **dict.fromkeys(METRICS, values)}

    named = scalars(
        {"train": split([1.0, 0.8, 0.4]), "test": split([0.9, 0.7, float("nan")])},
        {"majority": (0,), "minority": (1, 2), "few": ()},
        ["cat", "dog", "eel"],
    )
    assert named["train/recall/minority"] == pytest.approx(0.6)
    assert named["test/recall/minority"] == pytest.approx(0.7), "the absent class is left out"
    assert named["test/recall/class/dog"] == pytest.approx(0.7)
    assert np.isnan(named["test/recall/class/eel"])
    assert np.isnan(named["test/recall/few"]), "an empty group is absent, not 0"
    assert named["gap/generalisation/recall/minority"] == pytest.approx(-0.1)
    assert named["gap/group/recall/train"] == pytest.approx(0.4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_half_precision_are_measured_in_full(dtype: torch.dtype) -> None:
    logits, labels = random_case(5, 200, set())
    halved = logits.to(dtype)
    found, expected = measured(halved, labels), measured(halved.float(), labels)
    for name in METRICS:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
