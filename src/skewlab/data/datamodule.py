"""The LightningDataModule: a source and a subset as batches."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from skewlab.data.folder import FolderImages
from skewlab.data.imbalance import Subset
from skewlab.data.sources import Source
from skewlab.distributed import ALONE, Processes
from skewlab.seeding import mixed_seed

SPLITS = ("train", "val", "test")
# Batches that are trained on in one go, where nothing else happens in between.
LONGEST_STRETCH = 16


class Batch(NamedTuple):
    """What a network sees at once.

    Attributes:
        images: uint8 [batch, height, width, channels].
        labels: int64 [batch].
        rows, first, counted, whole: of the share of a global batch that these samples are. A row
            names a sample for as long as the subset is the same.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    first: int
    counted: int
    whole: int


class Share(NamedTuple):
    """The part of a global batch that one process trains on.

    Attributes:
        rows: int64 [samples], of their split. Never empty: where there are fewer samples than
            processes, some stand in with a sample that does not count.
        first: the place of the first one in the global batch.
        counted: how many of them count: all or, for a stand-in, none.
        whole: samples of the global batch.
    """

    rows: Tensor
    first: int
    counted: int
    whole: int

    @classmethod
    def of(cls, batch: Tensor, rank: int, processes: int) -> "Share":
        """The share of the process `rank` of so many."""
        parts = torch.tensor_split(batch, processes)
        counted, first = len(parts[rank]), sum(len(part) for part in parts[:rank])
        if not counted:
            return cls(batch[:1], 0, 0, len(batch))
        return cls(parts[rank], first, counted, len(batch))


class Rows(Dataset[Batch]):
    """Some samples of a source, read a whole batch at a time.

    Args:
        images: all images, as a uint8 tensor on the device they are used on, or on disk.
        labels: all labels, shape [samples], on that same device, or the CPU for disk.
        subset: which samples these are, shape [rows], on the CPU.
    """

    def __init__(
        self, images: "Tensor | FolderImages", labels: Tensor, subset: NDArray[np.int64]
    ) -> None:
        self.images, self.labels, self.subset = images, labels, torch.from_numpy(subset)

    def __len__(self) -> int:
        return len(self.subset)

    @property
    def streamed(self) -> bool:
        """Whether images are read from disk as they are needed."""
        return isinstance(self.images, FolderImages)

    def __getitem__(self, share: Share) -> Batch:
        kept = self.subset[share.rows]
        if isinstance(self.images, FolderImages):
            images = torch.from_numpy(self.images[kept.numpy()])
            return Batch(images, self.labels[kept], *share)
        kept = kept.to(self.images.device, non_blocking=True)
        # Several times as fast as the same by brackets, which goes pixel by pixel.
        return Batch(self.images.index_select(0, kept), self.labels[kept], *share)


class Order(Protocol):
    """Which rows an epoch trains on, and in which order."""

    def __len__(self) -> int:
        """Rows of an epoch, the same number in each."""

    def __call__(self, epoch: int, generator: torch.Generator) -> Tensor:
        """The rows of an epoch, int64; a function of the arguments alone."""


class ShuffledRows(Sampler[Share]):
    """The rows of an epoch, in an order fixed by (seed, epoch), cut into batches; of each, the
    share of one process.

    Args:
        rows: how many rows an epoch has.
        batch_size: rows of a global batch; the last one may be smaller.
        seed: of the order.
        step: training steps done already; the first epoch begins there.
        rank, processes: whose share it is, and of how many.
        order: which rows these are; None for every row once.
    """

    def __init__(
        self,
        rows: int,
        batch_size: int,
        seed: int,
        step: int = 0,
        rank: int = 0,
        processes: int = 1,
        order: Order | None = None,
    ) -> None:
        self._order = order
        self._rows, self._batch_size, self._seed = rows, batch_size, seed
        self._rank, self._processes = rank, processes
        self._epoch, self._done = divmod(step, len(self))

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch."""
        if epoch != self._epoch:
            self._epoch, self._done = epoch, 0

    @property
    def step(self) -> int:
        """Training steps done before the first batch that comes."""
        return self._epoch * len(self) + self._done

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return -(-self._rows // self._batch_size)

    def __iter__(self) -> Iterator[Share]:
        generator = torch.Generator().manual_seed(mixed_seed(self._seed, self._epoch))
        if self._order is None:
            rows = torch.randperm(self._rows, generator=generator)
        else:
            rows = self._order(self._epoch, generator)
        for batch in torch.split(rows, self._batch_size)[self._done :]:
            yield Share.of(batch, self._rank, self._processes)


class Stretches(Sampler[list[Share]]):
    """Batches between which nothing but training happens, handed to Lightning together: what it
    does around a batch takes as long as a small network's whole step.

    It has no length, because epochs are not cut into as many stretches each; Lightning then sees by
    itself when an epoch is over.

    Args:
        shares: the batches.
        pauses_after: whether something else than training happens after so many steps.
        longest: batches of a stretch at most; a run that is asked to stop does so after one.
    """

    def __init__(
        self, shares: ShuffledRows, pauses_after: Callable[[int], bool], longest: int
    ) -> None:
        self._shares, self._pauses_after, self._longest = shares, pauses_after, longest

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self._shares.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[Share]]:
        stretch: list[Share] = []
        for step, share in enumerate(self._shares, start=self._shares.step + 1):
            stretch.append(share)
            if len(stretch) == self._longest or self._pauses_after(step):
                yield stretch
                stretch = []
        if stretch:
            yield stretch


class TrainingRows(Dataset[list[Batch]]):
    """The rows of a split, a stretch of batches at a time."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __getitem__(self, stretch: Sequence[Share]) -> list[Batch]:
        return [self._rows[share] for share in stretch]


