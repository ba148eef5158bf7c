"""Learning-rate schedules, as factors of the base rate for any length of training.

Each takes the time in epochs (a fraction within an epoch) and the length of training, and can be a
`scheduler._target_`.
"""

import math
from collections.abc import Sequence

from skewlab.methods import deferral


def _warm_up(epoch: float, warmup_epochs: float) -> float:
    """Linear from 0 to 1 over the first epochs."""
    return min(1.0, epoch / warmup_epochs) if warmup_epochs else 1.0


def constant(epoch: float, max_epochs: int, warmup_epochs: float = 0.0) -> float:
    """Always the base rate, after the warm-up."""
    return _warm_up(epoch, warmup_epochs)


def cosine(epoch: float, max_epochs: int, warmup_epochs: float = 0.0, final: float = 0.0) -> float:
    """Half a cosine from 1 to `final` (Loshchilov and Hutter 2017), times the warm-up."""
    fall = 0.5 * (1.0 + math.cos(math.pi * min(epoch / max_epochs, 1.0)))
    return _warm_up(epoch, warmup_epochs) * (final + (1.0 - final) * fall)


def multistep(
    epoch: float,
    max_epochs: int,
    milestones: Sequence[float] = (0.8, 0.9),
    factor: float = 0.01,
    warmup_epochs: float = 5.0,
) -> float:
    """The rate times `factor` at each milestone, times the warm-up.

    Args:
        epoch: time in epochs.
        max_epochs: length of training.
        milestones: each a share of the training below 1, or an epoch from 1 on; 0.8 and 0.9 are
            epochs 160 and 180 of the long-tail field's 200 (Cao et al. 2019). Shares are rounded as
            those of a deferred part of a method are, see `deferral.first_epoch`, so that both begin
            at the same epoch for every length.
        factor: of each milestone.
        warmup_epochs: epochs from 0 to the base rate.
    """
    passed = sum(epoch >= deferral.first_epoch(share, max_epochs) for share in milestones)
    return _warm_up(epoch, warmup_epochs) * float(factor) ** passed
