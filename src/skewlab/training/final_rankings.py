"""How the trained network ranks val and test, for `rankings.json`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from skewlab.metrics.per_class import Rankings
from skewlab.metrics.rankings import CHOICES, Ranked, chosen, decided, held_against_rest, ranked

NAME = "rankings.json"
# Thresholds of a curve that are kept, spread evenly over the positives.
POINTS = 101
CURVES = ("recall", "precision", "false_positive_rate")


def final_rankings(
    of_splits: Mapping[str, Rankings], at_precision: float, at_recall: float, most_curves: int
) -> dict[str, Any]:
    """What `rankings.json` has, besides the epoch: of val and test, and each class against the
    rest, the precision-recall and ROC curves, the recall at a precision and the reverse; and what
    test samples get at thresholds that were chosen on val.

    Args:
        of_splits: the scores of all samples of val and test, where there are both.
        at_precision: the least precision, of which the recall is told.
        at_recall: the least recall, of which the precision is told.
        most_curves: up to how many classes curves are kept.
    """
    at = {"at_precision": at_precision, "at_recall": at_recall}
    found: dict[str, Any] = {
        **at,
        **{split: _of_split(kept, at, most_curves) for split, kept in of_splits.items()},
    }
    if len(of_splits) == 2:
        thresholds = _thresholds(of_splits["val"], at)
        found["at_thresholds_of_val"] = _at(of_splits["test"], thresholds)
    return found


def _of_split(kept: Rankings, at: dict[str, float], most_curves: int) -> dict[str, Any]:
    """What `rankings.json` has of a split: lists over classes, NaN where there is nothing."""
    each = [ranked(*sides) for sides in held_against_rest(*kept.scores_and_labels())]
    of_class = np.bincount(kept.scores_and_labels()[1], minlength=len(each))
    found: dict[str, Any] = {
        "positives": of_class,
        "negatives": of_class.sum() - of_class,
        "recall_at_precision": [_at_place(one, "recall_at_precision", at) for one in each],
        "precision_at_recall": [_at_place(one, "precision_at_recall", at) for one in each],
    }
    if len(each) <= most_curves:
        found["curves"] = [None if one is None else _curve(one) for one in each]
    return found


def _at_place(found: Ranked | None, choice: str, at: dict[str, float]) -> float:
    """`recall_at_precision` or `precision_at_recall` of a class."""
    place = None if found is None else chosen(found, **at)[choice]
    if found is None or place is None:
        return np.nan
    return float(getattr(found, choice.partition("_")[0])[place])


def _curve(found: Ranked) -> dict[str, Any]:
    places = np.unique(np.linspace(0, len(found.score) - 1, POINTS).round().astype(np.int64))
    return {name: np.round(getattr(found, name)[places], 6) for name in CURVES}


def _thresholds(kept: Rankings, at: dict[str, float]) -> dict[str, list[float]]:
    """The log-odds from which each class is predicted, by what they were chosen for; NaN where no
    threshold does it."""
    thresholds: dict[str, list[float]] = {choice: [] for choice in CHOICES}
    for sides in held_against_rest(*kept.scores_and_labels()):
        found = ranked(*sides)
        places = {} if found is None else chosen(found, **at)
        for choice, each in thresholds.items():
            place = places.get(choice)
            each.append(np.nan if found is None or place is None else float(found.score[place]))
    return thresholds


def _at(kept: Rankings, thresholds: dict[str, list[float]]) -> dict[str, Any]:
    """For each choice the probability that is its threshold, and what the samples get there."""
    sides = list(held_against_rest(*kept.scores_and_labels()))
    found: dict[str, Any] = {}
    for choice, each in thresholds.items():
        rows = [decided(*side, threshold) for side, threshold in zip(sides, each, strict=True)]
        probability = [1 / (1 + np.exp(-np.float64(threshold))) for threshold in each]
        found[choice] = {
            "threshold": probability,
            **{name: [row[name] for row in rows] for name in rows[0]},
        }
    return found
