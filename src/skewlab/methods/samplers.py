"""Which rows of the training subset an epoch trains on, and in which order.

Each is built as `target(labels, batch_size, **keys)` from the labels of the rows, has a length
(rows of an epoch, the same in every one), and gives an epoch's rows as `sampler(epoch, max_epochs,
generator)`: a function of these alone, of which processes take shares and which a resumed run
repeats. Rows of one class are taken in turn: none comes again before all of its class have come, so
nothing is drawn with replacement that need not be.
"""

import torch
from torch import Generator, Tensor

from skewlab.methods import deferral


class Sampler:
    """Draws rows class by class.

    Args:
        labels: of each row of the training subset, shape [rows].
        rows: of an epoch.
    """

    def __init__(self, labels: Tensor, rows: int) -> None:
        self.counts = torch.bincount(labels).double()
        self._of_class = torch.split(
            torch.argsort(labels, stable=True), torch.bincount(labels).tolist()
        )
        self._rows = rows

    def __len__(self) -> int:
        """Rows of an epoch."""
        return self._rows

    def __call__(self, epoch: int, max_epochs: int, generator: Generator) -> Tensor:
        """The rows of an epoch, counted from 0; int64, shape [len(self)].

        Args:
            epoch: the epoch.
            max_epochs: length of training.
            generator: of all random numbers.
        """
        shares = self.shares(epoch, max_epochs)
        drawn = self._draw(_whole(shares / shares.sum() * len(self), generator), generator)
        return drawn[torch.randperm(len(drawn), generator=generator)]

    def shares(self, epoch: int, max_epochs: int) -> Tensor:
        """Each class's part of the epoch, up to a factor; float64, shape [classes]."""
        raise NotImplementedError

    def _draw(self, wanted: Tensor, generator: Generator) -> Tensor:
        """So many rows of each class, class after class."""
        drawn = []
        for rows, count in zip(self._of_class, wanted.tolist(), strict=True):
            times, more = divmod(count, len(rows))
            drawn += [
                rows.repeat(times),
                rows[torch.randperm(len(rows), generator=generator)[:more]],
            ]
        return torch.cat(drawn)


def _whole(expected: Tensor, generator: Generator) -> Tensor:
    """Whole numbers with the same sum, each one's mean over epochs the expected number (systematic
    rounding)."""
    ends = expected.cumsum(0)
    ends[-1] = ends[-1].round()
    ends = (ends + torch.rand(1, dtype=ends.dtype, generator=generator)).floor().long()
    return torch.diff(ends, prepend=torch.zeros(1, dtype=torch.long))


class InstanceBalanced(Sampler):
    """Every row once, in random order: what is done without a sampler."""

    def __init__(self, labels: Tensor, batch_size: int) -> None:
        super().__init__(labels, len(labels))

    def __call__(self, epoch: int, max_epochs: int, generator: Generator) -> Tensor:
        return torch.randperm(len(self), generator=generator)


class PowerOfCount(Sampler):
    """A class's part of an epoch is proportional to n_c^power: 0 is class-balanced sampling, 0.5
    square-root sampling, 1 the data's own shares (Kang et al., ICLR 2020; Mahajan et al. 2018).
    Rows of a class take turns (class-aware sampling, Shen et al., ECCV 2016).

    Args:
        labels: of each row, shape [rows].
        batch_size: not used.
        power: of the count.
        deferred_until: see `deferral.first_epoch`; until then every row comes once an epoch. A
            class-balanced sampler with a deferral is DRS, deferred re-sampling (Cao et al. 2019).
    """

    def __init__(
        self, labels: Tensor, batch_size: int, power: float = 0.0, deferred_until: float = 0.0
    ) -> None:
        super().__init__(labels, len(labels))
        self._power = power
        self.deferred_until = deferred_until

    def __call__(self, epoch: int, max_epochs: int, generator: Generator) -> Tensor:
        if epoch < deferral.first_epoch(self.deferred_until, max_epochs):
            return torch.randperm(len(self), generator=generator)
        return super().__call__(epoch, max_epochs, generator)

    def shares(self, epoch: int, max_epochs: int) -> Tensor:
        return self.counts**self._power


