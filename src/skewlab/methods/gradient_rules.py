"""What the optimiser follows in the place of the loss's gradient.

Each is built as `target(network, classes, **keys)` and called in each training step; it returns a
scalar whose value is the loss and whose gradient is the direction that the rule descends.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# A gradient of norm 0 has no direction: it stays 0.
TINY = 1e-12


@dataclass(frozen=True)
class Step:
    """One training step, as a rule sees it.

    Attributes:
        logits: a forward pass on the step's batch; each call sees the same random numbers.
        mean: the loss, a scalar, of logits.
        each: every sample's loss, shape [batch], of logits.
        labels: shape [batch].
    """

    logits: Callable[[], Tensor]
    mean: Callable[[Tensor], Tensor]
    each: Callable[[Tensor], Tensor]
    labels: Tensor


class GradientRule(nn.Module):
    """A rule without memory; one with it has buffers, which checkpoints keep.

    Attributes:
        by_class: whether it takes gradients of single classes apart.
        whole: whether it is meant for batches that hold the whole training set.
    """

    by_class = False
    whole = False

    def forward(self, network: nn.Module, step: Step) -> Tensor:
        """A scalar with the loss's value and the rule's gradient."""
        raise NotImplementedError

    def after_backward(self, network: nn.Module) -> None:
        """Called when the gradients are there, before the optimiser takes them."""


class PerClassNormalised(GradientRule):
    """Descends along sum_c g_c / ||g_c||, with g_c the gradient of class c's mean loss in the
    batch, over all parameters together (PCNGD and PCNSGD, Francazi et al., ICML 2023): every class
    pulls as hard as every other, however many samples it has.

    One forward pass of the mixed batch, so that batch normalisation sees what it sees without the
    rule, and one backward pass for each class. The sum is as long as the number of classes at most:
    it may want a lower learning rate than the mean gradient. A class without a sample in the batch
    adds nothing; `samplers.EveryClassInEachBatch` sees to it that there is none, with `equal=true`
    as their `+O`. Class weights would cancel.
    """

    by_class = True

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self._classes = classes

    def forward(self, network: nn.Module, step: Step) -> Tensor:
        parameters = [p for p in network.parameters() if p.requires_grad]
        logits = step.logits()
        each = step.each(logits)
        direction = torch.zeros(sum(p.numel() for p in parameters), device=each.device)
        for label in range(self._classes):
            own = (step.labels == label).to(each.dtype)
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
        return _descends(each.mean(), parameters, direction)

    def _scaled(self, label: int, unit: Tensor, present: Tensor) -> Tensor:
        """A class's contribution, of its gradient's direction.

        Args:
            label: the class.
            unit: the direction, of length 1, or 0 where the class has no gradient.
            present: whether the class is in the batch, a bool scalar on the device.
        """
        return unit


class WholePerClassNormalised(PerClassNormalised):
    """PCNGD itself: every class's gradient over all of its training samples. A batch must hold the
    whole training set (`data.batch_size`), and an epoch is one step."""

    whole = True


class RescaledPerClassNormalised(PerClassNormalised):
    """PCNSGD+R: each class's normalised gradient is divided by p_c (Francazi et al., ICML 2023).

    p_c is the expected cosine of a batch's gradient of class c with the gradient over all of its
    samples: a rare class's few samples a batch point less reliably along it, so that after
    normalisation less than its due is left in that direction. The full gradient would cost a pass
    over the data a step. Here p_c is estimated by the length of a running mean of the normalised
    gradients: what points everywhere cancels, what they share stays. The estimate is too high by
    the noise that a finite mean leaves, at decay d by up to sqrt((1 - d) / (1 + d)), so it is never
    near 0, where the division would be unstable; a floor makes sure of it.

    Args:
        network: what is trained.
        classes: number of classes.
        floor: the least p_c that is divided by, positive.
        decay: of the running mean.

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


def _descends(value: Tensor, parameters: list[nn.Parameter], direction: Tensor) -> Tensor:
    """A scalar of that value whose gradient by the parameters is the direction."""
    parts = torch.split(direction, [p.numel() for p in parameters])
    linear = torch.stack(
        [(p.flatten() * part).sum() for p, part in zip(parameters, parts, strict=True)]
    ).sum()
    return linear + (value - linear).detach()


class SAM(GradientRule):
    """Sharpness-aware minimisation (Foret et al., ICLR 2021): the gradient is taken where the loss
    is highest nearby, at w + radius * g / ||g||, and the step is made from w.

    Two forward and two backward passes a step, on the same batch with the same random numbers; the
    running statistics of batch normalisation are those of the first.

    Args:
        network: what is trained.
        classes: not used.
        radius: of the neighbourhood, the paper's rho; 0 is plain descent.
    """

    def __init__(self, network: nn.Module, classes: int, radius: float = 0.05) -> None:
        super().__init__()
        self._radius = radius
        self._before: list[tuple[nn.Parameter, Tensor]] = []

    def forward(self, network: nn.Module, step: Step) -> Tensor:
        parameters = [p for p in network.parameters() if p.requires_grad]
        first = step.mean(step.logits())
        gradients = torch.autograd.grad(first, parameters, allow_unused=True)
        moved = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
        norm = torch.stack([g.norm() for _, g in moved]).norm()
        scale = self._radius / norm.clamp_min(TINY)
        self._before = [(p, p.detach().clone()) for p, _ in moved]
        with torch.no_grad():
            for parameter, gradient in moved:
                parameter.add_(gradient * scale)
        with _statistics_kept(network):
            second = step.mean(step.logits())
        return second + (first - second).detach()

    @torch.no_grad()
    def after_backward(self, network: nn.Module) -> None:
        """Back to where the step begins, bit for bit."""
        for parameter, value in self._before:
            parameter.copy_(value)
        self._before = []


@contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    """Batch normalisation by the batch's own statistics, without counting it in the running
    ones."""
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