class RowsInOrder(Sampler[Share]):
    """Every row once, first to last, cut into batches, which processes take in turn: a batch is
    the same on any number of them."""

    def __init__(self, rows: int, batch_size: int, rank: int = 0, processes: int = 1) -> None:
        self._rows, self._batch_size = rows, batch_size
        self._rank, self._processes = rank, processes

    def __len__(self) -> int:
        batches = -(-self._rows // self._batch_size)
        return len(range(self._rank, batches, self._processes))

    def __iter__(self) -> Iterator[Share]:
        batches = torch.split(torch.arange(self._rows), self._batch_size)
        for batch in batches[self._rank :: self._processes]:
            yield Share.of(batch, 0, 1)


def _same(batch: Any) -> Any:
    return batch


class ImbalancedDataModule(pl.LightningDataModule):
    """The training subset, the balanced validation set and the untouched test set of one run.

    Images that fit in memory live on the compute device and a batch is gathered by index; images
    on disk are read by loader workers. Both give the same batches for the same seeds.

    Args:
        source: where samples come from.
        subset: which of them are kept.
        batch_size: training samples of a batch.
        evaluation_batch_size: samples of a batch when curves are evaluated.
        order_seed: seed of the order of training samples.
        workers: loader processes for images on disk.
        processes: that train together.
        order: which training rows an epoch has; None for every row once.

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
    ) -> None:
        super().__init__()
        self._order = order
        self.source, self.subset = source, subset
        self._batch_size, self._evaluation_batch_size = batch_size, evaluation_batch_size
        self._order_seed, self._workers = order_seed, workers
        self._processes = processes
        self._rows: dict[str, Rows] = {}
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

    def train_dataloader(self) -> DataLoader[list[Batch]]:
        """Training batches in random order, in stretches; augmenting is the classifier's part."""
        rows = self._rows["train"]
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
        together = self._processes.count == 1 and not rows.streamed
        stretches = Stretches(shares, self.pauses_after, LONGEST_STRETCH if together else 1)
        return self._loader(TrainingRows(rows), stretches, rows.streamed)

    def evaluation_dataloader(
        self, split: str, per_class: int | None = None, shared: bool = False
    ) -> DataLoader[Batch]:
        """A split in fixed order, each sample once: for `train` the clean pass.

        Args:
            split: train, val or test.
            per_class: the first so many samples of each class only; None for all.
            shared: whether the processes that train together take the batches in turn, each of
                them in one process; otherwise this one takes all.
        """
        rows = self._rows[split]
        if per_class is not None:
            rows = Rows(rows.images, rows.labels, self._first_of_each_class(split, per_class))
        turn = (self._processes.rank, self._processes.count) if shared else (0, 1)
        order = RowsInOrder(len(rows), self._evaluation_batch_size, *turn)
        return self._loader(rows, order, rows.streamed)

    def labels(self, split: str) -> NDArray[np.int64]:
        """The labels of a split's rows, shape [rows]."""
        pool = self.source.test_labels if split == "test" else self.source.train_labels
        return np.asarray(pool[self._rows[split].subset.numpy()])

    def take(self, split: str, rows: NDArray[np.int64]) -> Batch:
        """Some rows of a split, on the device that trains, or on the CPU for images on disk."""
        chosen = torch.from_numpy(rows)
        return self._rows[split][Share(chosen, 0, len(chosen), len(chosen))]

    def _first_of_each_class(self, split: str, per_class: int) -> NDArray[np.int64]:
        subset, labels = self._rows[split].subset.numpy(), self.labels(split)
        by_class = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[by_class], labels[by_class], side="left")
        place = np.arange(len(labels)) - starts
        return np.asarray(subset[np.sort(by_class[place < per_class])])

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.evaluation_dataloader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.evaluation_dataloader("test")

    def _loader(self, rows: Dataset[Any], order: Sampler[Any], streamed: bool) -> DataLoader[Any]:
        # The sampler gives whole batches of rows, so automatic batching is off. The loader draws
        # a seed at each start; from a generator of its own, so that training's stream is untouched.
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
