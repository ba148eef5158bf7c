"""What every probe is, and what it is given to look at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from skewlab.data.batches import Batch
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.errors import ConfigError
from skewlab.metrics.scores import FloatArray
from skewlab.training.module import ImbalanceClassifier

IntArray = NDArray[np.int64]
# What a probe finds at one moment: numbers, arrays over classes first, or more of the same by name.
Found = dict[str, Any]


@dataclass(frozen=True)
class RunFacts:
    """What a probe knows of its run from the start.

    Attributes:
        counts: training samples of each class, shape [classes].
        class_names: in label order.
        majority, minority: the classes of each group.
        folder: the run's folder.
        seed: of what a probe draws; the run's own random streams are not for it.
        counts_at: the counts that the same data would have at another ratio; raises ConfigError
            where they cannot be had.
    """

    counts: IntArray
    class_names: tuple[str, ...]
    majority: tuple[int, ...]
    minority: tuple[int, ...]
    folder: Path
    seed: int
    counts_at: Callable[[float], IntArray]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.counts)


class Moment(NamedTuple):
    """When a split is evaluated.

    Attributes:
        epoch: time in epochs, a fraction within one.
        step: training steps done.
        whole: whether every sample is evaluated, as at the ends of epochs, and not the first few
            of each class.
        last: whether it is the end of the training.
    """

    epoch: float
    step: int
    whole: bool
    last: bool


class Outputs(NamedTuple):
    """What the network makes of a split in one clean pass, samples in their fixed order.

    Attributes:
        features: float32 [samples, width], before the head; width 0 for a network without parts.
        logits: float32 [samples, classes].
        labels: int64 [samples].
        rows: int64 [samples], each sample's place among those evaluated; in its split, where that
            is evaluated whole.
    """

    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    labels: IntArray
    rows: IntArray


class Probe:
    """An extra measurement of what a network learns; off by default, switched on by name.

    A probe looks and touches nothing: parameters, buffers, gradients, the optimiser and random
    streams are as if it were not there, so that the curves are the same, bit for bit. What a method
    returns is written to `curves.jsonl` as a line of its own and streamed to the loggers, see
    `curves.scalars.probe_scalars`.

    Args:
        about: the run.

    Attributes:
        splits_network: whether it needs a network with `features` and `head`.
        every_process: whether several processes can train together while it is on.
        left_out: what of its options this run cannot give, as a line for people; empty for nothing.
    """

    splits_network: ClassVar[bool] = False
    every_process: ClassVar[bool] = True

    def __init__(self, about: RunFacts) -> None:
        self.about = about
        self.left_out = ""

    def wants(self, moment: Moment) -> tuple[str, ...]:
        """The splits whose outputs it needs at a moment; none where it does not measure."""
        return ()

    def measure(
        self, moment: Moment, outputs: Mapping[str, Outputs], module: ImbalanceClassifier
    ) -> Found | None:
        """Look at the outputs of the splits that it wants, all of them there."""
        return None

    def begin(self, module: ImbalanceClassifier, data: ImbalancedDataModule) -> Found | None:
        """Called before training starts or goes on; what is found is written at a run's start."""
        return None

    def before_step(self, step: int, batch: Batch, module: ImbalanceClassifier) -> Found | None:
        """Called before an update, with its batch, after so many steps."""
        return None

    def after_step(self, step: int, module: ImbalanceClassifier) -> Found | None:
        """Called after an update, the one that makes it so many steps."""
        return None

    def end(self, data: ImbalancedDataModule) -> None:
        """Called after the last evaluation; writes files of its own, if it has any."""

    def state_dict(self) -> dict[str, Any]:
        """What an interrupted run needs to go on measuring, of plain types and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""


def check_whole(probe: str, least: int = 1, **options: int) -> None:
    """Hold a probe's options against the least whole number that each may be.

    Raises:
        ConfigError: one is smaller.
    """
    for name, value in options.items():
        if value < least:
            raise ConfigError(
                f"curves.probes.{probe}.{name}={value}: must be a whole number of at least {least}"
            )


def by_class(labels: IntArray, values: FloatArray, classes: int) -> FloatArray:
    """The mean of some values over each class's samples, shape [classes, ...]; NaN for a class
    without any.

    Args:
        labels: shape [samples].
        values: shape [samples, ...].
        classes: number of classes.
    """
    sums = np.zeros((classes, *values.shape[1:]))
    np.add.at(sums, labels, values)
    counts = np.bincount(labels, minlength=classes).reshape(-1, *[1] * (values.ndim - 1))
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / counts, dtype=np.float64)


def probabilities(logits: NDArray[np.float32]) -> FloatArray:
    """The softmax of logits, shape [samples, classes], in float64."""
    return np.asarray(torch.from_numpy(logits).double().softmax(1).numpy())
