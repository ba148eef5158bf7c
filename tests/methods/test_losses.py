import math

import numpy as np
import pytest
import torch

from skewlab.methods.losses import CrossEntropy


def test_cross_entropy_by_hand() -> None:
    loss = CrossEntropy(torch.tensor([100, 1]))
    # Probabilities 3/4 and 1/4 of the true class, then 1/2.
    logits = torch.tensor([[math.log(3), 0.0], [0.0, -math.log(3)], [5.0, 5.0]])
    expected = (math.log(4 / 3) + math.log(4) + math.log(2)) / 3
    assert loss(logits, torch.tensor([0, 1, 0])).item() == pytest.approx(expected)


def test_cross_entropy_and_its_gradient_are_numpys() -> None:
    random = np.random.default_rng(0)
    values, labels = random.normal(size=(8, 5)) * 3, random.integers(0, 5, 8)
    logits = torch.tensor(values, requires_grad=True)
    loss = CrossEntropy(torch.tensor([50, 40, 30, 20, 10]))(logits, torch.from_numpy(labels))
    loss.backward()

    probabilities = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    expected = -np.log(probabilities[np.arange(8), labels]).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-10)
    gradient = (probabilities - np.eye(5)[labels]) / 8
    np.testing.assert_allclose(logits.grad, gradient, atol=1e-12)


def test_cross_entropy_of_huge_logits_is_finite() -> None:
    loss = CrossEntropy(torch.tensor([1, 1]))
    logits = torch.tensor([[1e4, 0.0], [0.0, 1e4]])
    assert loss(logits, torch.tensor([1, 1])).item() == pytest.approx(5e3)
