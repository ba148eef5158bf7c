"""One clean pass over a split, and the splits of anybody's loaders."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities import move_data_to_device
from numpy.typing import NDArray
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset
from torchmetrics import Metric

from skewlab.data.datamodule import SPLITS, first_of_each_class
from skewlab.metrics.per_class import PerClassMetric, Rankings
from skewlab.metrics.scores import FloatArray
from skewlab.probes.outputs import Gathered

# How many logits the metrics take at once: their operations cost more than what they do on few.
HELD_LOGITS = 2**20


class EvaluationData(Protocol):
    """The splits that curves are evaluated on; `ImbalancedDataModule` is one."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of train, val and test that have samples."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order."""

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """The classes of each group, `majority` and `minority` among them."""

    def labels(self, split: str) -> NDArray[np.int64]:
        """The labels of a split's samples, shape [samples]."""

    def evaluation_batches(
        self, split: str, per_class: int | None = None, shared: bool = False
    ) -> Iterable[Any]:
        """Batches of `(inputs, labels, ...)` of a split, each sample once; see
        `ImbalancedDataModule`."""


class Scores:
    """All metrics of one split.

    Args:
        classes: number of classes.
        confusion: whether to count the confusion matrix.
        extra: metrics of one's own by name: each takes `(logits, labels)` and computes a number for
            each class.
        rankings: whether to compute AUROC and average precision.
    """

    def __init__(
        self,
        classes: int,
        confusion: bool,
        extra: Mapping[str, Metric],
        rankings: bool = True,
    ) -> None:
        self._own, self._extra = PerClassMetric(classes, confusion), dict(extra)
        self._rankings = Rankings() if rankings else None

    def over(
        self,
        module: pl.LightningModule,
        batches: Iterable[Any],
        trainer: pl.Trainer | None = None,
        gathered: Gathered | None = None,
    ) -> dict[str, FloatArray]:
        """Arrays over classes, from one pass in the module's present mode.

        Args:
            module: its `forward` gives logits.
            batches: of `(inputs, labels, ...)`.
            trainer: whose precision is used; None for the module's own.
            gathered: keeps features and logits too.
        """
        with torch.inference_mode(), _precision(trainer):
            return self.of(_classified(module, batches, trainer, gathered))

    @torch.inference_mode()
    def of(self, classified: Iterable[tuple[Tensor, Tensor]]) -> dict[str, FloatArray]:
        """Arrays over classes, from logits [batch, classes] and labels [batch] of all batches."""
        metrics: list[Metric] = [self._own, *self._extra.values()]
        for metric in metrics:
            metric.reset()
        if self._rankings:
            self._rankings.reset()
        held: list[tuple[Tensor, Tensor]] = []

        def update() -> None:
            if held:
                logits, labels = (torch.cat(parts) for parts in zip(*held, strict=True))
                for metric in metrics:
                    metric.to(logits.device).update(logits, labels)
                if self._rankings:
                    self._rankings.update(logits, labels)
                held.clear()

        for logits, labels in classified:
            held.append((logits, labels))
            if len(held) * logits.numel() > HELD_LOGITS:
                update()
        update()
        found = self._own.compute()
        if self._rankings:
            found |= self._rankings.compute()
            self._rankings.reset()  # what was kept is large
        for name, metric in self._extra.items():
            found[name] = np.asarray(metric.compute().double().cpu().numpy())
        return found


