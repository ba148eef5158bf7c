"""Gradient rules, against gradients that are taken class by class."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skewlab.methods.gradient_rules import SAM, RuleInputs
from skewlab.methods.objective import Objective

COUNTS = torch.tensor([6, 3, 1])
LABELS = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
RULES = "skewlab.methods.gradient_rules."


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(64, 3))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(10, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def objective(network: nn.Module, rule: str | None, **keys: Any) -> Objective:
    parts: dict[str, Any] = {"loss": {"_target_": "skewlab.methods.losses.CrossEntropy"}}
    if rule:
        parts["gradient"] = {"_target_": RULES + rule, **keys}
    return Objective(parts, network, COUNTS)


def descend(
    network: nn.Module, made: Objective, images: Tensor, labels: Tensor = LABELS
) -> tuple[Tensor, float]:
    """The gradient that the optimiser is given, flat, and the loss's value."""
    network.zero_grad()
    loss, _ = made(network, images, labels, 5, 0)
    loss.backward()
    if made.rule is not None:
        made.rule.after_backward(network)
    return torch.cat([p.grad.flatten() for p in network.parameters()]), loss.item()


def class_gradients(network: nn.Module, images: Tensor, labels: Tensor = LABELS) -> list[Tensor]:
    """Each class's gradient, from a forward pass of its own over the whole batch."""
    found = []
    for label in labels.unique():
        copied = copy.deepcopy(network)
        torch.manual_seed(5)
        logits = copied(images)[labels == label]
        F.cross_entropy(logits, labels[labels == label]).backward()
        found.append(torch.cat([p.grad.flatten() for p in copied.parameters()]))
    return found


def test_every_class_pulls_as_hard(network: nn.Module, images: Tensor) -> None:
    expected = sum(g / g.norm() for g in class_gradients(network, images))
    plain = copy.deepcopy(network)
    ours, value = descend(network, objective(network, "PerClassNormalised"), images)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)
    gradient, loss = descend(plain, objective(plain, None), images)
    assert value == pytest.approx(loss), "its value is the plain loss"
    assert not torch.allclose(ours, gradient, rtol=0.1)
    # Batch normalisation has seen the mixed batch, once.
    for one, other in zip(network.buffers(), plain.buffers(), strict=True):
        assert torch.equal(one, other)


def test_an_absent_class_adds_nothing(network: nn.Module, images: Tensor) -> None:
    labels = LABELS.clamp_max(1)
    expected = sum(g / g.norm() for g in class_gradients(network, images, labels))
    for rule in ("PerClassNormalised", "RescaledPerClassNormalised"):
        copied = copy.deepcopy(network)
        ours, _ = descend(copied, objective(copied, rule), images, labels)
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


def test_rescaling_divides_by_how_reliably_a_gradient_points() -> None:
    """Three classes whose gradients are known: one always the same, one that alternates between two
    directions at a right angle, one that turns round each time."""
    network = nn.Linear(2, 3, bias=False)
    made = objective(network, "RescaledPerClassNormalised", floor=0.2, decay=0.9)
    rule: Any = made.rule
    present = torch.tensor(True)
    east, north = torch.eye(6)[0], torch.eye(6)[1]
    for step in range(400):
        same = rule._scaled(0, east, present)
        turning = rule._scaled(1, east if step % 2 else north, present)
        back = rule._scaled(2, east if step % 2 else -east, present)
    assert same.norm().item() == pytest.approx(1, rel=1e-4)
    assert turning.norm().item() == pytest.approx(2**0.5, rel=0.01)  # cosine with the mean, 45°
    assert back.norm().item() == pytest.approx(5), "the floor"
    before = rule.running.clone()
    rule._scaled(0, torch.zeros(6), torch.tensor(False))
    assert torch.equal(before, rule.running), "an absent class is not counted"
    assert {"rule.running", "rule.seen"} <= set(made.state_dict()), "kept in checkpoints"


def test_a_floor_of_0_is_refused(network: nn.Module) -> None:
    with pytest.raises(ValueError, match="floor=0"):
        objective(network, "RescaledPerClassNormalised", floor=0)


def test_sam_is_two_steps_by_hand(network: nn.Module, images: Tensor) -> None:
    other = copy.deepcopy(network)
    torch.manual_seed(5)
    loss = F.cross_entropy(other(images), LABELS)
    gradients = torch.autograd.grad(loss, list(other.parameters()))
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    statistics = [b.clone() for b in other.buffers()]
    with torch.no_grad():
        for parameter, gradient in zip(other.parameters(), gradients, strict=True):
            parameter += 0.3 * gradient / norm
    torch.manual_seed(5)  # the same units are dropped
    F.cross_entropy(other(images), LABELS).backward()
    expected = torch.cat([p.grad.flatten() for p in other.parameters()])

    before = [p.detach().clone() for p in network.parameters()]
    ours, value = descend(network, objective(network, "SAM", radius=0.3), images)
    torch.testing.assert_close(ours, expected)
    assert value == pytest.approx(loss.item()), "the loss where the step begins"
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    # Running statistics are those of the first pass alone, their count too.
    assert all(torch.equal(a, b) for a, b in zip(statistics, network.buffers(), strict=True))
    assert all(m.track_running_stats for m in network.modules() if isinstance(m, nn.BatchNorm2d))


def test_sam_of_radius_0_is_plain_descent(network: nn.Module, images: Tensor) -> None:
    plain = copy.deepcopy(network)
    ours, value = descend(network, objective(network, "SAM", radius=0.0), images)
    gradient, loss = descend(plain, objective(plain, None), images)
    assert torch.equal(ours, gradient)
    assert value == loss


def test_sam_finds_a_higher_loss(network: nn.Module, images: Tensor) -> None:
    network.eval()
    rule = SAM(network, 3, radius=0.01)
    seen: list[float] = []

    def mean(logits: Tensor) -> Tensor:
        loss = F.cross_entropy(logits, LABELS)
        seen.append(loss.item())
        return loss

    rule(network, RuleInputs(lambda: network(images), mean, mean, LABELS))
    assert seen[1] > seen[0]


def test_sam_of_a_loss_without_a_slope_stays_where_it_is() -> None:
    """A gradient of norm 0 has no direction."""
    network = nn.Linear(2, 3)
    before = [p.detach().clone() for p in network.parameters()]
    rule = SAM(network, 3)

    def flat(logits: Tensor) -> Tensor:
        return (0 * logits).sum() + 1

    value = rule(network, RuleInputs(lambda: network(torch.ones(4, 2)), flat, flat, LABELS))
    value.backward()
    rule.after_backward(network)
    assert value.item() == 1
    for parameter, old in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.grad is not None
        assert not parameter.grad.any()
