"""The LightningDataModule: a source and a subset as batches."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from skewlab.data.batches import (
    Batch,
    BatchLoader,
    EpochRows,
    EveryRowOnce,
    Rows,
    RowsInOrder,
    Share,
    TrainingBatches,
    TrainingLoader,
)
from skewlab.data.plan import pool
from skewlab.data.recipes import PerImage
from skewlab.data.sources import Inputs, Source
from skewlab.data.subsets import Subset
from skewlab.data.transforms import CropAndFlip
from skewlab.distributed import ALONE, Processes

SPLITS = ("train", "val", "test")


class ImbalancedDataModule(pl.LightningDataModule):
    """The training subset, the validation set and the untouched test set of one run.

    Images that fit in memory live on the compute device and a batch is gathered by index; images
    on disk are read by loader workers. Both give the same batches for the same seeds. Training
    images are augmented on the device.

    Args:
        source: where samples come from.
        subset: which of them are kept.
        batch_size: training samples of a batch.
        evaluation_batch_size: samples of a batch in evaluations.
        order_seed: seed of the order of training samples, and of augmentation.
        workers: loader processes for images on disk.
        crop: largest random shift of a training image, in pixels.
        flip: whether training images are mirrored at random.
        drop_last: whether a smaller last batch of an epoch is left out.
        transform: what loader workers do to each training image; see `skewlab.data.recipes`.
        rows: which training rows an epoch has; None for every row once.
        processes: that train together.
    """

    def __init__(
        self,
        source: Source,
        subset: Subset,
        *,
        batch_size: int,
        evaluation_batch_size: int = 250,
        order_seed: int = 0,
        workers: int = 0,
        crop: int = 0,
        flip: bool = False,
        drop_last: bool = False,
        transform: Callable[..., Any] | None = None,
        rows: EpochRows | None = None,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__()
        self.source, self.subset = source, subset
        self._batch_size, self._evaluation_batch_size = batch_size, evaluation_batch_size
        self._order_seed, self._workers = order_seed, workers
        self._augment = CropAndFlip(crop, flip, order_seed)
        self._transform = None if transform is None else PerImage(transform, order_seed)
        self._epoch_rows = rows or EveryRowOnce(len(subset.train))
        self._processes, self._drop_last = processes, drop_last
        self._rows: dict[str, Rows] = {}
        self._loaders: dict[tuple[str, int | None, bool], DataLoader[Batch]] = {}

    def setup(self, stage: str | None = None) -> None:
        """Bring images that are in memory to the device that computes."""
        if self._rows:
            return
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        train = _resident(*pool(self.source, "train"), device)
        own_val = self.source.val_labels is not None
        self._rows = {
            "train": Rows(*train, self.subset.train),
            "val": Rows(
                *(_resident(*pool(self.source, "val"), device) if own_val else train),
                self.subset.val,
            ),
            "test": Rows(*_resident(*pool(self.source, "test"), device), self._places("test")),
        }

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have samples: `val` may have been given none."""
        return tuple(split for split in SPLITS if len(self.labels(split)))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order."""
        return tuple(self.source.class_names)

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """The classes of each group that has curves."""
        return self.subset.groups

    @property
    def batches_per_epoch(self) -> int:
        """Training batches of an epoch."""
        return len(self._batches())

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training batches in random order."""
        rows = self._rows["train"]
        if self._transform is None:
            return TrainingLoader(rows, self._batches(), **self._options(self.source.on_disk))
        rows = Rows(
            self.source.train_images,
            torch.from_numpy(self.source.train_labels),
            self.subset.train,
            self._transform,
        )
        return TrainingLoader(rows, self._batches(), **self._options(by_workers=True))

    def _batches(self) -> TrainingBatches:
        trainer = self.trainer
        return TrainingBatches(
            self._epoch_rows,
            self._batch_size,
            self._order_seed,
            self._processes.rank,
            self._processes.count,
            self._drop_last,
            repeated=bool(getattr(trainer, "overfit_batches", 0)),
            current_epoch=(lambda: trainer.current_epoch) if trainer else None,
        )

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        # Lightning refuses a loader that has no batch for some of the processes.
        batches = -(-len(self._rows["val"]) // self._evaluation_batch_size)
        if self._processes.count > batches:
            return []
        return self._evaluation_loader("val", None, shared=True)

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("test", None, shared=True)

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("test", None, shared=True)

    def teardown(self, stage: str) -> None:
        """End the workers of evaluations."""
        self._loaders.clear()

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Move a batch of images on disk; others are on the device already."""
        if isinstance(batch, Batch) and batch.images.device == device == batch.labels.device:
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment training images, on the device."""
        if not (isinstance(batch, Batch) and self.trainer and self.trainer.training):
            return batch
        return batch._replace(
            images=self._augment(batch.images, batch.number, batch.first, batch.whole)
        )

    def evaluation_batches(
        self, split: str, per_class: int | None = None, shared: bool = False
    ) -> DataLoader[Batch]:
        """A split in fixed order, each sample once and not augmented.

        Args:
            split: train, val or test.
            per_class: the first so many samples of each class only; None for all.
            shared: whether the processes that train together take the batches in turn, each of
                them in one process; otherwise this one takes all.
        """
        key = (split, per_class, shared)
        if key not in self._loaders:  # kept, and its workers with it
            self._loaders[key] = self._evaluation_loader(split, per_class, shared)
        return self._loaders[key]

    def _evaluation_loader(
        self, split: str, per_class: int | None, shared: bool
    ) -> DataLoader[Batch]:
        rows = self._rows[split]
        if per_class is not None:
            rows = rows.only(first_of_each_class(self.labels(split), per_class))
        turn = (self._processes.rank, self._processes.count) if shared else (0, 1)
        order = RowsInOrder(len(rows), self._evaluation_batch_size, *turn)
        return BatchLoader(rows, order, **self._options(self.source.on_disk))

    def labels(self, split: str) -> NDArray[np.int64]:
        """The labels of a split's rows, shape [rows]."""
        return np.asarray(pool(self.source, split)[1][self._places(split)])

    def _places(self, split: str) -> NDArray[np.int64]:
        """Which samples of its pool a split has, shape [rows]."""
        if split == "test":
            return np.arange(len(self.source.test_labels))
        return self.subset.train if split == "train" else self.subset.val

    def take(self, split: str, rows: NDArray[np.int64]) -> Batch:
        """Some rows of a split as they are stored, on the device that trains, or on the CPU for
        images on disk."""
        return self._rows[split].__getitems__(Share.of(torch.from_numpy(rows)))

    def _options(self, by_workers: bool) -> dict[str, Any]:
        workers = self._workers if by_workers else 0
        return {
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "pin_memory": by_workers and torch.cuda.is_available(),
            # A loader draws a seed at each start: not from the stream that the network draws from.
            "generator": torch.Generator().manual_seed(self._order_seed),
        }


def first_of_each_class(labels: NDArray[np.int64], per_class: int) -> NDArray[np.int64]:
    """The rows of the first so many samples of each class, in their order."""
    by_class = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_class], labels[by_class], side="left")
    place = np.arange(len(labels)) - starts
    return np.asarray(np.sort(by_class[place < per_class]))


def _resident(
    images: Inputs, labels: NDArray[np.int64], device: torch.device
) -> tuple[Tensor | Inputs, Tensor]:
    if not isinstance(images, np.ndarray):
        return images, torch.from_numpy(labels)
    return torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
