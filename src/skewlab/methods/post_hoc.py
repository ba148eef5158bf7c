"""Rules that change the logits of a trained network, each with one strength, tau.

Each is built as `target(counts, **keys)`. The tau of its grid that has the best balanced accuracy
on val is chosen, unless `tau` is given; the test split is not used for the choice.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class LogitsAndHead(NamedTuple):
    """Logits and features of some samples, and the weights of the head that links them.

    Attributes:
        logits: shape [samples, classes].
        features: input of the head, shape [samples, width]; None for a network without parts.
        head_weight: weights of the head, shape [classes, width]; None for a network without parts.
    """

    logits: Tensor
    features: Tensor | None
    head_weight: Tensor | None


class PostHoc:
    """A rule and the values of tau to choose from.

    Args:
        counts: training samples of each class, shape [classes].
        grid: the values of tau.
        tau: the only value, which needs no val; None to choose from the grid.

    Raises:
        ValueError: an empty grid.

    Attributes:
        needs_head: whether it needs features and the weights of a linear head.
    """

    needs_head = False

    def __init__(self, counts: Tensor, grid: Sequence[float], tau: float | None = None) -> None:
        if not len(grid):
            raise ValueError("grid=[] must have at least one value of tau")
        self.counts = counts.double()
        self.grid = [float(one) for one in (grid if tau is None else [tau])]

    def __call__(self, given: LogitsAndHead, tau: float) -> Tensor:
        """The changed logits, shape [samples, classes]."""
        raise NotImplementedError


class PostHocLogitAdjustment(PostHoc):
    """z_c - tau log pi_c, with pi the training prior (Menon et al., ICLR 2021); 0 changes
    nothing."""

    def __call__(self, given: LogitsAndHead, tau: float) -> Tensor:
        prior = (self.counts / self.counts.sum()).log()
        return given.logits - tau * prior


class TauNormalisation(PostHoc):
    """w_c . f / ||w_c||^tau, without the bias (Kang et al., ICLR 2020): the head's weights are
    longer for frequent classes; tau 0 leaves the lengths, tau 1 makes them equal."""

    needs_head = True

    def __call__(self, given: LogitsAndHead, tau: float) -> Tensor:
        assert given.features is not None
        assert given.head_weight is not None
        lengths = given.head_weight.norm(dim=1, keepdim=True).clamp_min(1e-12)
        logits: Tensor = given.features @ (given.head_weight / lengths**tau).T
        return logits


def choose(recall: Sequence[NDArray[np.float64]]) -> int:
    """The index of the grid's value with the best mean recall; of equal ones the first.

    Args:
        recall: for each value of tau the recall of each class on val, shape [classes]; NaN for an
            absent class, which is left out of the mean.
    """
    return int(np.argmax([np.nanmean(one) for one in recall]))
