"""What the network makes of a split, kept for probes and rules while the split is evaluated."""

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from skewlab.distributed import ALONE, Processes
from skewlab.models.network import has_parts
from skewlab.probes.probe import SplitOutputs


def network_of(module: pl.LightningModule) -> nn.Module:
    """The network that a module has as `network`; otherwise the module itself."""
    network = getattr(module, "network", None)
    return network if isinstance(network, nn.Module) else module


def network_input(module: pl.LightningModule, images: Tensor) -> Tensor:
    """What the network takes: images that the module's `normalise` has scaled, if it has one."""
    normalise = getattr(module, "normalise", None)
    if normalise is None:
        return images
    scaled: Tensor = normalise(images)
    return scaled


class Gathered:
    """Features and logits of one pass over a split, batch by batch, from all processes."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, ...]] = []

    def add(
        self, module: pl.LightningModule, images: Tensor, labels: Tensor, rows: Tensor
    ) -> Tensor:
        """Classify a batch and keep what is seen; the logits are those of `module(images)`."""
        network = network_of(module)
        if has_parts(network):
            features = network.features(network_input(module, images))  # type: ignore[operator]
            logits: Tensor = network.head(features)  # type: ignore[operator]
        else:
            logits = module(images)
            features = logits.new_empty(len(logits), 0)
        kept = (features.float(), logits.float(), labels, rows)
        self._batches.append(tuple(part.cpu() for part in kept))
        return logits

    def whole(self, processes: Processes = ALONE) -> SplitOutputs | None:
        """All of it in the order of the split, in the first process; None in the others."""
        parts = processes.gathered_by_first(self._batches)
        if not processes.first:
            return None
        batches = [batch for part in parts for batch in part]
        features, logits, labels, rows = (
            torch.cat(column) for column in zip(*batches, strict=True)
        )
        order = rows.argsort()
        return SplitOutputs(*(part[order].numpy() for part in (features, logits, labels, rows)))
