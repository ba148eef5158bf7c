"""Which rows of the training subset an epoch trains on, and in which order.

Each is built as `target(labels, batch_size, **keys)` from the labels of the rows. Its length is the
number of rows of an epoch, the same for every epoch. `sampler(epoch, max_epochs, generator)` gives
the rows of an epoch and depends on these arguments alone, so that a resumed run and all processes
of one training draw the same rows. Rows of a class are taken in turn: a row is not repeated within
an epoch before all rows of its class have been taken.
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
        drawn = self._draw(_whole_numbers(shares / shares.sum() * len(self), generator), generator)
        return drawn[torch.randperm(len(drawn), generator=generator)]

    def shares(self, epoch: int, max_epochs: int) -> Tensor:
        """The share of each class in the epoch, up to a common factor; float64, shape [classes]."""
        raise NotImplementedError

    def _draw(self, wanted: Tensor, generator: Generator) -> Tensor:
        """The wanted number of rows of each class, one class after the other."""
        drawn = []
        for rows, count in zip(self._of_class, wanted.tolist(), strict=True):
            times, more = divmod(count, len(rows))
            drawn += [
                rows.repeat(times),
                rows[torch.randperm(len(rows), generator=generator)[:more]],
            ]
        return torch.cat(drawn)


def _whole_numbers(expected: Tensor, generator: Generator) -> Tensor:
    """Whole numbers with the same sum. Over many epochs the mean of each is its expected number
    (systematic rounding)."""
    ends = expected.cumsum(0)
    ends[-1] = ends[-1].round()
    ends = (ends + torch.rand(1, dtype=ends.dtype, generator=generator)).floor().long()
    return torch.diff(ends, prepend=torch.zeros(1, dtype=torch.long))


class InstanceBalanced(Sampler):
    """Every row once, in random order: the order without a sampler."""

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
        deferred_until: see `deferral.first_epoch`; before that, an epoch has every row once. A
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
    """As many rows of each class as the largest class has (random oversampling, Buda et al. 2018):
    an epoch has C n_max rows, and each row of class c is in it n_max / n_c times, rounded up or
    down.

    An epoch has more steps than without the sampler; with `trainer.updates=imbalanced` the
    training has as many steps as without it.
    """

    def __init__(self, labels: Tensor, batch_size: int) -> None:
        counts = torch.bincount(labels)
        super().__init__(labels, int(counts.max()) * len(counts))

    def shares(self, epoch: int, max_epochs: int) -> Tensor:
        return torch.ones_like(self.counts)


class Undersampling(Sampler):
    """As many rows of each class as the smallest class has: an epoch has C n_min rows, none twice,
    and each epoch draws other rows. So every row is seen at some time. With one fixed draw most of
    the data would never be seen; `control=same_minority` measures that case.

    An epoch has fewer steps than without the sampler; with `trainer.updates=imbalanced` the
    training has as many steps as without it.
    """

    def __init__(self, labels: Tensor, batch_size: int) -> None:
        counts = torch.bincount(labels)
        super().__init__(labels, int(counts.min()) * len(counts))

    def shares(self, epoch: int, max_epochs: int) -> Tensor:
        return torch.ones_like(self.counts)


class EveryClassInEachBatch(Sampler):
    """Every batch holds every class, as gradients of single classes need it (Francazi et al., ICML
    2023). An epoch can have rows of rare classes more than once.

    An epoch has as many batches as without the sampler, and all of them are full.

    Args:
        labels: of each row, shape [rows].
        batch_size: rows of a batch.
        equal: whether each class has the same number of rows, the paper's `+O`. If not, a batch has
            at least one row of each class, and the other rows follow the shares of the data.

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
        drawn = self._draw(_whole_numbers(expected, generator), generator)
        # Rows are dealt to the batches in turn, like cards, one class after the other: for each
        # class the numbers of rows in two batches differ by at most one.
        dealt = drawn.view(batch_size, self._batches).T
        places = torch.rand(dealt.shape, generator=generator).argsort(dim=1)
        hands = dealt.gather(1, places)
        return hands[torch.randperm(self._batches, generator=generator)].flatten()


class Stages:
    """The rows of a whole training: first those of a sampler, then those of a second stage. Every
    epoch has as many rows as the first sampler's: an epoch of a second sampler that draws more is
    cut off, and one that draws fewer is followed by another.

    Args:
        first: the sampler of the first stage.
        max_epochs: epochs of the first stage; all that follow are the second's.
        second: the sampler of the second stage; None without one.
        second_epochs: epochs of the second stage.
    """

    def __init__(
        self,
        first: Sampler,
        max_epochs: int,
        second: Sampler | None = None,
        second_epochs: int = 0,
    ) -> None:
        self._first, self._max_epochs = first, max_epochs
        self._second, self._second_epochs = second, second_epochs

    def __len__(self) -> int:
        """Rows of an epoch."""
        return len(self._first)

    def __call__(self, epoch: int, generator: Generator) -> Tensor:
        """The rows of an epoch, shape [len(self)]."""
        if self._second is None or epoch < self._max_epochs:
            return self._first(epoch, self._max_epochs, generator)
        own = epoch - self._max_epochs
        times = -(-len(self) // len(self._second))
        drawn = [self._second(own, self._second_epochs, generator) for _ in range(times)]
        return torch.cat(drawn)[: len(self)]
