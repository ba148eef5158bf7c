"""The epoch from which a deferred part of a method acts, for any length of training (Cao et al.
2019)."""

import math

from skewlab.errors import ConfigError


def first_epoch(deferred_until: float, max_epochs: int) -> int:
    """The first epoch, counted from 0, in which a deferred part acts. The drops of the schedule
    `multistep` are at the same epochs for the same values.

    Args:
        deferred_until: a value below 1 is a share of the training, rounded down to a whole epoch
            but at least to epoch 1: 0.8 is epoch 160 of 200, as in the paper, epoch 24 of 30, and
            epoch 1 of 2. A value from 1 on is an epoch. 0 means no deferral.
        max_epochs: length of training.
    """
    if deferred_until >= 1:
        return round(deferred_until)
    # The tiny term keeps 28.999999999999 from becoming 28.
    return max(1, math.floor(deferred_until * max_epochs + 1e-9)) if deferred_until else 0


def refuse_endless_deferral(deferred_until: float, key: str, max_epochs: int) -> None:
    """Refuse a deferral after which no epoch is left.

    Raises:
        ConfigError: a value that is negative or not finite, or one whose first epoch is past the
            end of the training.
    """
    named = f"{key}.deferred_until={deferred_until:g}"
    if not 0 <= deferred_until < math.inf:
        raise ConfigError(
            f"{named}: must be a share of the training, at least 0 and below 1, or an epoch from 1 "
            "on"
        )
    if first_epoch(deferred_until, max_epochs) < max_epochs:
        return
    share = deferred_until < 1
    asked = f"{deferred_until:g} of {max_epochs} epoch" if share else f"epoch {deferred_until:g}"
    shortest = first_epoch(deferred_until, 1) + 1
    last = max_epochs - 1
    raise ConfigError(
        f"{named}: {asked} is after the last epoch, {last} (counted from 0); use an epoch of "
        f"at most {last}, as in {key}.deferred_until={last}, or train for at least {shortest} "
        "epochs (trainer.max_epochs)"
    )
