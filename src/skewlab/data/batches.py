"""What a network sees at once: which samples make a batch, in which order, for which process."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from skewlab.data.folder import FolderImages
from skewlab.seeding import mixed_seed


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
