"""What a training step minimises, built from the parts of a method."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from skewlab.config.parts import build
from skewlab.methods.algorithms import Algorithm
from skewlab.methods.gradient_rules import GradientRule, RuleInputs
from skewlab.seeding import seed_streams


class Objective(nn.Module):
    """The loss, class weights, mixing and gradient rule of a method, combined; or the loss and
    class weights as an algorithm that owns the step uses them.

    Args:
        method: its parts by name, each a component or None; see `skewlab.config.parts`.
        network: what is trained.
        counts: training samples of each class, shape [classes].
        key: where in the configuration the parts stand, for messages.
    """

    def __init__(
        self, method: Mapping[str, Any], network: nn.Module, counts: Tensor, key: str = "method"
    ) -> None:
        super().__init__()
        self.loss: nn.Module = build(method["loss"], counts, key=f"{key}.loss")

        def part(name: str, *given: Any) -> Any:
            component = method.get(name)
            return component and build(component, *given, key=f"{key}.{name}")

        self._weights = part("weights", counts)
        self._mixing = part("mixing", counts)
        self.rule: GradientRule | None = part("gradient", network, len(counts))
        self._class_weights: Tensor | None = None
        self._by_batch_size = getattr(self._weights, "normalise", "") == "batch_size"

    @property
    def mixes(self) -> bool:
        """Whether the method mixes samples."""
        return self._mixing is not None

    def begin(self, epoch: int, max_epochs: int, device: torch.device) -> None:
        """Set the class weights of an epoch; called once at its beginning."""
        if self._weights is not None:
            weights = self._weights(epoch, max_epochs)
            self._class_weights = None if weights is None else weights.to(device)

    def forward(
        self,
        network: Callable[[Tensor], Tensor],
        images: Tensor,
        labels: Tensor,
        seed: int,
        mixing_seed: int,
    ) -> tuple[Tensor, Tensor | None]:
        """The loss of one batch, and the sum of its samples' weights.

        Args:
            network: what is trained; a gradient rule needs the module itself.
            images: normalised, float [batch, channels, height, width].
            labels: shape [batch].
            seed: of random numbers inside the network, such as dropout.
            mixing_seed: of the mixing.

        Returns:
            The loss, a scalar: the (weighted) mean over the batch. And what the weighted sum was
            divided by, a scalar on the device; None where that is the number of samples.
        """
        if isinstance(network, Algorithm):
            seed_streams(seed, images.device)
            return network.loss(images, labels, self._criterion, seed), None
        repeated, shares = labels, None
        if self._mixing is not None:
            images, partners, own = self._mixing(images, labels, mixing_seed)
            repeated, shares = torch.cat([labels, partners]), torch.cat([own, 1 - own])
        if self._class_weights is not None:
            weights = self._class_weights[repeated]
            shares = weights if shares is None else shares * weights

        def logits() -> Tensor:
            seed_streams(seed, images.device)
            found: Tensor = network(images)
            return found

        def mean(found: Tensor) -> Tensor:
            both = found if self._mixing is None else torch.cat([found, found])
            return self._normalised(both, repeated, shares, len(labels))

        divisor = None
        if shares is not None and self._class_weights is not None and not self._by_batch_size:
            divisor = shares.sum()
        if self.rule is None:
            return mean(logits()), divisor

        def each(found: Tensor) -> Tensor:
            losses: Tensor = self.loss.each(found, labels)  # type: ignore[operator]
            return losses

        assert isinstance(network, nn.Module)
        return self.rule(network, RuleInputs(logits, mean, each, labels)), divisor

    def _criterion(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss with the class weights of the epoch."""
        shares = None if self._class_weights is None else self._class_weights[labels]
        return self._normalised(logits, labels, shares, len(labels))

    def _normalised(
        self, logits: Tensor, labels: Tensor, shares: Tensor | None, samples: int
    ) -> Tensor:
        """The loss, where its weighted sum is divided by what the class weights say.

        Args:
            logits, labels, shares: as of `losses.Loss`.
            samples: of the batch, before mixing has doubled them.
        """
        loss: Tensor
        if shares is None:
            loss = self.loss(logits, labels)
            return loss
        loss = self.loss(logits, labels, shares)
        # Shares of mixing alone sum to the number of samples.
        weighted = self._class_weights is not None
        return loss * shares.sum() / samples if weighted and self._by_batch_size else loss
