"""How well scores rank the samples of one class above all others. Needs NumPy only.

A class is held against the rest: its samples are the positives, all others the negatives. A sample
is predicted as positive where its score is at least a threshold. What has no positives or no
negatives, or a score that is no number, is NaN.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Scores = NDArray[np.floating]

RANKINGS = ("auroc", "average_precision")
# Classes that are taken out of the scores together: as many of float32 as a line of cache holds.
TOGETHER = 16


class Ranked(NamedTuple):
    """The thresholds of one class at which a positive is found, from the lowest to the highest.

    Attributes:
        score: of each positive, ascending, shape [positives].
        true_positives: positives with at least this score, shape [positives].
        false_positives: negatives with at least this score, shape [positives].
        tied: negatives with just this score, shape [positives].
        negatives: how many there are.
    """

    score: Scores
    true_positives: IntArray
    false_positives: IntArray
    tied: IntArray
    negatives: int

    @property
    def recall(self) -> FloatArray:
        """Share of the positives that are found, at each threshold."""
        return np.asarray(self.true_positives / len(self.score))

    @property
    def precision(self) -> FloatArray:
        """Share of positives among the samples that are predicted so, at each threshold."""
        return np.asarray(self.true_positives / (self.true_positives + self.false_positives))

    @property
    def f1(self) -> FloatArray:
        """The harmonic mean of precision and recall, at each threshold."""
        predicted = self.true_positives + self.false_positives
        return np.asarray(2 * self.true_positives / (len(self.score) + predicted))

    @property
    def false_positive_rate(self) -> FloatArray:
        """Share of the negatives that are predicted as positive, at each threshold."""
        return np.asarray(self.false_positives / self.negatives)

    @property
    def auroc(self) -> float:
        """The area under the ROC curve: how often a positive has a higher score than a negative, a
        tie counting one half (Mann and Whitney)."""
        above = 2 * (self.negatives - self.false_positives) + self.tied
        return float(above.sum() / (2 * len(self.score) * self.negatives))

    @property
    def average_precision(self) -> float:
        """The sum over thresholds of the precision, times by how much the recall grows there; as
        in scikit-learn, without interpolation."""
        return float(self.precision.mean())


def ranked(positives: Scores, negatives: Scores) -> Ranked | None:
    """The thresholds of a class; None where it has no positives or no negatives, or a score is no
    number.

    Args:
        positives, negatives: scores, in any order, shapes [positives] and [negatives].

    Example:
        >>> found = ranked(np.array([0.9, 0.4]), np.array([0.4, 0.1]))
        >>> found.auroc, round(found.average_precision, 4)
        (0.875, 0.8333)
    """
    if not len(positives) or not len(negatives):
        return None
    positives, negatives = np.sort(positives), np.sort(negatives)
    if np.isnan(positives[-1]) or np.isnan(negatives[-1]):  # they are sorted to the end
        return None
    below = np.searchsorted(negatives, positives, "left")
    return Ranked(
        positives,
        len(positives) - np.searchsorted(positives, positives, "left"),
        len(negatives) - below,
        np.searchsorted(negatives, positives, "right") - below,
        len(negatives),
    )


def held_against_rest(
    scores: Sequence[Scores], labels: IntArray
) -> Iterator[tuple[Scores, Scores]]:
    """The scores of the positives and of the negatives of each class, in label order.

    Args:
        scores: in parts, each of shape [samples, classes]: the higher in its column, the more a
            sample seems to be of the class. The parts are not copied as a whole.
        labels: of all parts together, shape [samples].
    """
    classes = scores[0].shape[1]
    for first in range(0, classes, TOGETHER):
        some = np.concatenate([part[:, first : first + TOGETHER].T for part in scores], axis=1)
        for label, column in enumerate(some, start=first):
            positive = labels == label
            yield column[positive], column[~positive]


def one_versus_rest(scores: Sequence[Scores], labels: IntArray) -> dict[str, FloatArray]:
    """`auroc` and `average_precision` of each class, shape [classes]; arguments as of
    `held_against_rest`."""
    found = [ranked(*sides) for sides in held_against_rest(scores, labels)]
    return {
        name: np.asarray([np.nan if one is None else getattr(one, name) for one in found])
        for name in RANKINGS
    }


# What a threshold is chosen for.
CHOICES = ("f1", "recall_at_precision", "precision_at_recall")


def chosen(found: Ranked, at_precision: float, at_recall: float) -> dict[str, int | None]:
    """Places of thresholds in `found`; None where no threshold does it.

    - f1: the largest F1. - recall_at_precision: the largest recall with at least this precision.
    - precision_at_recall: the largest precision with at least this recall.
    """
    precise = np.flatnonzero(found.precision >= at_precision)
    recalled = found.recall >= at_recall
    return {
        "f1": int(found.f1.argmax()),
        "recall_at_precision": int(precise[0]) if len(precise) else None,
        "precision_at_recall": int(np.where(recalled, found.precision, -1.0).argmax()),
    }


DECIDED = ("recall", "precision", "f1", "balanced_accuracy", "matthews_correlation")


def decided(positives: Scores, negatives: Scores, threshold: float) -> dict[str, float]:
    """What a class's samples get that are predicted as positive from a threshold on.

    Returns:
        `recall`, `precision` (0 where nothing is predicted as positive), `f1`,
        `balanced_accuracy` and `matthews_correlation`; NaN for a class without positives or
        negatives, and without a threshold.
    """
    if np.isnan(threshold) or not len(positives) or not len(negatives):
        return dict.fromkeys(DECIDED, np.nan)
    true, false = int((positives >= threshold).sum()), int((negatives >= threshold).sum())
    missed, rest = len(positives) - true, len(negatives) - false
    return {
        "recall": true / len(positives),
        "precision": true / max(true + false, 1),
        "f1": 2 * true / (len(positives) + true + false),
        "balanced_accuracy": (true / len(positives) + rest / len(negatives)) / 2,
        "matthews_correlation": matthews_correlation(true, false, missed, rest),
    }


def matthews_correlation(true: float, false: float, missed: float, rest: float) -> float:
    """The correlation of predicted and true classes (Matthews 1975); 0 where either is constant.

    Args:
        true, false: samples predicted as positive that are so, and that are not.
        missed, rest: samples predicted as negative that are positive, and that are not.
    """
    product = (true + false) * (true + missed) * (rest + false) * (rest + missed)
    return (true * rest - false * missed) / product**0.5 if product else 0.0
