"""What the network makes of a split, kept for probes while the curves are evaluated."""

import torch
from torch import Tensor

from skewlab.distributed import Processes
from skewlab.models.network import has_parts
from skewlab.probes.probe import Outputs
from skewlab.training.module import ImbalanceClassifier


class Gathered:
    """Features and logits of one pass over a split, batch by batch, from all processes."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, ...]] = []

    def add(
        self, module: ImbalanceClassifier, images: Tensor, labels: Tensor, rows: Tensor
    ) -> Tensor:
        """Classify a batch and keep what is seen; the logits are those of `module(images)`."""
        if has_parts(module.network):
            features, logits = module.features_and_logits(images)
        else:
            logits = module(images)
            features = logits.new_empty(len(logits), 0)
        kept = (features.float(), logits.float(), labels, rows)
        self._batches.append(tuple(part.cpu() for part in kept))
        return logits

    def whole(self, processes: Processes) -> Outputs | None:
        """All of it in the order of the split, in the first process; None in the others."""
        parts = processes.gathered_by_first(self._batches)
        if not processes.first:
            return None
        batches = [batch for part in parts for batch in part]
        features, logits, labels, rows = (
            torch.cat(column) for column in zip(*batches, strict=True)
        )
        order = rows.argsort()
        return Outputs(*(part[order].numpy() for part in (features, logits, labels, rows)))
