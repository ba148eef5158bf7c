"""What a network sees at once: which samples make a batch, in which order, for which process."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from skewlab.data.recipes import PerImage
from skewlab.data.sources import Inputs
from skewlab.seeding import mixed_seed


class Batch(NamedTuple):
    """One batch, or a process's share of it.

    Attributes:
        images: [batch, ...], as they are stored; uint8 [batch, height, width, channels] for
            images. Training images are augmented.
        labels: int64 [batch].
        rows: int64 [batch]; a row names a sample for as long as the subset is the same.
        number: which batch of the whole training it is, from 0; 0 in an evaluation.
        first: the place of the share's first sample in the whole batch.
        counted: how many samples of the share count: all, or none where a share would be empty.
        whole: samples of the whole batch.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    number: int
    first: int
    counted: int
    whole: int


class Share(NamedTuple):
    """The part of a batch that one process gets; attributes as of `Batch`.

    `rows` is never empty: where a batch has fewer samples than there are processes, some of these
    get a sample that does not count.
    """

    rows: Tensor
    number: int
    first: int
    counted: int
    whole: int

    @classmethod
    def of(cls, batch: Tensor, number: int = 0, rank: int = 0, processes: int = 1) -> "Share":
        """The share of the process `rank` of so many."""
        if processes == 1:
            return cls(batch, number, 0, len(batch), len(batch))
        parts = torch.tensor_split(batch, processes)
        counted, first = len(parts[rank]), sum(len(part) for part in parts[:rank])
        if not counted:
            return cls(batch[:1], number, 0, 0, len(batch))
        return cls(parts[rank], number, first, counted, len(batch))


class Rows(Dataset[Batch]):
    """Some samples of a source, read a whole batch at a time.

    Args:
        images: all inputs, as a tensor on the device they are used on, or on disk or in an array
            that loader workers read.
        labels: all labels, shape [samples], on that same device, or the CPU for workers.
        subset: which samples these are, shape [rows], on the CPU.
        transform: what workers do to each image; None for nothing.
    """

    def __init__(
        self,
        images: Tensor | Inputs,
        labels: Tensor,
        subset: NDArray[np.int64],
        transform: PerImage | None = None,
    ) -> None:
        self._images, self._labels = images, labels
        self._subset = torch.from_numpy(subset)
        self._transform = transform

    def __len__(self) -> int:
        return len(self._subset)

    def __getitems__(self, share: Share) -> Batch:
        """The samples of a share: PyTorch's loaders ask for a batch's samples together."""
        kept = self._subset[share.rows]
        if not isinstance(self._images, Tensor):
            images = self._images[kept.numpy()]
            if self._transform is not None:
                images = self._transform(images, share.number, share.first)
            return Batch(torch.from_numpy(images), self._labels[kept], *share)
        kept = kept.to(self._labels.device, non_blocking=True)
        # Several times as fast as indexing by brackets, which goes pixel by pixel.
        return Batch(self._images.index_select(0, kept), self._labels[kept], *share)

    def only(self, rows: NDArray[np.int64]) -> "Rows":
        """Some of these rows, which are numbered anew."""
        return Rows(self._images, self._labels, self._subset.numpy()[rows])


class EpochRows(Protocol):
    """Which rows an epoch trains on, and in which order."""

    def __len__(self) -> int:
        """Rows of an epoch, the same number in each."""

    def __call__(self, epoch: int, generator: torch.Generator) -> Tensor:
        """The rows of an epoch, int64; a function of the arguments alone."""


class EveryRowOnce:
    """Every row once an epoch, in random order.

    Args:
        rows: how many there are.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __call__(self, epoch: int, generator: torch.Generator) -> Tensor:
        return torch.randperm(self._rows, generator=generator)


class TrainingBatches(Sampler[Share]):
    """The rows of an epoch, in an order fixed by (seed, epoch), cut into batches; of each batch,
    the share of one process.

    Args:
        rows: of an epoch.
        batch_size: rows of a whole batch; the last one of an epoch may be smaller.
        seed: of the order.
        rank, processes: whose share it is, and of how many.
        drop_last: whether a smaller last batch of an epoch is left out.
        repeated: whether every epoch repeats the first one, as `trainer.overfit_batches` wants it.
        current_epoch: the epoch that is trained; None to be told by `set_epoch`. In a run with
            `max_steps` that goes on from the end of an epoch, Lightning tells one too many.

    Attributes:
        epoch: the epoch that the next batch is of.
        done: batches of this epoch that were handed out.
    """

    def __init__(
        self,
        rows: EpochRows,
        batch_size: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        drop_last: bool = False,
        repeated: bool = False,
        current_epoch: Callable[[], int] | None = None,
    ) -> None:
        self._rows, self._batch_size, self._seed = rows, batch_size, seed
        self._rank, self._processes, self._repeated = rank, processes, repeated
        self._drop_last = drop_last
        self._current_epoch = current_epoch
        self.epoch, self.done = 0, 0

    @property
    def sampler(self) -> "TrainingBatches":
        """Itself: Lightning calls `set_epoch` on a batch sampler's sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        if self._current_epoch is not None:
            epoch = self._current_epoch()
        if epoch != self.epoch:
            self.epoch, self.done = epoch, 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        whole, rest = divmod(len(self._rows), self._batch_size)
        return whole + bool(rest and not self._drop_last)

    def __iter__(self) -> Iterator[Share]:
        epoch = 0 if self._repeated else self.epoch
        generator = torch.Generator().manual_seed(mixed_seed(self._seed, epoch))
        batches = torch.split(self._rows(epoch, generator), self._batch_size)
        for place in range(self.done, len(self)):
            number = self.epoch * len(self) + place
            yield Share.of(batches[place], number, self._rank, self._processes)


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
            yield Share.of(batch)


class BatchLoader(DataLoader[Batch]):
    """A loader of whole batches.

    Args:
        rows: of a split.
        batches: which rows make the batches.
        options: of `DataLoader`.
    """

    def __init__(self, rows: Rows, batches: Sampler[Share], **options: Any) -> None:
        super().__init__(rows, batch_sampler=cast(Any, batches), collate_fn=unchanged, **options)
        self._rows, self._shares = rows, batches

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        if self.num_workers:
            yield from super().__iter__()
        else:  # what PyTorch does around a batch takes longer than to cut it out of memory
            yield from map(self._rows.__getitems__, self._shares)


class TrainingLoader(BatchLoader):
    """A loader of training batches that can be resumed within an epoch.

    Lightning keeps its state in checkpoints, as that of any loader with `state_dict` and
    `load_state_dict`.
    """

    def __init__(self, rows: Rows, batches: TrainingBatches, **options: Any) -> None:
        super().__init__(rows, batches, **options)
        self._batches = batches

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        # Workers read ahead of what is trained on, so batches are counted as they are handed out.
        for batch in super().__iter__():
            self._batches.done += 1
            yield batch
        self._batches.done = 0

    def state_dict(self) -> dict[str, int]:
        """Where training is."""
        return {"epoch": self._batches.epoch, "done": self._batches.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self._batches.epoch, self._batches.done = state["epoch"], state["done"]


def unchanged(batch: Any) -> Any:
    """A loader's `collate_fn` where samples come as a batch."""
    return batch
