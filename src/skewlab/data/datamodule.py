"""The LightningDataModule: a source and a subset as batches."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from skewlab.data.batches import (
    Batch,
    BatchesInOrder,
    Order,
    Rows,
    RowsInOrder,
    Share,
    ShuffledRows,
    Stretches,
    TrainingRows,
)
from skewlab.data.folder import FolderImages
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset
from skewlab.data.transforms import Normalise
from skewlab.distributed import ALONE, Processes

SPLITS = ("train", "val", "test")
# Pixels are kept as the network takes them where those of all splits fit into so much memory.
SCALED_BYTES = 2**29


def _same(batch: Any) -> Any:
    return batch


class ImbalancedDataModule(pl.LightningDataModule):
    """The training subset, the balanced validation set and the untouched test set of one run.

    Images that fit in memory live on the compute device and a batch is gathered by index; images
    on disk are read by loader workers. Both give the same batches for the same seeds. Few images
    are scaled once, when the run starts, and not in each batch: the same numbers, bit for bit.

    Args:
        source: where samples come from.
        subset: which of them are kept.
        batch_size: training samples of a batch.
        evaluation_batch_size: samples of a batch when curves are evaluated.
        order_seed: seed of the order of training samples.
        workers: loader processes for images on disk.
        processes: that train together.
        order: which training rows an epoch has; None for every row once.
        normalise: how the network scales images, so that it can be done once; None to hand all of
            them out as they are stored.
        augmented: whether training images are changed anew each time, which takes stored pixels.

    Attributes:
        pauses_after: whether training pauses after so many steps, for something that happens
            between two of them. Who wants that after every step, a callback of your own for
            instance, sets it to `lambda step: True`.
    """

    def __init__(
        self,
        source: Source,
        subset: Subset,
        *,
        batch_size: int,
        evaluation_batch_size: int,
        order_seed: int,
        workers: int,
        processes: Processes = ALONE,
        order: Order | None = None,
        normalise: Normalise | None = None,
        augmented: bool = False,
    ) -> None:
        super().__init__()
        self._order = order
        self._normalise, self._augmented = normalise, augmented
        self.source, self.subset = source, subset
        self._batch_size, self._evaluation_batch_size = batch_size, evaluation_batch_size
        self._order_seed, self._workers = order_seed, workers
        self._processes = processes
        self._rows: dict[str, Rows] = {}
        self._scaled: dict[str, Rows] = {}
        self.pauses_after: Callable[[int], bool] = lambda step: False

    def setup(self, stage: str | None = None) -> None:
        """Bring the pixels to the device that trains."""
        if self._rows:
            return
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        pool = _resident(self.source.train_images, self.source.train_labels, device)
        test = _resident(self.source.test_images, self.source.test_labels, device)
        self._rows = {
            "train": Rows(*pool, self.subset.train),
            "val": Rows(*pool, self.subset.val),
            "test": Rows(*test, np.arange(len(self.source.test_labels))),
        }
        samples = sum(len(rows) for rows in self._rows.values())
        scaled_bytes = samples * np.prod(self.source.image_shape) * torch.float32.itemsize
        streamed = self._rows["train"].streamed
        if self._normalise and not streamed and scaled_bytes <= SCALED_BYTES:
            scale = copy.deepcopy(self._normalise).to(device).scaled
            self._scaled = {split: rows.scaled(scale) for split, rows in self._rows.items()}

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have samples: `val` may have been given none."""
        return tuple(split for split in SPLITS if len(self._rows[split]))

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the training split, the smaller last one with them."""
        return len(ShuffledRows(self._rows_per_epoch, self._batch_size, self._order_seed))

    @property
    def _rows_per_epoch(self) -> int:
        return len(self.subset.train) if self._order is None else len(self._order)

    def train_dataloader(self) -> DataLoader[Iterable[Batch]]:
        """Training batches in random order, in stretches; augmenting is the classifier's part."""
        rows = self._rows["train"] if self._augmented else self._quickest("train")
        shares = ShuffledRows(
            self._rows_per_epoch,
            self._batch_size,
            self._order_seed,
            self.trainer.global_step if self.trainer else 0,
            self._processes.rank,
            self._processes.count,
            self._order,
        )
        # Workers that read from disk, and processes that wait for one another, go step by step.
        apart = rows.streamed or self._processes.count > 1
        stretches = Stretches(shares, (lambda step: True) if apart else self.pauses_after)
        return self._loader(TrainingRows(rows), stretches)

    def evaluation_batches(
        self, split: str, per_class: int | None = None, shared: bool = False
    ) -> DataLoader[Batch] | BatchesInOrder:
        """A split in fixed order, each sample once: for `train` the clean pass.

        Args:
            split: train, val or test.
            per_class: the first so many samples of each class only; None for all.
            shared: whether the processes that train together take the batches in turn, each of
                them in one process; otherwise this one takes all.
        """
        rows = self._quickest(split)
        if per_class is not None:
            rows = rows.only(self._first_of_each_class(split, per_class))
        turn = (self._processes.rank, self._processes.count) if shared else (0, 1)
        order = RowsInOrder(len(rows), self._evaluation_batch_size, *turn)
        return self._loader(rows, order) if rows.streamed else BatchesInOrder(rows, order)

    def _quickest(self, split: str) -> Rows:
        return self._scaled.get(split) or self._rows[split]

    def labels(self, split: str) -> NDArray[np.int64]:
        """The labels of a split's rows, shape [rows]."""
        pool = self.source.test_labels if split == "test" else self.source.train_labels
        return np.asarray(pool if split == "test" else pool[getattr(self.subset, split)])

    def take(self, split: str, rows: NDArray[np.int64]) -> Batch:
        """Some rows of a split as they are stored, on the device that trains, or on the CPU for
        images on disk."""
        chosen = torch.from_numpy(rows)
        return self._rows[split][Share(chosen, 0, len(chosen), len(chosen))]

    def _first_of_each_class(self, split: str, per_class: int) -> NDArray[np.int64]:
        labels = self.labels(split)
        by_class = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[by_class], labels[by_class], side="left")
        place = np.arange(len(labels)) - starts
        return np.asarray(np.sort(by_class[place < per_class]))

    def val_dataloader(self) -> Iterable[Batch]:
        return self.evaluation_batches("val")

    def test_dataloader(self) -> Iterable[Batch]:
        return self.evaluation_batches("test")

    def _loader(self, rows: Dataset[Any], order: Sampler[Any]) -> DataLoader[Any]:
        # The sampler gives whole batches of rows, so automatic batching is off. The loader draws
        # a seed at each start; from a generator of its own, so that training's stream is untouched.
        streamed = self._rows["train"].streamed
        return DataLoader(
            rows,
            sampler=order,
            batch_size=None,
            collate_fn=_same,
            num_workers=self._workers if streamed else 0,
            pin_memory=streamed and torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(self._order_seed),
        )


def _resident(
    images: "NDArray[np.uint8] | FolderImages", labels: NDArray[np.int64], device: torch.device
) -> "tuple[Tensor | FolderImages, Tensor]":
    if isinstance(images, FolderImages):
        return images, torch.from_numpy(labels)
    return torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
