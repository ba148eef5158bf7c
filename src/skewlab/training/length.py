"""The course of a training: which samples come in which order, and for how many epochs."""

import math
from dataclasses import dataclass

import torch

from skewlab.config.parts import build
from skewlab.config.schema import RunConfig
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset
from skewlab.methods.samplers import InstanceBalanced, Sampler, Stages
from skewlab.methods.second_stages import SecondStage


@dataclass(frozen=True)
class Course:
    """What a method and its settings make of the training subset.

    Attributes:
        order: the rows of each epoch.
        epochs: of training.
        second_epochs: of a second stage that follows; 0 without one.
    """

    order: Stages
    epochs: int
    second_epochs: int


def planned_course(settings: RunConfig, source: Source, subset: Subset) -> Course:
    """The course of a run."""
    method, batch_size = settings.method, settings.data.batch_size
    labels = torch.from_numpy(source.train_labels[subset.train])
    sampler: Sampler = InstanceBalanced(labels, batch_size)
    if method.sampler is not None:
        sampler = build(method.sampler, labels, batch_size, key="method.sampler")
    epochs = planned_epochs(settings, subset, len(sampler))
    second_epochs = 0
    if method.second_stage is not None:
        second: SecondStage = build(method.second_stage, key="method.second_stage")
        second_epochs = second.epochs(epochs)
    return Course(Stages(labels, sampler, epochs), epochs, second_epochs)


def planned_epochs(settings: RunConfig, subset: Subset, rows: int | None = None) -> int:
    """Epochs to train: `max_epochs`, or so many that there are as many updates as another set has
    in `max_epochs`, rounded up to a whole epoch.

    Args:
        settings: the run.
        subset: its data.
        rows: of an epoch, where a sampler makes them another number than the subset has.
    """
    own = rows or len(subset.train)

    def steps(samples: int) -> int:
        return math.ceil(samples / settings.data.batch_size)

    imbalanced = subset.imbalanced_counts
    samples = {
        "own": own,
        "imbalanced": int(imbalanced.sum()),
        "balanced": int(imbalanced.max()) * len(imbalanced),
    }
    updates = settings.trainer.max_epochs * steps(samples[settings.trainer.updates])
    return math.ceil(updates / steps(own))
