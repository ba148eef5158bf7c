"""The base class of probes, and what a probe is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from skewlab.data.batches import Batch
from skewlab.data.datamodule import SPLITS, ImbalancedDataModule
from skewlab.errors import ConfigError
from skewlab.metrics.scores import FloatArray

IntArray = NDArray[np.int64]
# What a probe finds at one moment, by name: numbers, arrays (classes are the first axis), or dicts.
Found = dict[str, Any]


@dataclass(frozen=True)
class RunFacts:
    """The facts of a run that a probe is given at the start.

    Attributes:
        counts: training samples of each class, shape [classes].
        class_names: in label order.
        majority, minority: the classes of each group.
        folder: the run's folder.
        seed: for a probe's random numbers; a probe must not use the run's random streams.
        counts_at: gives the counts that the same data have at another ratio; raises ConfigError
            where the data cannot give them.
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
        step: number of training steps so far.
        whole: whether all samples are evaluated, as at the end of an epoch, or only the first ones
            of each class.
        last: whether it is the end of the training.
    """

    epoch: float
    step: int
    whole: bool
    last: bool


class SplitOutputs(NamedTuple):
    """Features and logits of a split from one pass in eval mode, in the order of the split.

    Attributes:
        features: float32 [samples, width], before the head; width 0 for a network without parts.
        logits: float32 [samples, classes].
        labels: int64 [samples].
        rows: int64 [samples], the index of each sample among the evaluated ones; this is its index
            in the split where the whole split is evaluated.
    """

    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    labels: IntArray
    rows: IntArray


class Probe:
    """An extra measurement of what a network learns; off by default, switched on by name.

    A probe changes nothing: parameters, buffers, gradients, the optimiser and random streams are
    the same as without it, so that the curves are the same, bit for bit. What one of its methods
    returns is a line of its own in `curves.jsonl` and is streamed to the loggers, see
    `metrics.scores.probe_scalars`.

    Args:
        about: the run.

    Attributes:
        splits_network: whether the probe needs a network with `features` and `head`.
        every_process: whether the probe works where several processes train together.
        left_out: a line that says which of its options this run cannot do; empty if it can do all.
    """

    splits_network: ClassVar[bool] = False
    every_process: ClassVar[bool] = True

    def __init__(self, about: RunFacts) -> None:
        self.about = about
        self.left_out = ""

    def wants(self, moment: Moment) -> tuple[str, ...]:
        """The splits whose outputs it needs at this moment; none where it does not measure."""
        return ()

    def measure(
        self, moment: Moment, outputs: Mapping[str, SplitOutputs], module: pl.LightningModule
    ) -> Found | None:
        """Called after an evaluation, with the outputs of all splits that it wants."""
        return None

    def begin(self, module: pl.LightningModule, data: ImbalancedDataModule) -> Found | None:
        """Called before training starts or is resumed; only at the start, what it returns is
        written."""
        return None

    def before_step(self, step: int, batch: Batch, module: pl.LightningModule) -> Found | None:
        """Called before an update with its batch; `step` is the number of steps before it."""
        return None

    def after_step(self, step: int, module: pl.LightningModule) -> Found | None:
        """Called after an update; `step` is the number of steps including it."""
        return None

    def end(self, data: ImbalancedDataModule) -> None:
        """Called after the last evaluation; here a probe can write files of its own."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: tensors and values of built-in types."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state in a resumed run."""


def wanted_splits(name: str, probe: Probe, moment: Moment) -> set[str]:
    """The splits that a probe wants at a moment.

    Raises:
        ConfigError: it names another one.
    """
    wanted = probe.wants(moment)
    if isinstance(wanted, str) or not set(wanted) <= set(SPLITS):
        raise ConfigError(
            f"curves.probes.{name}: wants gave {wanted!r}, must be a tuple of train, val and test, "
            "such as ('test',)"
        )
    return set(wanted)


def check_found(key: str, found: Any) -> None:
    """Hold what a probe found against what `curves.jsonl` takes.

    Args:
        key: names the probe, and where in its finding a value stands.
        found: the finding, or a part of it.

    Raises:
        TypeError: it is no dict with names of numbers, NumPy arrays, lists of numbers, and dicts.
    """
    if not isinstance(found, Mapping):
        raise TypeError(
            f"{key}: found a {type(found).__name__}, must be a dict of names and values"
        )
    for name, value in found.items():
        if isinstance(value, Mapping):
            check_found(f"{key}.{name}", value)
        elif value is not None and (
            isinstance(value, torch.Tensor) or np.asarray(value).dtype.kind not in "biuf"
        ):
            raise TypeError(
                f"{key}.{name}: found a {type(value).__name__}, must be a number, a NumPy array of "
                "numbers, or a dict of them"
            )


def check_whole(probe: str, least: int = 1, **options: int) -> None:
    """Check that a probe's options are not below the least allowed number.

    Raises:
        ConfigError: an option is below it.
    """
    for name, value in options.items():
        if value < least:
            raise ConfigError(
                f"curves.probes.{probe}.{name}={value}: must be a whole number of at least {least}"
            )


def by_class(labels: IntArray, values: FloatArray, classes: int) -> FloatArray:
    """The mean of values over the samples of each class, shape [classes, ...]; NaN for a class
    without samples.

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
