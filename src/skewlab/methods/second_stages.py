"""A second stage: the body is frozen and only the head is trained again (Kang et al., ICLR 2020).

It follows the first stage within the same run, on the same training subset, with class-balanced
sampling and unweighted cross-entropy. The learning-rate schedule starts again and covers the epochs
of the second stage. The frozen body stays in eval mode, so its batch normalisation and dropout do
not change. Each is built as `target(**keys)`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


class SecondStage:
    """The base of all second stages.

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
        """Epochs of the second stage, given those of the first."""
        return max(1, round(self._length * first))

    def prepare(self, network: nn.Module) -> None:
        """Change the network as the second stage needs it; called before the first stage."""

    def trained(self, network: nn.Module) -> Iterator[nn.Parameter]:
        """The parameters that the second stage trains."""
        raise NotImplementedError

    def freeze(self, network: nn.Module) -> None:
        """Freeze all parameters but those that the second stage trains."""
        network.requires_grad_(False)
        for parameter in self.trained(network):
            parameter.requires_grad_(True)

    def restart(self, network: nn.Module) -> None:
        """Set the initial values of the second stage's parameters; called at its beginning, with a
        seeded random state."""


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
    logit is trained, starting at 1 (Kang et al., ICLR 2020)."""

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
        """The weights of the linear head that gives the same logits, shape [classes, width]."""
        return self.scales[:, None] * self.linear.weight

    @property
    def bias(self) -> Tensor | None:
        """The biases of that linear head, shape [classes]; None without biases."""
        return None if self.linear.bias is None else self.scales * self.linear.bias

    def forward(self, features: Tensor) -> Tensor:
        """Logits, shape [batch, classes], of features [batch, width]."""
        logits: Tensor = self.scales * self.linear(features)
        return logits
