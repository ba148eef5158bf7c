"""Weights of classes, and from when on they act."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import refused
from hypothesis import example, given
from hypothesis import strategies as st
from program import composed_at

from skewlab.config.schema import checked
from skewlab.methods import deferral
from skewlab.methods.losses import CrossEntropy
from skewlab.methods.mixing import Mixup
from skewlab.methods.objective import Objective
from skewlab.methods.weights import EffectiveNumber, InverseFrequency

COUNTS = torch.tensor([100, 40, 10, 1])
counts = st.lists(st.integers(1, 5000), min_size=2, max_size=20).map(torch.tensor)


def test_weights_by_hand() -> None:
    inverse = InverseFrequency(torch.tensor([3, 1]))(0, 10)
    assert inverse.tolist() == pytest.approx([0.5, 1.5])  # 1/3 and 1, of mean 1
    root = InverseFrequency(torch.tensor([9, 1]), power=0.5)(0, 10)
    assert root.tolist() == pytest.approx([0.5, 1.5])
    # Effective numbers 1 + 1/2 and 1: (1 - b^n) / (1 - b).
    effective = EffectiveNumber(torch.tensor([2, 1]), beta=0.5)(0, 10)
    assert effective.tolist() == pytest.approx([0.8, 1.2])


@given(counts=counts)
def test_limits(counts: torch.Tensor) -> None:
    ones = torch.ones(len(counts))
    torch.testing.assert_close(EffectiveNumber(counts, beta=0.0)(0, 1), ones)
    torch.testing.assert_close(InverseFrequency(counts, power=0.0)(0, 1), ones)
    for weights in (InverseFrequency(counts), EffectiveNumber(counts)):
        assert weights(0, 1).mean().item() == pytest.approx(1)
        balanced = type(weights)(torch.full_like(counts, 7))(0, 1)
        torch.testing.assert_close(balanced, ones)
    almost = EffectiveNumber(counts, beta=1 - 1e-9)(0, 1)
    torch.testing.assert_close(almost, InverseFrequency(counts)(0, 1), rtol=1e-3, atol=1e-5)


def test_the_weighted_mean_is_pytorchs() -> None:
    logits, labels = torch.randn(30, 4), torch.randint(0, 4, (30,))
    weights = EffectiveNumber(COUNTS)(0, 10)
    ours = CrossEntropy(COUNTS)(logits, labels, weights[labels])
    assert ours.item() == pytest.approx(F.cross_entropy(logits, labels, weights).item())


@pytest.mark.parametrize("mixed", [False, True])
def test_what_the_weighted_sum_is_divided_by(mixed: bool) -> None:
    """Losses and gradients, in float64, against sums written out; with mixed labels too."""
    torch.manual_seed(0)
    images, labels = torch.randn(12, 5).double(), torch.tensor([0] * 8 + [1, 1, 2, 3])
    n = np.array([100.0, 40, 10, 1])
    w = (1 / n) / (1 / n).mean()
    for normalise in ("batch_weights", "batch_size"):
        network = torch.nn.Linear(5, 4).double()
        method = {
            "loss": {"_target_": "skewlab.methods.losses.CrossEntropy"},
            "weights": {"_target_": f"{InverseFrequency.__module__}.InverseFrequency"},
            "mixing": {"_target_": "skewlab.methods.mixing.Mixup"} if mixed else None,
        }
        method["weights"]["normalise"] = normalise  # type: ignore[index]
        objective = Objective(method, network, COUNTS)
        objective.begin(0, 1, torch.device("cpu"))
        loss, divisor = objective(network, images, labels, 1, 2)
        loss.backward()
        inputs, partners, own = images.numpy(), labels.numpy(), np.ones(12)
        if mixed:
            made = Mixup(COUNTS)(images, labels, 2)
            inputs, partners, own = made.images.numpy(), made.partners.numpy(), made.own.numpy()
        weight, bias = (p.detach().numpy() for p in network.parameters())
        z = inputs @ weight.T + bias
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        total, sum_of_weights, gradient = 0.0, 0.0, np.zeros_like(weight)
        for i in range(12):
            for label, share in ((labels[i], own[i]), (partners[i], 1 - own[i])):
                total -= share * w[label] * np.log(p[i, label])
                sum_of_weights += share * w[label]
                gradient += share * w[label] * np.outer(p[i] - np.eye(4)[label], inputs[i])
        by = sum_of_weights if normalise == "batch_weights" else 12
        assert loss.item() == pytest.approx(total / by, rel=1e-6)
        assert network.weight.grad is not None
        np.testing.assert_allclose(network.weight.grad, gradient / by, rtol=1e-5)
        if normalise == "batch_size":
            assert divisor is None
        else:
            assert divisor is not None
            assert divisor.item() == pytest.approx(sum_of_weights, rel=1e-6)


def test_class_balanced_focal_is_cuis(tmp_path: Path) -> None:
    """Cui et al. 2019, written anew: weights of mean 1, the focal terms of every class's sigmoid,
    and the sum over the batch divided by its size. Loss and gradient."""
    method = checked(composed_at(tmp_path, "method=class_balanced_focal")).method.parts
    torch.manual_seed(0)
    logits, labels = torch.randn(30, 4).double(), torch.randint(0, 4, (30,))
    network = torch.nn.Linear(4, 4).double()
    torch.nn.init.eye_(network.weight)
    torch.nn.init.zeros_(network.bias)
    objective = Objective(method, network, COUNTS)
    objective.begin(0, 10, torch.device("cpu"))
    loss, _ = objective(network, logits, labels, 0, 0)
    loss.backward()
    z = logits.clone().requires_grad_()
    raw = (1 - 0.9999) / (1 - 0.9999 ** COUNTS.double())
    weights = raw / raw.sum() * 4
    expected = torch.zeros((), dtype=torch.float64)
    for i, label in enumerate(labels.tolist()):
        for j in range(4):
            p = torch.sigmoid(z[i, j]) if j == label else 1 - torch.sigmoid(z[i, j])
            expected = expected - weights[label] * (1 - p) ** 1.0 * p.log() / 30
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert z.grad is not None
    torch.testing.assert_close(network.bias.grad, z.grad.sum(0), rtol=1e-5, atol=1e-9)


def test_a_beta_of_1_is_refused() -> None:
    with pytest.raises(ValueError, match="beta=1"):
        EffectiveNumber(COUNTS, beta=1)


@pytest.mark.parametrize(
    ("until", "epochs", "first"),
    [
        (0.8, 200, 160),
        (160, 200, 160),
        (0.8, 30, 24),
        (0.8, 400, 320),
        (0.8, 2, 1),
        (0.8, 1, 1),
        (0.29, 100, 29),
        (0, 7, 0),
    ],
)
def test_deferral_is_a_share_or_an_epoch(until: float, epochs: int, first: int) -> None:
    assert deferral.first_epoch(until, epochs) == first
    weights = InverseFrequency(COUNTS, deferred_until=until)
    acts = [weights(epoch, epochs) is not None for epoch in range(epochs)]
    assert acts == [epoch >= first for epoch in range(epochs)]


@given(share=st.floats(0, 0.99), epochs=st.integers(1, 2000))
def test_deferral_knows_no_length_of_its_own(share: float, epochs: int) -> None:
    """No schedule may end, or be indexed past its end, for another number of epochs."""
    weights = InverseFrequency(COUNTS, deferred_until=share)
    acts = [weights(epoch, epochs) is not None for epoch in range(epochs)]
    assert acts == sorted(acts)
    if share:
        assert acts.count(False) == 1 or -1e-9 <= share * epochs - acts.count(False) < 1


@pytest.mark.parametrize("until", [-0.1, math.inf, math.nan])
def test_a_deferral_that_is_no_share_and_no_epoch_is_refused(until: float) -> None:
    message = refused(lambda: deferral.refuse_endless_deferral(until, "method.weights", 30))
    assert message.startswith(f"method.weights.deferred_until={until:g}: must be a share")


@given(
    until=st.one_of(st.floats(0, 0.999), st.floats(1, 1000), st.integers(1, 1000)),
    epochs=st.integers(1, 200),
)
@example(until=0.8, epochs=1)
@example(until=30, epochs=30)
def test_a_deferral_past_the_end_is_refused_with_what_works(until: float, epochs: int) -> None:
    if deferral.first_epoch(until, epochs) < epochs:
        deferral.refuse_endless_deferral(until, "method.weights", epochs)
        return
    message = refused(lambda: deferral.refuse_endless_deferral(until, "method.weights", epochs))
    value, length = re.search(  # type: ignore[union-attr]
        r"as in method\.weights\.deferred_until=(\d+), .* at least (\d+) epochs", message
    ).groups()
    deferral.refuse_endless_deferral(int(value), "method.weights", epochs)
    assert deferral.first_epoch(int(value), epochs) == epochs - 1, "the largest that works"
    deferral.refuse_endless_deferral(until, "method.weights", int(length))
    refused(lambda: deferral.refuse_endless_deferral(until, "method.weights", int(length) - 1))
