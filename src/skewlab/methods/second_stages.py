"""A second stage: the body is frozen and the head alone is fitted again (Kang et al., ICLR 2020).

It follows the epochs of the first stage within the same run, on the same training subset, with
class-balanced sampling, plain cross-entropy, and the learning-rate schedule once more from its
start over the epochs of the second stage. Batch normalisation and dropout of the frozen body stay
in eval mode. Each is built as `target(**keys)`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


class SecondStage:
    """What the stages below share.

    Args:
        length: epochs of the second stage, as a share of those of the first; at least one epoch.

    Raises:
        ValueError: a length that is not positive.
    """

    def __init__(self, length: float = 0.1) -> None:
        if length <= 0:
            raise ValueError(f"length={length} must be positive")
        self._length = length

    def epochs(self, first: int) -> int:
        """Epochs of the second stage after so many of the first."""
        return max(1, round(self._length * first))

    def prepare(self, network: nn.Module) -> None:
        """Change the network, before the first stage, as the second will need it."""

    def trained(self, network: nn.Module) -> Iterator[nn.Parameter]:
        """The parameters that the second stage fits."""
        raise NotImplementedError

    def freeze(self, network: nn.Module) -> None:
        """Leave nothing to train but what the second stage fits."""
        network.requires_grad_(False)
        for parameter in self.trained(network):
            parameter.requires_grad_(True)

    def restart(self, network: nn.Module) -> None:
        """Where the second stage begins, with a seeded random state: its parameters' first
        values."""


class RetrainedHead(SecondStage):
    """cRT, classifier re-training: the head is initialised anew and trained on the frozen body's
    features (Kang et al., ICLR 2020)."""

    def trained(self, network: nn.Module) -> Iterator[nn.Parameter]:
        head: nn.Module = network.head  # type: ignore[assignment]
        return head.parameters()

    def restart(self, network: nn.Module) -> None:
        network.head.reset_parameters()  # type: ignore[operator, union-attr]


class LearnedScales(SecondStage):
    """LWS, learnable weight scaling: body and head are frozen, and one factor for each class's
    logit is trained, from 1 (Kang et al., ICLR 2020)."""

    def prepare(self, network: nn.Module) -> None:
        network.head = ScaledHead(network.head)  # type: ignore[arg-type]

    def trained(self, network: nn.Module) -> Iterator[nn.Parameter]:
        yield network.head.scales  # type: ignore[misc, union-attr]


class ScaledHead(nn.Module):
    """A head and a factor for each class's logit, 1 until it is trained.

    Args:
        linear: the head.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.scales = nn.Parameter(torch.ones(linear.out_features), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """The weights of the linear head that this one is as good as, shape [classes, width]."""
        return self.scales[:, None] * self.linear.weight

    @property
    def bias(self) -> Tensor | None:
        """Its biases, shape [classes]; None where it has none."""
        return None if self.linear.bias is None else self.scales * self.linear.bias

    def forward(self, features: Tensor) -> Tensor:
        """Logits, shape [batch, classes], of features [batch, width]."""
        logits: Tensor = self.scales * self.linear(features)
        return logits
