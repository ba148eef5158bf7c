import numpy as np
import pytest
import torch
from torch import Tensor

from skewlab.methods.post_hoc import (
    LogitsAndHead,
    PostHocLogitAdjustment,
    TauNormalisation,
    choose,
)
from skewlab.training.post_hoc_rules import evaluate

COUNTS = torch.tensor([90, 10])
TAUS = [0.0, 0.5, 1.0, 1.5]


def outputs(seed: int = 0, samples: int = 200) -> tuple[LogitsAndHead, Tensor]:
    """Logits of a network that leans to class 0, as imbalance makes it."""
    random = np.random.default_rng(seed)
    labels = torch.from_numpy(random.integers(0, 2, samples))
    features = torch.from_numpy(random.normal(size=(samples, 3))) + labels[:, None]
    weight = torch.tensor([[-2.0, -2.0, -2.0], [0.5, 0.5, 0.4]]).double()
    return LogitsAndHead(features @ weight.T + torch.tensor([3.0, 0.0]), features, weight), labels


def test_logit_adjustment_by_hand() -> None:
    found, _ = outputs()
    rule = PostHocLogitAdjustment(COUNTS, TAUS)
    assert torch.equal(rule(found, 0.0), found.logits)
    moved = rule(found, 1.5) - found.logits
    np.testing.assert_allclose(moved[0], [-1.5 * np.log(0.9), -1.5 * np.log(0.1)])
    balanced = PostHocLogitAdjustment(torch.tensor([5, 5]), TAUS)
    assert torch.equal(balanced(found, 1.0).argmax(1), found.logits.argmax(1))


def test_tau_normalisation_by_hand() -> None:
    found, _ = outputs()
    assert found.features is not None
    assert found.head_weight is not None
    rule = TauNormalisation(COUNTS, TAUS)
    torch.testing.assert_close(rule(found, 0.0), found.features @ found.head_weight.T)
    for tau in (0.5, 1.0):
        weight = found.head_weight.clone()
        for row in weight:
            row /= row.square().sum().sqrt() ** tau
        torch.testing.assert_close(rule(found, tau), found.features @ weight.T)
    assert rule.needs_head
    assert not PostHocLogitAdjustment(COUNTS, TAUS).needs_head


def test_tau_normalisation_leaves_a_head_vector_of_length_0() -> None:
    features, weight = torch.ones(1, 2).double(), torch.tensor([[0.0, 0.0], [3.0, 4.0]]).double()
    found = TauNormalisation(COUNTS, TAUS)(LogitsAndHead(features, features, weight), 1.0)
    assert found.tolist() == [[0.0, pytest.approx(7 / 5)]]


def test_the_best_on_val_is_chosen_the_first_of_equals() -> None:
    assert choose([np.array([1.0, 0.0]), np.array([0.7, 0.7]), np.array([0.7, 0.7])]) == 1
    absent = [np.array([0.8, np.nan]), np.array([0.9, np.nan]), np.array([0.7, np.nan])]
    assert choose(absent) == 1, "a class without a sample is left out of the mean"


def test_test_labels_have_no_part_in_the_choice() -> None:
    """val and test want other values of tau: the choice is val's, whatever test's labels are."""
    val, val_labels = outputs(0)
    test, test_labels = outputs(1)
    rule = PostHocLogitAdjustment(COUNTS, [0.0, 0.4, 0.8, 1.2, 1.6, 2.0])
    given = {"val": val, "test": test}
    random = np.random.default_rng(0)
    found = [
        evaluate(rule, given, {"val": val_labels, "test": labels})
        for labels in (
            test_labels,
            1 - test_labels,
            test_labels[torch.from_numpy(random.permutation(len(test_labels)))],
        )
    ]
    assert len({entry["tau"] for entry in found}) == 1
    assert found[0]["recall"]["test"] != found[1]["recall"]["test"]
    means = [np.mean(one) for one in found[1]["by_tau"]["test"]]
    chosen = found[1]["grid"].index(found[1]["tau"])
    assert means[chosen] < max(means), "with wrong labels test alone would have chosen otherwise"
    own = [np.mean(one) for one in found[0]["by_tau"]["val"]]
    assert own.index(max(own)) == chosen
    assert found[0]["recall"]["val"] == found[0]["by_tau"]["val"][chosen]


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="grid"):
        PostHocLogitAdjustment(COUNTS, [])
