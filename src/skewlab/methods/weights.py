"""Weights of classes: how much a sample counts in the loss.

Each is built as `target(counts, **keys)` and asked, once an epoch, for the weights of that time:
`weights(epoch, max_epochs)`, shape [classes], or None for all the same. They are scaled to a mean
of 1 over the classes, as in the papers' code; in a batch the loss is the weighted mean, the sum of
weight times loss over the sum of the weights, as `torch.nn.functional.cross_entropy` and the code
of LDAM-DRW have it, so that their scale does not change the learning rate.
"""

from torch import Tensor

from skewlab.methods import deferral


class ClassWeights:
    """Raw weights of each class, from an epoch on.

    Args:
        raw: weights up to a factor, shape [classes].
        deferred_until: see `deferral.first_epoch`; until then every sample counts the same. A
            weighting with a deferral is DRW, deferred re-weighting (Cao et al. 2019).
    """

    def __init__(self, raw: Tensor, deferred_until: float = 0.0) -> None:
        self._weights = (raw / raw.mean()).float()
        self.deferred_until = deferred_until

    def __call__(self, epoch: int, max_epochs: int) -> Tensor | None:
        """The weights of an epoch, counted from 0: float32, shape [classes], of mean 1; None where
        every sample counts the same."""
        deferred = epoch < deferral.first_epoch(self.deferred_until, max_epochs)
        return None if deferred else self._weights


class InverseFrequency(ClassWeights):
    """w_c proportional to n_c^-power: 1 for the inverse frequency, 0.5 for its root, 0 for none.

    Args:
        counts: training samples of each class, shape [classes].
        power: of the count.
        deferred_until: see `ClassWeights`.
    """

    def __init__(self, counts: Tensor, power: float = 1.0, deferred_until: float = 0.0) -> None:
        super().__init__(counts.double() ** -power, deferred_until)


class EffectiveNumber(ClassWeights):
    """w_c proportional to (1 - beta) / (1 - beta^n_c), the inverse of the effective number of
    samples (Cui et al., CVPR 2019).

    Args:
        counts: training samples of each class, shape [classes].
        beta: 0 weights all classes the same, towards 1 it is the inverse frequency.
        deferred_until: see `ClassWeights`.

    Raises:
        ValueError: a beta that is not at least 0 and below 1.
    """

    def __init__(self, counts: Tensor, beta: float = 0.9999, deferred_until: float = 0.0) -> None:
        if not 0 <= beta < 1:
            raise ValueError(f"beta={beta} must be at least 0 and below 1")
        super().__init__((1 - beta) / (1 - beta ** counts.double()), deferred_until)
