"""A second stage: the body is frozen and only the head is trained again (Kang et al., ICLR 2020).

It is a training of its own, with its own loss, class weights, sampler, mixing, schedule and number
of epochs. It follows the first stage within the same run, on the same training subset. The frozen
body stays in eval mode, so its dropout does nothing; whether its batch normalisation goes on is a
key. Each stage is built as `target(**keys)`; its configuration sets `_recursive_: false`, because
its parts are built later, from what the run gives them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from skewlab.methods import deferral

Part = Mapping[str, Any]
CROSS_ENTROPY = {"_target_": "skewlab.methods.losses.CrossEntropy"}
CLASS_BALANCED = {"_target_": "skewlab.methods.samplers.PowerOfCount"}
COSINE = {"_target_": "skewlab.training.schedules.cosine"}


class SecondStage:
    """The base of all second stages.

    Args:
        epochs: of the second stage: below 1 a share of the first one's, at least one epoch; from 1
            on a number.
        loss, weights, sampler, mixing: as of a method; None where it does without. An epoch has as
            many rows as one of the first stage.
        scheduler: a function of the time in epochs and the epochs of this stage, see
            `skewlab.training.schedules`.
        lr: the base rate; None for that of the first stage.
        batch_norm: `frozen` keeps the body's batch normalisation in eval mode, as it came out of
            the first stage. `moving` normalises by the statistics of each batch and moves the
            running ones, and leaves scale and shift as they are: the code of Kang et al. does so,
            and the shifted batch normalisation of MiSLAS (Zhong et al., CVPR 2021).

    Raises:
        ValueError: epochs or a rate that are not positive.

    Attributes:
        parts: loss, weights and mixing by name.
    """

    def __init__(
        self,
        epochs: float = 0.1,
        loss: Part = CROSS_ENTROPY,
        weights: Part | None = None,
        sampler: Part | None = CLASS_BALANCED,
        mixing: Part | None = None,
        scheduler: Part = COSINE,
        lr: float | None = None,
        batch_norm: Literal["frozen", "moving"] = "frozen",
    ) -> None:
        if epochs <= 0:
            raise ValueError(f"epochs={epochs} must be positive")
        if lr is not None and lr <= 0:
            raise ValueError(f"lr={lr} must be positive")
        self._epochs, self.lr, self._moving = epochs, lr, batch_norm == "moving"
        self.parts = {"loss": loss, "weights": weights or None, "mixing": mixing or None}
        self.sampler, self.scheduler = sampler or None, scheduler

    def epochs(self, first: int) -> int:
        """Epochs of the second stage, given those of the first."""
        return deferral.first_epoch(self._epochs, first)

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

    def set_mode(self, network: nn.Module) -> None:
        """Set the frozen body to eval mode; its batch normalisation to training mode where it
        moves."""
        body: nn.Module = network.body  # type: ignore[assignment]
        training = network.training
        body.eval()
        for module in body.modules():
            if isinstance(module, _BatchNorm):
                module.train(training and self._moving)

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


class HeadAndScales(LearnedScales):
    """The second stage of MiSLAS: the head is trained on, from where the first stage left it,
    together with one factor for each class's logit (Zhong et al., CVPR 2021). Their code trains the
    head at half the rate of the factors on CIFAR-10 and at a fifth on CIFAR-100; here both have one
    rate."""

    def trained(self, network: nn.Module) -> Iterator[nn.Parameter]:
        head: nn.Module = network.head  # type: ignore[assignment]
        return head.parameters()


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
