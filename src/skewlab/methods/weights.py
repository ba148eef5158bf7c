"""Class weights: how much a sample of each class counts in the loss.

Each is built as `target(counts, **keys)`. Once an epoch, `weights(epoch, max_epochs)` gives the
weights, shape [classes], or None where all classes have the same weight. Their mean over the
classes is 1, as in the papers' code.

`normalise` says what the sum of weight * loss over a batch is divided by:

- `batch_weights`, the sum of the batch's weights: the weighted mean, as in
  `torch.nn.functional.cross_entropy`, LDAM-DRW (Cao et al. 2019) and the gallery of Zhang et al.
  (2021). The scale of the weights does not change the learning rate. But a batch without a sample
  of a rare class spreads its whole weight over the others, so rare classes get less than their
  share.
- `batch_size`, the number of samples, as in Cui et al. (2019): on average every class gets its
  share. With an imbalanced set the weights of most samples are far below 1, so steps are smaller.
"""

from typing import Literal

from torch import Tensor

from skewlab.methods import deferral

Normalise = Literal["batch_weights", "batch_size"]


class ClassWeights:
    """A weight for each class, from an epoch on.

    Args:
        raw: weights up to a factor, shape [classes].
        deferred_until: see `deferral.first_epoch`; before that, every sample has the same weight.
            Weights with a deferral are DRW, deferred re-weighting (Cao et al. 2019).
        normalise: what the weighted sum over a batch is divided by, see the module's description.
    """

    def __init__(
        self, raw: Tensor, deferred_until: float = 0.0, normalise: Normalise = "batch_weights"
    ) -> None:
        self._weights = (raw / raw.mean()).float()
        self.deferred_until, self.normalise = deferred_until, normalise

    def __call__(self, epoch: int, max_epochs: int) -> Tensor | None:
        """The weights of an epoch, counted from 0: float32, shape [classes], of mean 1; None while
        they are deferred."""
        deferred = epoch < deferral.first_epoch(self.deferred_until, max_epochs)
        return None if deferred else self._weights


class InverseFrequency(ClassWeights):
    """w_c proportional to n_c^-power: 1 for the inverse frequency, 0.5 for its root, 0 for none.

    Args:
        counts: training samples of each class, shape [classes].
        power: of the count.
        deferred_until, normalise: see `ClassWeights`.
    """

    def __init__(
        self,
        counts: Tensor,
        power: float = 1.0,
        deferred_until: float = 0.0,
        normalise: Normalise = "batch_weights",
    ) -> None:
        super().__init__(counts.double() ** -power, deferred_until, normalise)


class EffectiveNumber(ClassWeights):
    """w_c proportional to (1 - beta) / (1 - beta^n_c), the inverse of the effective number of
    samples (Cui et al., CVPR 2019).

    Args:
        counts: training samples of each class, shape [classes].
        beta: 0 gives all classes the same weight; near 1 the weights are the inverse frequency.
        deferred_until, normalise: see `ClassWeights`.

    Raises:
        ValueError: beta is not at least 0 and below 1.
    """

    def __init__(
        self,
        counts: Tensor,
        beta: float = 0.9999,
        deferred_until: float = 0.0,
        normalise: Normalise = "batch_weights",
    ) -> None:
        if not 0 <= beta < 1:
            raise ValueError(f"beta={beta} must be at least 0 and below 1")
        super().__init__((1 - beta) / (1 - beta ** counts.double()), deferred_until, normalise)
