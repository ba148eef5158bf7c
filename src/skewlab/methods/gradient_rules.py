"""Gradient rules: directions that the optimiser follows instead of the loss's gradient.

Each rule is built as `target(network, classes, **keys)` and called in each training step. It
returns a scalar: its value is the loss, and its gradient is the direction that the rule gives.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# Norms are divided by at least this, so that a gradient of norm 0 stays 0.
TINY = 1e-12


@dataclass(frozen=True)
class RuleInputs:
    """What a rule is given in a training step.

    Attributes:
        logits: makes a forward pass on the step's batch; each call uses the same random numbers.
        mean: gives the batch's loss, a scalar, from logits.
        each: gives each sample's loss, shape [batch], from logits.
        labels: shape [batch].
    """

    logits: Callable[[], Tensor]
    mean: Callable[[Tensor], Tensor]
    each: Callable[[Tensor], Tensor]
    labels: Tensor


class GradientRule(nn.Module):
    """The base of all rules. A rule that remembers something keeps it in buffers, which are part of
    a checkpoint.

    Attributes:
        by_class: whether the rule computes the gradient of each class separately.
        whole: whether each batch must hold the whole training set.
    """

    by_class = False
    whole = False

    def forward(self, network: nn.Module, inputs: RuleInputs) -> Tensor:
        """A scalar: its value is the loss, its gradient the rule's direction."""
        raise NotImplementedError

    def after_backward(self, network: nn.Module) -> None:
        """Called after the backward pass and before the optimiser's step."""


class PerClassNormalised(GradientRule):
    """Descends along sum_c g_c / ||g_c||, with g_c the gradient of class c's mean loss in the
    batch, over all parameters together (PCNGD and PCNSGD, Francazi et al., ICML 2023): every class
    has the same influence, however many samples it has.

    It makes one forward pass of the whole batch, so that batch normalisation has the same
    statistics as without the rule, and one backward pass for each class. The norm of the sum is at
    most the number of classes, so a lower learning rate than for the mean gradient may be needed.
    A class without a sample in the batch adds nothing; `samplers.EveryClassInEachBatch` makes sure
    that every class is in each batch, and its `equal=true` is the paper's `+O`. Class weights would
    have no effect.
    """

    by_class = True

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self._classes = classes

    def forward(self, network: nn.Module, inputs: RuleInputs) -> Tensor:
        parameters = [p for p in network.parameters() if p.requires_grad]
        logits = inputs.logits()
        each = inputs.each(logits)
        direction = torch.zeros(sum(p.numel() for p in parameters), device=each.device)
        for label in range(self._classes):
            own = (inputs.labels == label).to(each.dtype)
            loss = (own * each).sum() / own.sum().clamp_min(1)
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            flat = torch.cat(
                [
                    torch.zeros_like(p).flatten() if g is None else g.flatten()
                    for p, g in zip(parameters, gradients, strict=True)
                ]
            )
            unit = flat / flat.norm().clamp_min(TINY)
            direction += self._scaled(label, unit, own.sum() > 0)
        return _with_gradient(each.mean(), parameters, direction)

    def _scaled(self, label: int, unit: Tensor, present: Tensor) -> Tensor:
        """What a class adds to the direction.

        Args:
            label: the class.
            unit: the direction of its gradient, of length 1; 0 where the gradient is 0.
            present: whether the class is in the batch, a bool scalar on the device.
        """
        return unit


class WholePerClassNormalised(PerClassNormalised):
    """PCNGD: the gradient of each class is over all of its training samples. A batch must hold the
    whole training set (`data.batch_size`), so an epoch is one step."""

    whole = True


