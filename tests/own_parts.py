"""Parts of one's own that make a mistake, as `_target_`s; and two that make none."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def right_loss(counts: Tensor) -> Any:
    return lambda logits, labels: F.cross_entropy(logits, labels)


def without_return(counts: Tensor) -> Any:
    return lambda logits, labels: None


def of_each_sample(counts: Tensor) -> Any:
    return lambda logits, labels: F.cross_entropy(logits, labels, reduction="none")


def as_a_float(counts: Tensor) -> Any:
    return lambda logits, labels: F.cross_entropy(logits, labels).item()


def detached(counts: Tensor) -> Any:
    return lambda logits, labels: F.cross_entropy(logits, labels).detach()


def of_three_arguments(counts: Tensor) -> Any:
    return lambda logits, labels, epoch: F.cross_entropy(logits, labels)


class Rows:
    """Draws every row once, or as a subclass has it."""

    def __init__(self, labels: Tensor, batch_size: int) -> None:
        self.rows = len(labels)

    def __len__(self) -> int:
        return self.rows

    def __call__(self, epoch: int, max_epochs: int, generator: torch.Generator) -> Any:
        return torch.randperm(self.rows, generator=generator)


class ListOfRows(Rows):
    def __call__(self, epoch: int, max_epochs: int, generator: torch.Generator) -> Any:
        return list(range(self.rows))


class TooFewRows(Rows):
    def __call__(self, epoch: int, max_epochs: int, generator: torch.Generator) -> Any:
        return torch.arange(self.rows - 1)


class RowsBeyond(Rows):
    def __call__(self, epoch: int, max_epochs: int, generator: torch.Generator) -> Any:
        return torch.arange(self.rows) + 1


class NoRows(Rows):
    def __len__(self) -> int:
        return 0

    def __call__(self, epoch: int, max_epochs: int, generator: torch.Generator) -> Any:
        return torch.arange(0)


def weighted(labels: Tensor, batch_size: int) -> Any:
    return torch.utils.data.WeightedRandomSampler([1.0] * len(labels), len(labels))


class Pair(nn.Module):
    """Gives logits and features, always or in training mode."""

    def __init__(self, input_shape: list[int], num_classes: int, always: bool) -> None:
        super().__init__()
        self.head, self.always = nn.LazyLinear(num_classes), always

    def forward(self, images: Tensor) -> Any:
        logits = self.head(images.flatten(1))
        return (logits, images) if self.always or self.training else logits


def missing_file() -> Any:
    raise FileNotFoundError("somewhere/images.bin")
