"""Training images mixed in pairs, and their labels with them.

Each is built as `target(counts, **keys)` and called on a batch of normalised images. A mixed image
has two labels, each with a share. The loss is computed for both labels and weighted by the shares,
so mixing works with every loss that has the method `each`. Where several processes train, each
mixes its own part of a batch.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Mixed(NamedTuple):
    """A mixed batch.

    Attributes:
        images: float [batch, channels, height, width].
        partners: the second label of each, shape [batch].
        own: the share of the first label, shape [batch]; that of the second is 1 - own.
    """

    images: Tensor
    partners: Tensor
    own: Tensor


class Mixup:
    """x = l x_i + (1 - l) x_j, labels l and 1 - l, with one l ~ Beta(alpha, alpha) a batch (Zhang
    et al., ICLR 2018).

    Args:
        counts: training samples of each class, shape [classes]; not used here.
        alpha: near 0 almost nothing is mixed; at 1, l is uniform between 0 and 1.

    Raises:
        ValueError: an alpha that is not positive.
    """

    def __init__(self, counts: Tensor, alpha: float = 1.0) -> None:
        if alpha <= 0:
            raise ValueError(f"alpha={alpha} must be positive")
        self._alpha = alpha

    def __call__(self, images: Tensor, labels: Tensor, seed: int) -> Mixed:
        """A batch mixed with itself in another order.

        Args:
            images: float [batch, channels, height, width].
            labels: shape [batch].
            seed: of the order and of l; both are drawn on the CPU, so they do not depend on the
                device.
        """
        random = np.random.RandomState(seed)
        share = float(random.beta(self._alpha, self._alpha))
        order = torch.from_numpy(random.permutation(len(labels)))
        order = order.to(labels.device, non_blocking=True)
        mixed, share = self._mix(images, images[order], share, random)
        partners = labels[order]
        return Mixed(mixed, partners, self._own(labels, partners, share))

    def _mix(
        self, images: Tensor, others: Tensor, share: float, random: np.random.RandomState
    ) -> tuple[Tensor, float]:
        """The mixed images, and the share of the first images in them."""
        return share * images + (1 - share) * others, share

    def _own(self, labels: Tensor, partners: Tensor, share: float) -> Tensor:
        """The share of each first label, shape [batch]."""
        return torch.full(labels.shape, share, device=labels.device)


class Remix(Mixup):
    """Mixup that gives the whole label to the rarer class where the counts differ much (Chou et
    al., ECCV workshops 2020). With l the share of sample i in the image, its label has the share

    0 if n_i / n_j >= kappa and l < tau; 1 if n_i / n_j <= 1 / kappa and 1 - l < tau; else l.

    Args:
        counts: training samples of each class, shape [classes].
        alpha: see `Mixup`.
        kappa: the smallest ratio of counts at which the rarer class gets the label.
        tau: the label is moved only where the more frequent class's share is below tau.
    """

    def __init__(
        self, counts: Tensor, alpha: float = 1.0, kappa: float = 3.0, tau: float = 0.5
    ) -> None:
        super().__init__(counts, alpha)
        self._counts, self._kappa, self._tau = counts.float(), kappa, tau

    def _own(self, labels: Tensor, partners: Tensor, share: float) -> Tensor:
        own = super()._own(labels, partners, share)
        self._counts = self._counts.to(labels.device)
        ratio = self._counts[labels] / self._counts[partners]
        if share < self._tau:
            own = torch.where(ratio >= self._kappa, 0.0, own)
        if 1 - share < self._tau:
            own = torch.where(ratio <= 1 / self._kappa, 1.0, own)
        return own


class CutMix(Mixup):
    """A rectangle of sample j, 1 - l of the area, is pasted into sample i; each label has the share
    of the area that shows its sample (Yun et al., ICCV 2019). All samples of a batch have the same
    rectangle, which is cut off at the border of the image.

    Args:
        counts: training samples of each class; not used here.
        alpha: see `Mixup`.
        probability: that a batch is mixed at all, `cutmix_prob` in the authors' code.

    Raises:
        ValueError: an alpha that is not positive, or a probability that is not from 0 to 1.
    """

    def __init__(self, counts: Tensor, alpha: float = 1.0, probability: float = 1.0) -> None:
        super().__init__(counts, alpha)
        if not 0 <= probability <= 1:
            raise ValueError(f"probability={probability} must be from 0 to 1")
        self._probability = probability

    def _mix(
        self, images: Tensor, others: Tensor, share: float, random: np.random.RandomState
    ) -> tuple[Tensor, float]:
        if self._probability < 1 and random.uniform() >= self._probability:
            return images, 1.0
        height, width = images.shape[-2:]
        side = (1 - share) ** 0.5
        middle = random.randint(height), random.randint(width)
        (top, bottom), (left, right) = (
            (
                max(centre - int(side * length) // 2, 0),
                min(centre + int(side * length) // 2, length),
            )
            for centre, length in zip(middle, (height, width), strict=True)
        )
        mixed = images.clone()
        mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
        return mixed, 1 - (bottom - top) * (right - left) / (height * width)