class RescaledPerClassNormalised(PerClassNormalised):
    """PCNSGD+R: each class's normalised gradient is divided by p_c (Francazi et al., ICML 2023).

    p_c is the expected cosine between a batch's gradient of class c and the gradient over all
    samples of c. A rare class has few samples in a batch, so its batch gradient is noisy and its
    normalised gradient has a smaller part in the direction of the full one; the division makes up
    for that. The full gradient would need a pass over the data in each step. Here p_c is estimated
    by the norm of a running mean of the normalised gradients: noise cancels in the mean and the
    common direction remains. Noise that does not cancel makes the estimate too high, by up to
    sqrt((1 - d) / (1 + d)) at decay d. The floor keeps the division stable.

    Args:
        network: what is trained.
        classes: number of classes.
        floor: the smallest p_c that is divided by; above 0 and at most 1.
        decay: of the running mean, between 0 and 1.

    Raises:
        ValueError: a floor or a decay that is not between 0 and 1.
    """

    running: Tensor
    seen: Tensor

    def __init__(
        self, network: nn.Module, classes: int, floor: float = 0.1, decay: float = 0.9
    ) -> None:
        super().__init__(network, classes)
        if not (0 < floor <= 1 and 0 < decay < 1):
            raise ValueError(f"floor={floor} and decay={decay} must be between 0 and 1")
        self._floor, self._decay = floor, decay
        size = sum(p.numel() for p in network.parameters())
        self.register_buffer("running", torch.zeros(classes, size))
        self.register_buffer("seen", torch.zeros(classes))

    def _scaled(self, label: int, unit: Tensor, present: Tensor) -> Tensor:
        mean = self._decay * self.running[label] + (1 - self._decay) * unit
        self.running[label] = torch.where(present, mean, self.running[label])
        self.seen[label] += present
        expected = 1 - self._decay ** self.seen[label].clamp_min(1)
        p = self.running[label].norm() / expected
        scaled: Tensor = unit / p.clamp(self._floor, 1.0)
        return scaled


def _with_gradient(value: Tensor, parameters: list[nn.Parameter], direction: Tensor) -> Tensor:
    """A scalar with this value, whose gradient with respect to the parameters is the direction."""
    parts = torch.split(direction, [p.numel() for p in parameters])
    linear = torch.stack(
        [(p.flatten() * part).sum() for p, part in zip(parameters, parts, strict=True)]
    ).sum()
    return linear + (value - linear).detach()


class SAM(GradientRule):
    """Sharpness-aware minimisation (Foret et al., ICLR 2021): the gradient is taken where the loss
    is highest in a neighbourhood, at w + radius * g / ||g||, and the step is made from w.

    A step has two forward and two backward passes, on the same batch with the same random numbers.
    Only the first pass changes the running statistics of batch normalisation.

    Args:
        network: what is trained.
        classes: not used.
        radius: of the neighbourhood, the paper's rho; 0 is gradient descent without SAM.
    """

    def __init__(self, network: nn.Module, classes: int, radius: float = 0.05) -> None:
        super().__init__()
        self._radius = radius
        self._before: list[tuple[nn.Parameter, Tensor]] = []

    def forward(self, network: nn.Module, inputs: RuleInputs) -> Tensor:
        parameters = [p for p in network.parameters() if p.requires_grad]
        first = inputs.mean(inputs.logits())
        gradients = torch.autograd.grad(first, parameters, allow_unused=True)
        moved = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
        norm = torch.stack([g.norm() for _, g in moved]).norm()
        scale = self._radius / norm.clamp_min(TINY)
        self._before = [(p, p.detach().clone()) for p, _ in moved]
        with torch.no_grad():
            for parameter, gradient in moved:
                parameter.add_(gradient * scale)
        with _statistics_kept(network):
            second = inputs.mean(inputs.logits())
        return second + (first - second).detach()

    @torch.no_grad()
    def after_backward(self, network: nn.Module) -> None:
        """Set the parameters back to their values at the beginning of the step, exactly."""
        for parameter, value in self._before:
            parameter.copy_(value)
        self._before = []


@contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    """Batch normalisation uses the batch's statistics and does not change its running ones."""
    tracking = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    ]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
