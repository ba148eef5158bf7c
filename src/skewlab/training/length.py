"""How long a training is: which samples come in which order, for how many epochs and updates."""

import math
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch

from skewlab.config.parts import build
from skewlab.config.schema import RunConfig
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset
from skewlab.methods.samplers import InstanceBalanced, Sampler, Stages
from skewlab.methods.second_stages import SecondStage


@dataclass(frozen=True)
class Length:
    """What a method and its configuration make of the training subset.

    Attributes:
        rows: of each epoch.
        epochs: of training.
        second_epochs: of a second stage that follows; 0 without one.
    """

    rows: Stages
    epochs: int
    second_epochs: int

    @property
    def all_epochs(self) -> int:
        """Epochs of both stages."""
        return self.epochs + self.second_epochs


def planned_length(config: RunConfig, source: Source, subset: Subset) -> Length:
    """How long a run trains."""
    method, batch_size = config.method, config.data.batch_size
    labels = torch.from_numpy(source.train_labels[subset.train])
    sampler: Sampler = InstanceBalanced(labels, batch_size)
    if method.sampler is not None:
        sampler = build(method.sampler, labels, batch_size, key="method.sampler")
    epochs = planned_epochs(config, subset, len(sampler))
    if method.second_stage is None:
        return Length(Stages(sampler, epochs), epochs, 0)
    stage: SecondStage = build(method.second_stage, key="method.second_stage")
    second: Sampler = InstanceBalanced(labels, batch_size)
    if stage.sampler is not None:
        second = build(stage.sampler, labels, batch_size, key="method.second_stage.sampler")
    second_epochs = stage.epochs(epochs)
    return Length(Stages(sampler, epochs, second, second_epochs), epochs, second_epochs)


def planned_epochs(config: RunConfig, subset: Subset, rows: int | None = None) -> int:
    """Epochs to train: `max_epochs`, or so many that there are as many updates as another set has
    in `max_epochs`, or that the smallest class is seen as often as in the balanced set; rounded up
    to a whole epoch.

    Args:
        config: the run.
        subset: its data.
        rows: of an epoch, where a sampler makes them another number than the subset has.
    """
    own = rows or len(subset.train)

    def batches(samples: int) -> int:
        share = samples / config.data.batch_size
        return max(1, math.floor(share) if config.data.drop_last else math.ceil(share))

    imbalanced = subset.imbalanced_counts
    if config.training.updates == "exposures":
        more = int(imbalanced.max()) / int(imbalanced.min())
        return math.ceil(config.trainer.max_epochs * more)
    samples = {
        "own": own,
        "imbalanced": int(imbalanced.sum()),
        "balanced": int(imbalanced.max()) * len(imbalanced),
    }
    updates = config.trainer.max_epochs * batches(samples[config.training.updates])
    return math.ceil(updates / batches(own))


def updated(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether a batch ended with an update of the optimiser, and was not one of several whose
    gradients are gathered first."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch


def updates_per_epoch(trainer: pl.Trainer) -> int:
    """Updates of the optimiser in an epoch; at least 1."""
    return max(1, math.ceil(batches_per_epoch(trainer) / trainer.accumulate_grad_batches))


def batches_per_epoch(trainer: pl.Trainer) -> int:
    """Training batches of an epoch, with `limit_train_batches`.

    `trainer.estimated_stepping_batches` would start the training loader before Lightning has given
    it the state of a checkpoint; it is asked where a data module of one's own does not say how many
    batches it has.
    """
    data: Any = getattr(trainer, "datamodule", None)
    if not hasattr(data, "batches_per_epoch"):
        updates = trainer.estimated_stepping_batches
        if math.isfinite(trainer.num_training_batches):
            return int(trainer.num_training_batches)
        return int(updates // max(trainer.max_epochs or 1, 1)) * trainer.accumulate_grad_batches
    batches, limit = int(data.batches_per_epoch), trainer.limit_train_batches
    if isinstance(limit, float):
        batches = int(batches * limit)
    elif limit is not None:
        batches = min(batches, limit)
    return batches
