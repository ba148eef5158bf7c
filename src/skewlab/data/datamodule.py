"""The LightningDataModule: a source and a subset as batches."""

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
from skewlab.data.folder import FolderImages
from skewlab.data.plan import pool
from skewlab.data.sources import Source
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
        rows: EpochRows | None = None,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__()
        self.source, self.subset = source, subset
        self._batch_size, self._evaluation_batch_size = batch_size, evaluation_batch_size
        self._order_seed, self._workers = order_seed, workers
        self._augment = CropAndFlip(crop, flip, order_seed)
        self._epoch_rows = rows or EveryRowOnce(len(subset.train))
        self._processes, self._drop_last = processes, drop_last
        self._rows: dict[str, Rows] = {}

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
        return TrainingLoader(self._rows["train"], self._batches(), **self._options())

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
        return (
            self.evaluation_batches("val", shared=True) if self._processes.count <= batches else []
        )

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.evaluation_batches("test", shared=True)

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self.evaluation_batches("test", shared=True)

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
        rows = self._rows[split]
        if per_class is not None:
            rows = rows.only(first_of_each_class(self.labels(split), per_class))
        turn = (self._processes.rank, self._processes.count) if shared else (0, 1)
        order = RowsInOrder(len(rows), self._evaluation_batch_size, *turn)
        return BatchLoader(rows, order, **self._options())

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

    def _options(self) -> dict[str, Any]:
        streamed = isinstance(self.source.train_images, FolderImages)
        return {
            "num_workers": self._workers if streamed else 0,
            "pin_memory": streamed and torch.cuda.is_available(),
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
    images: "NDArray[np.uint8] | FolderImages", labels: NDArray[np.int64], device: torch.device
) -> "tuple[Tensor | FolderImages, Tensor]":
    if isinstance(images, FolderImages):
        return images, torch.from_numpy(labels)
    return torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