def _classified(
    module: pl.LightningModule,
    batches: Iterable[Any],
    trainer: pl.Trainer | None,
    gathered: Gathered | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The logits and the labels of each batch."""
    seen = 0
    for batch in batches:
        inputs, labels = move_data_to_device((batch[0], batch[1]), module.device)
        if trainer is not None:
            inputs = trainer.precision_plugin.convert_input(inputs)
        if gathered is None:
            logits = module(inputs)
        else:
            rows = getattr(batch, "rows", torch.arange(seen, seen + len(labels)))
            logits = gathered.add(module, inputs, labels, rows)
        seen += len(labels)
        yield logits, labels


class Predictions(NamedTuple):
    """What a network says of the samples of a split, in the order of their rows.

    Attributes:
        predicted, labels: the predicted and the true class, shape [samples] each.
        rankings: the scores of all samples; of none where they were not asked for.
    """

    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]
    rankings: Rankings


def predictions_of(
    module: pl.LightningModule,
    batches: Iterable[Any],
    trainer: pl.Trainer | None = None,
    *,
    ranked: bool = True,
) -> Predictions:
    """One pass over a split in the module's present mode.

    Args:
        module: its `forward` gives logits.
        batches: of `(inputs, labels, ...)`, put in the order of their `rows` where they have them.
        trainer: whose precision is used; None for the module's own.
        ranked: whether the scores of all samples are kept.
    """
    rows: list[Tensor] = []
    rankings = Rankings()

    def seen() -> Iterator[Any]:
        for batch in batches:
            rows.append(torch.as_tensor(getattr(batch, "rows", [])).cpu())
            yield batch

    found = []
    with torch.inference_mode(), _precision(trainer):
        for logits, labels in _classified(module, seen(), trainer, None):
            found.append(torch.stack([logits.argmax(dim=1), labels]).cpu())
            if ranked:
                rankings.update(logits, labels)
    predicted, true = torch.cat(found, dim=1).numpy()
    place = torch.cat(rows).numpy()
    order = np.argsort(place) if len(place) == len(true) else slice(None)
    return Predictions(predicted[order], true[order], rankings)


def _precision(trainer: pl.Trainer | None) -> contextlib.AbstractContextManager[Any]:
    if trainer is None:
        return contextlib.nullcontext()
    return trainer.precision_plugin.val_step_context()


@contextlib.contextmanager
def evaluated(trainer: pl.Trainer, module: pl.LightningModule) -> Iterator[None]:
    """Eval mode, and the weights that are validated: averaged ones where a `WeightAveraging`
    callback keeps them. Within Lightning's validation all that is so already."""
    if trainer.validating:
        with torch.inference_mode(False):
            yield
        return
    averages = [one for one in trainer.callbacks if isinstance(one, WeightAveraging)]  # type: ignore[attr-defined]
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    for average in averages:
        average.on_validation_epoch_start(trainer, module)
    try:
        yield
    finally:
        for average in averages:
            average.on_validation_epoch_end(trainer, module)
        for part, training in modes:
            part.training = training


class LoaderSplits:
    """Anybody's loaders of `(inputs, labels)` as splits to evaluate.

    The training loader's data set is read in order, without shuffling and without leaving out a
    last batch. Transforms of the data set itself act as they do in training.

    Args:
        loaders: by split; `train` among them.
        class_names: names in label order; None for the labels' numbers.
        minority: names or labels of the minority; None for the classes with at most the geometric
            mean of the largest and the smallest count or, where all counts are the same, the second
            half.

    Raises:
        ValueError: labels that are no whole numbers from 0, or an unknown class.

    Attributes:
        counts: training samples of each class.
    """

    def __init__(
        self,
        loaders: Mapping[str, Iterable[Any]],
        class_names: Sequence[str] | None = None,
        minority: Sequence[int | str] | None = None,
    ) -> None:
        self._loaders = {split: loaders[split] for split in SPLITS if split in loaders}
        self._labels = {split: _labels(loader) for split, loader in self._loaders.items()}
        classes = 1 + max(int(labels.max()) for labels in self._labels.values())
        self.class_names = tuple(class_names or map(str, range(classes)))
        if len(self.class_names) < classes:
            raise ValueError(
                f"class_names={list(self.class_names)}: must have a name for each label, and there "
                f"are labels up to {classes - 1}"
            )
        self.counts = np.bincount(self._labels["train"], minlength=len(self.class_names))
        chosen = self._chosen(minority)
        self.groups = {
            "majority": tuple(c for c in range(len(self.counts)) if c not in chosen),
            "minority": tuple(sorted(chosen)),
        }

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._loaders)

    def labels(self, split: str) -> NDArray[np.int64]:
        return self._labels[split]

    def evaluation_batches(
        self, split: str, per_class: int | None = None, shared: bool = False
    ) -> Iterable[Any]:
        loader = self._loaders[split]
        if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
            return loader
        dataset = loader.dataset
        if per_class is not None:
            dataset = Subset(dataset, first_of_each_class(self._labels[split], per_class).tolist())
        return _in_order(loader, dataset)

    def _chosen(self, minority: Sequence[int | str] | None) -> set[int]:
        if minority is not None:
            known = {name: label for label, name in enumerate(self.class_names)}
            chosen = {known.get(str(one), one) for one in minority}
            unknown = [one for one in chosen if one not in range(len(self.class_names))]
            if unknown or not 0 < len(chosen) < len(self.class_names):
                raise ValueError(
                    f"minority={list(minority)}: must be some, not all, of "
                    f"{', '.join(self.class_names)}"
                )
            return {int(one) for one in chosen}
        present = self.counts[self.counts > 0]
        if present.min() == present.max():
            return set(range((len(self.counts) + 1) // 2, len(self.counts)))
        middle = float(np.sqrt(float(present.min()) * float(present.max())))
        return set(np.flatnonzero(self.counts <= middle).tolist())


def _in_order(loader: "DataLoader[Any]", dataset: Any) -> "DataLoader[Any]":
    return DataLoader(
        dataset,
        batch_size=loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or 256,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        # A loader draws a seed at each start: not from the stream that training draws from.
        generator=torch.Generator().manual_seed(0),
    )


def _labels(loader: Iterable[Any]) -> NDArray[np.int64]:
    """The labels of a loader's samples in their order, shape [samples]; read in one pass, but for
    a `TensorDataset`, or a data set with `targets`, which tell them."""
    dataset: Any = getattr(loader, "dataset", None)
    known = getattr(dataset, "targets", None)
    if known is None and hasattr(dataset, "tensors"):
        known = dataset.tensors[1]
    if known is None or len(known) != len(dataset):
        batches: Iterable[Any] = loader
        if isinstance(loader, DataLoader) and not isinstance(dataset, IterableDataset):
            batches = _in_order(loader, dataset)
        known = torch.cat([torch.as_tensor(batch[1]).flatten() for batch in batches])
    labels = torch.as_tensor(known)
    if labels.is_floating_point() or labels.ndim != 1 or (len(labels) and int(labels.min()) < 0):
        raise ValueError(
            f"labels of type {str(labels.dtype).removeprefix('torch.')} and shape "
            f"{list(labels.shape)}: must be whole numbers from 0, one for each sample"
        )
    return np.asarray(labels.cpu().numpy(), dtype=np.int64)
