"""From when on a deferred part of a method acts, for any length of training (Cao et al. 2019)."""

from skewlab.errors import ConfigError


def first_epoch(deferred_until: float, max_epochs: int) -> int:
    """The first epoch, counted from 0, in which a deferred part acts.

    Args:
        deferred_until: below 1 a share of the training: 0.8 is epoch 160 of 200, as in the paper,
            and epoch 24 of 30; from 1 on an epoch. 0 defers nothing.
        max_epochs: length of training.
    """
    return round(deferred_until * max_epochs) if deferred_until < 1 else round(deferred_until)


def check(deferred_until: float, key: str, max_epochs: int) -> None:
    """Refuse a deferral that never ends.

    Raises:
        ConfigError: a negative one, or one past the end of the training.
    """
    if deferred_until < 0 or first_epoch(deferred_until, max_epochs) >= max_epochs:
        raise ConfigError(
            f"{key}.deferred_until={deferred_until:g}: must be a share of the training, such as "
            f"0.8, or an epoch below {max_epochs}, its length; later it would never act"
        )
