"""What a network sees at once: which samples make a batch, in which order, for which process."""

from collections.abc import Callable, Iterable, Iterator, Sequence
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
        images: [batch, height, width, channels]; uint8 as they are stored, or float32 where they
            were scaled once for all batches (see `Rows.scaled`).
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
        subset: which samples these are, shape [rows], on the CPU; None for all in their order.
    """

    def __init__(
        self,
        images: "Tensor | FolderImages",
        labels: Tensor,
        subset: NDArray[np.int64] | None = None,
    ) -> None:
        self.images, self.labels = images, labels
        self._subset = None if subset is None else torch.from_numpy(subset)

    def __len__(self) -> int:
        return len(self.labels if self._subset is None else self._subset)

    @property
    def streamed(self) -> bool:
        """Whether images are read from disk as they are needed."""
        return isinstance(self.images, FolderImages)

    def __getitem__(self, share: Share) -> Batch:
        kept = share.rows if self._subset is None else self._subset[share.rows]
        if isinstance(self.images, FolderImages):
            images = torch.from_numpy(self.images[kept.numpy()])
            return Batch(images, self.labels[kept], *share)
        kept = kept.to(self.images.device, non_blocking=True)
        # Several times as fast as the same by brackets, which goes pixel by pixel.
        return Batch(self.images.index_select(0, kept), self.labels[kept], *share)

    def only(self, rows: NDArray[np.int64]) -> "Rows":
        """Some of these rows, which are numbered anew."""
        if len(rows) == len(self):
            return self
        kept = rows if self._subset is None else self._subset.numpy()[rows]
        return Rows(self.images, self.labels, kept)

    def scaled(self, scale: Callable[[Tensor], Tensor]) -> "Rows":
        """The same rows with pixels of their own, in memory, that a network can take as they are:
        not scaled anew for every batch that they are in.

        Args:
            scale: float32 pixels of uint8 ones, one by one; see `augment.Normalise.scaled`.
        """
        whole = self[Share.of(torch.arange(len(self)), 0, 1)]
        return Rows(scale(whole.images), whole.labels)

    def between(self, share: Share) -> Batch:
        """As `self[share]`, for rows that follow one another: not copied where they lie so."""
        if self._subset is not None or isinstance(self.images, FolderImages):
            return self[share]
        own = slice(int(share.rows[0]), int(share.rows[-1]) + 1)
        return Batch(self.images[own], self.labels[own], *share)


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
    """

    def __init__(self, shares: ShuffledRows, pauses_after: Callable[[int], bool]) -> None:
        self._shares, self._pauses_after = shares, pauses_after

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self._shares.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[Share]]:
        stretch: list[Share] = []
        for step, share in enumerate(self._shares, start=self._shares.step + 1):
            stretch.append(share)
            if self._pauses_after(step):
                yield stretch
                stretch = []
        if stretch:
            yield stretch


class Stretch:
    """The batches of a stretch, each cut out of images in memory when its turn comes."""

    def __init__(self, rows: Rows, shares: Sequence[Share]) -> None:
        self._rows, self._shares = rows, shares

    def __iter__(self) -> Iterator[Batch]:
        return map(self._rows.__getitem__, self._shares)


class TrainingRows(Dataset[Iterable[Batch]]):
    """The rows of a split, a stretch of batches at a time."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __getitem__(self, shares: Sequence[Share]) -> Iterable[Batch]:
        stretch = Stretch(self._rows, shares)
        return list(stretch) if self._rows.streamed else stretch


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


class BatchesInOrder:
    """Every row once, first to last, a batch at a time: what a loader would give, for images in
    memory.

    Args:
        rows: of a split.
        order: their batches.
    """

    def __init__(self, rows: Rows, order: RowsInOrder) -> None:
        self._rows, self._order = rows, order

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Batch]:
        return map(self._rows.between, self._order)