class ProgressivelyBalanced(Sampler):
    """From the data's own shares to equal ones: (1 - t/T) n_c / n + (t/T) / C in epoch t of T (Kang
    et al., ICLR 2020).

    Args:
        labels: of each row, shape [rows].
        batch_size: not used.
    """

    def __init__(self, labels: Tensor, batch_size: int) -> None:
        super().__init__(labels, len(labels))

    def shares(self, epoch: int, max_epochs: int) -> Tensor:
        balanced = epoch / max_epochs
        own = self.counts / self.counts.sum()
        return (1 - balanced) * own + balanced / len(own)


class Oversampling(Sampler):
    """As many rows of each class as the largest one has (random oversampling, Buda et al. 2018): an
    epoch is C n_max rows long, and a row of class c comes n_max / n_c times in it, rounded up or
    down.

    An epoch has more steps than without it: `trainer.updates=imbalanced` evens that out.
    """

    def __init__(self, labels: Tensor, batch_size: int) -> None:
        counts = torch.bincount(labels)
        super().__init__(labels, int(counts.max()) * len(counts))

    def shares(self, epoch: int, max_epochs: int) -> Tensor:
        return torch.ones_like(self.counts)


class Undersampling(Sampler):
    """As many rows of each class as the smallest one has, drawn anew each epoch, none twice: an
    epoch is C n_min rows long. Over the epochs every row comes; with one fixed draw most of the
    data would never be seen, which is what `control=same_minority` measures.

    An epoch has fewer steps than without it: `trainer.updates=imbalanced` evens that out.
    """

    def __init__(self, labels: Tensor, batch_size: int) -> None:
        counts = torch.bincount(labels)
        super().__init__(labels, int(counts.min()) * len(counts))

    def shares(self, epoch: int, max_epochs: int) -> Tensor:
        return torch.ones_like(self.counts)


class EveryClassInEachBatch(Sampler):
    """Every batch holds every class: what gradients of single classes need (Francazi et al., ICML
    2023). Rows of rare classes come more than once an epoch.

    An epoch has as many batches as without it, all of them full.

    Args:
        labels: of each row, shape [rows].
        batch_size: rows of a batch.
        equal: as many rows of each class, their `+O`; otherwise at least one row of each, and the
            rest of a batch as the data have it.

    Raises:
        ValueError: a batch is too small to hold every class.
    """

    def __init__(self, labels: Tensor, batch_size: int, equal: bool = False) -> None:
        batches = -(-len(labels) // batch_size)
        super().__init__(labels, batches * batch_size)
        self._batches, self._equal = batches, equal
        if batch_size < len(self.counts):
            raise ValueError(
                f"a batch of {batch_size} cannot hold each of {len(self.counts)} classes"
            )

    def __call__(self, epoch: int, max_epochs: int, generator: Generator) -> Tensor:
        batch_size = len(self) // self._batches
        if self._equal:
            expected = torch.full_like(self.counts, len(self) / len(self.counts))
        else:
            more = (self.counts - self._batches).clamp_min(0)
            rest = self._batches * (batch_size - len(self.counts))
            more = more / more.sum() if more.sum() else torch.full_like(more, 1 / len(more))
            expected = self._batches + rest * more
        drawn = self._draw(_whole(expected, generator), generator)
        # Dealt like cards, class after class: as many of a class in each batch, or one more.
        dealt = drawn.view(batch_size, self._batches).T
        places = torch.rand(dealt.shape, generator=generator).argsort(dim=1)
        hands = dealt.gather(1, places)
        return hands[torch.randperm(self._batches, generator=generator)].flatten()


class ClassBalanced(Sampler):
    """Class-balanced sampling with epochs of a given length: a second stage's.

    Args:
        labels: of each row, shape [rows].
        rows: of an epoch.
    """

    def shares(self, epoch: int, max_epochs: int) -> Tensor:
        return torch.ones_like(self.counts)


class Stages:
    """The order of a whole training: a sampler's, then a second stage's, class-balanced and with
    epochs of the same length.

    Args:
        labels: of each row, shape [rows].
        first: the sampler of the first stage.
        max_epochs: epochs of the first stage; all that follow are the second's.
    """

    def __init__(self, labels: Tensor, first: Sampler, max_epochs: int) -> None:
        self._first, self._max_epochs = first, max_epochs
        self._second = ClassBalanced(labels, len(first))

    def __len__(self) -> int:
        """Rows of an epoch."""
        return len(self._first)

    def __call__(self, epoch: int, generator: Generator) -> Tensor:
        """The rows of an epoch, shape [len(self)]."""
        sampler = self._first if epoch < self._max_epochs else self._second
        return sampler(epoch, self._max_epochs, generator)
