"""Rules that change a trained network's logits, each with one strength, tau.

Each is built as `target(counts, **keys)`. Which tau of its grid is used is chosen on the balanced
val split; test has no part in it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Outputs(NamedTuple):
    """What a trained network says of some samples.

    Attributes:
        logits: shape [samples, classes].
        features: before the head, shape [samples, width]; None where the network has none.
        weight: of the head, shape [classes, width]; None likewise.
    """

    logits: Tensor
    features: Tensor | None
    weight: Tensor | None


class PostHoc:
    """A rule and the strengths to choose from.

    Args:
        counts: training samples of each class, shape [classes].
        grid: the values of tau.

    Raises:
        ValueError: an empty grid.

    Attributes:
        needs_head: whether it needs features and the weights of a linear head.
    """

    needs_head = False

    def __init__(self, counts: Tensor, grid: Sequence[float]) -> None:
        if not len(grid):
            raise ValueError("grid=[] must have at least one value of tau")
        self.counts, self.grid = counts.double(), [float(tau) for tau in grid]

    def __call__(self, outputs: Outputs, tau: float) -> Tensor:
        """The changed logits, shape [samples, classes]."""
        raise NotImplementedError


class LogitAdjustment(PostHoc):
    """z_c - tau log pi_c, with pi the training prior (Menon et al., ICLR 2021); 0 changes
    nothing."""

    def __call__(self, outputs: Outputs, tau: float) -> Tensor:
        prior = (self.counts / self.counts.sum()).log()
        return outputs.logits - tau * prior


class TauNormalisation(PostHoc):
    """w_c . f / ||w_c||^tau, without the bias (Kang et al., ICLR 2020): the head's weights are
    longer for frequent classes; 0 leaves their lengths, 1 makes them equal."""

    needs_head = True

    def __call__(self, outputs: Outputs, tau: float) -> Tensor:
        assert outputs.features is not None
        assert outputs.weight is not None
        lengths = outputs.weight.norm(dim=1, keepdim=True).clamp_min(1e-12)
        logits: Tensor = outputs.features @ (outputs.weight / lengths**tau).T
        return logits


def recalls(logits: Tensor, labels: Tensor) -> NDArray[np.float64]:
    """Recall of each class, shape [classes]; NaN for one without a sample."""
    classes = logits.shape[1]
    hits = torch.bincount(labels[logits.argmax(dim=1) == labels], minlength=classes)
    with np.errstate(invalid="ignore"):
        return (hits.double() / torch.bincount(labels, minlength=classes)).numpy()


def choose(recall: Sequence[NDArray[np.float64]]) -> int:
    """The place in the grid with the best mean recall, the first of equals.

    Args:
        recall: of each value of tau on the val split, shape [classes] each.
    """
    return int(np.argmax([np.nanmean(one) for one in recall]))
