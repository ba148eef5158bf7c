import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from skewlab.methods.losses import (
    LDAM,
    BalancedSoftmax,
    ClassDependentTemperature,
    CrossEntropy,
    Focal,
    LabelAwareSmoothing,
    LabelSmoothing,
    LogitAdjustment,
    Loss,
    SigmoidFocal,
    VectorScaling,
)

COUNTS = torch.tensor([100, 40, 10, 1])
Array = NDArray[np.float64]


def drawn(samples: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(random.normal(size=(samples, 4)) * 3)
    return logits, torch.from_numpy(random.integers(0, 4, samples))


def log_softmax(z: Array) -> Array:
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def softmax(z: Array) -> Array:
    return np.exp(log_softmax(z[None])[0])


# Each formula once more, in NumPy, for one logit vector z and its class y.
N = COUNTS.numpy().astype(float)
PI = N / N.sum()
FORMULAS: dict[str, tuple[Loss, Callable[[Array, int], float]]] = {
    "ce": (CrossEntropy(COUNTS), lambda z, y: -log_softmax(z[None])[0, y]),
    "focal": (
        Focal(COUNTS, gamma=1.5),
        lambda z, y: (
            -((1 - np.exp(log_softmax(z[None])[0, y])) ** 1.5) * log_softmax(z[None])[0, y]
        ),
    ),
    "sigmoid_focal": (
        SigmoidFocal(COUNTS, gamma=1.5),
        lambda z, y: sum(
            -((1 - p) ** 1.5) * math.log(p)
            for j in range(4)
            for p in [1 / (1 + math.exp(-z[j] if j == y else z[j]))]
        ),
    ),
    "label_smoothing": (
        LabelSmoothing(COUNTS, smoothing=0.2),
        lambda z, y: -sum((0.8 * (j == y) + 0.05) * log_softmax(z[None])[0, j] for j in range(4)),
    ),
    "ldam": (
        LDAM(COUNTS, max_margin=0.5, scale=30.0),
        lambda z, y: -log_softmax((z - 30 * 0.5 / N[y] ** 0.25 * np.eye(4)[y])[None])[0, y],
    ),
    "balanced_softmax": (
        BalancedSoftmax(COUNTS),
        lambda z, y: -math.log(N[y] * math.exp(z[y]) / (N * np.exp(z)).sum()),
    ),
    "logit_adjustment": (
        LogitAdjustment(COUNTS, tau=0.7),
        lambda z, y: math.log(
            1 + sum((PI[j] / PI[y]) ** 0.7 * math.exp(z[j] - z[y]) for j in range(4) if j != y)
        ),
    ),
    "vs": (
        VectorScaling(COUNTS, gamma=0.3, tau=1.2),
        lambda z, y: -log_softmax((z * (N / 100) ** 0.3 + 1.2 * np.log(PI))[None])[0, y],
    ),
    "cdt": (
        ClassDependentTemperature(COUNTS, gamma=0.4),
        lambda z, y: -log_softmax((z / (100 / N) ** 0.4)[None])[0, y],
    ),
    "smoothing": (
        LabelAwareSmoothing(COUNTS, head=0.4, tail=0.1),
        lambda z, y: (
            -sum(
                (1 - e if j == y else e / 3) * log_softmax(z[None])[0, j]
                for e in [0.1 + 0.3 * math.sin(math.pi * (N[y] - 1) / (2 * 99))]
                for j in range(4)
            )
        ),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_each_loss_is_its_formula(name: str) -> None:
    loss, formula = FORMULAS[name]
    logits, labels = drawn(50)
    expected = [formula(z, y) for z, y in zip(logits.numpy(), labels.tolist(), strict=True)]
    np.testing.assert_allclose(loss.each(logits, labels), expected, rtol=1e-5)
    assert loss(logits, labels).item() == pytest.approx(np.mean(expected), rel=1e-5)
    shares = torch.arange(50.0, dtype=torch.float64)
    weighted = np.average(expected, weights=shares)
    assert loss(logits, labels, shares).item() == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradients_are_finite_differences(name: str) -> None:
    loss, _ = FORMULAS[name]
    logits, labels = drawn()
    shares = torch.rand(6, dtype=torch.float64)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), (logits,))
    assert torch.autograd.gradcheck(lambda z: loss(z, labels, shares), (logits,))


LIMITS = {
    "gamma 0 of focal": Focal(COUNTS, gamma=0.0),
    "no smoothing of any class": LabelSmoothing(COUNTS, smoothing=0.0),
    "margin 0": LDAM(COUNTS, max_margin=0.0, scale=30.0),
    "tau 0": LogitAdjustment(COUNTS, tau=0.0),
    "gamma and tau 0": VectorScaling(COUNTS, gamma=0.0, tau=0.0),
    "gamma 0 of temperatures": ClassDependentTemperature(COUNTS, gamma=0.0),
    "no smoothing": LabelAwareSmoothing(COUNTS, head=0.0, tail=0.0),
    "balanced counts, balanced softmax": BalancedSoftmax(torch.full((4,), 7)),
    "balanced counts, logit adjustment": LogitAdjustment(torch.full((4,), 7), tau=1.3),
    "balanced counts, vector scaling": VectorScaling(torch.full((4,), 7)),
    "balanced counts, temperatures": ClassDependentTemperature(torch.full((4,), 7)),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_limits_are_cross_entropy(limit: str) -> None:
    logits, labels = drawn(40)
    expected = F.cross_entropy(logits, labels, reduction="none")
    # The logits' changes are float32.
    torch.testing.assert_close(LIMITS[limit].each(logits, labels), expected, rtol=1e-6, atol=1e-6)


def test_vector_scaling_holds_the_others() -> None:
    logits, labels = drawn(40)
    for one, other in (
        (VectorScaling(COUNTS, gamma=0.0, tau=0.8), LogitAdjustment(COUNTS, tau=0.8)),
        (VectorScaling(COUNTS, gamma=0.2, tau=0.0), ClassDependentTemperature(COUNTS, gamma=0.2)),
        (LogitAdjustment(COUNTS, tau=1.0), BalancedSoftmax(COUNTS)),
    ):
        torch.testing.assert_close(one.each(logits, labels), other.each(logits, labels))


def test_smoothing_of_balanced_counts_is_ordinary() -> None:
    logits, labels = drawn(40)
    loss = LabelAwareSmoothing(torch.full((4,), 7), head=0.3, tail=0.0)
    # PyTorch spreads its smoothing over all classes, the true one too.
    expected = F.cross_entropy(logits, labels, label_smoothing=0.3 * 4 / 3)
    assert loss(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)


def test_cross_entropy_by_hand() -> None:
    loss = CrossEntropy(torch.tensor([100, 1]))
    # Probabilities 3/4 and 1/4 of the true class, then 1/2.
    logits = torch.tensor([[math.log(3), 0.0], [0.0, -math.log(3)], [5.0, 5.0]])
    expected = (math.log(4 / 3) + math.log(4) + math.log(2)) / 3
    assert loss(logits, torch.tensor([0, 1, 0])).item() == pytest.approx(expected)


def test_focal_by_hand_has_no_weight_in_its_probability() -> None:
    """A class weight of 10 makes the loss 10 times as large: with p taken from the weighted loss,
    exp(-10 * CE), it would not."""
    logits, label = torch.tensor([[math.log(3), 0.0]]), torch.tensor([0])
    loss = Focal(torch.tensor([100, 1]), gamma=2.0)
    assert loss.each(logits, label).item() == pytest.approx((1 / 4) ** 2 * math.log(4 / 3))
    both, labels = logits.repeat(2, 1), torch.tensor([0, 1])
    one, other = loss.each(both, labels).tolist()
    weighted = loss(both, labels, torch.tensor([10.0, 1.0])).item()
    assert weighted == pytest.approx((10 * one + other) / 11)


def test_sigmoid_focal_by_hand() -> None:
    """Two classes of logits log 3 and 0: p = 3/4 of the true class, 1/2 of the other."""
    loss = SigmoidFocal(torch.tensor([100, 1]), gamma=2.0)
    found = loss.each(torch.tensor([[math.log(3), 0.0]]), torch.tensor([0])).item()
    assert found == pytest.approx((1 / 4) ** 2 * math.log(4 / 3) + (1 / 2) ** 2 * math.log(2))


def test_sigmoid_focal_is_torchvisions() -> None:
    logits, labels = drawn(50)
    one_hot = F.one_hot(labels, 4).double()
    expected = sigmoid_focal_loss(logits, one_hot, alpha=-1, gamma=2.0).sum(1)
    torch.testing.assert_close(SigmoidFocal(COUNTS).each(logits, labels), expected)


def test_ldam_by_hand() -> None:
    """16 and 1 samples: margins 1/4 and 1/2 of a cosine, 7.5 and 15 of a logit."""
    loss = LDAM(torch.tensor([16, 1]), max_margin=0.5, scale=30.0)
    logits = torch.tensor([[7.5, 0.0], [0.0, 15.0]])
    expected = [math.log(2), math.log(2)]
    np.testing.assert_allclose(loss.each(logits, torch.tensor([0, 1])), expected, rtol=1e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_huge_logits_give_finite_losses_and_gradients(name: str) -> None:
    loss, _ = FORMULAS[name]
    logits = torch.tensor([[1e4, 0.0, 0.0, 0.0], [0.0, 1e4, 0.0, 0.0]], requires_grad=True)
    value = loss(logits, torch.tensor([0, 0]))
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_focal_of_a_small_gamma_has_a_finite_gradient_at_certainty() -> None:
    """At p = 1 the slope of (1 - p)^gamma is infinite for gamma below 1."""
    logits = torch.tensor([[200.0, 0.0], [0.0, 0.0]], requires_grad=True)
    labels = torch.tensor([0, 0])
    Focal(torch.tensor([10, 1]), gamma=0.5)(logits, labels).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0].tolist() == [0, 0], "nothing is left to learn from the first sample"
    assert logits.grad[1, 0] < 0
