"""What is read off one run's curves: one number a run."""

import numpy as np

from skewlab.metrics.scores import FloatArray
from skewlab.report.read import Run


def learning_interval(
    time: FloatArray, recall: FloatArray, threshold: float, sustained: int
) -> tuple[float, float]:
    """The evaluations between which a class was learned: the first from which the recall stays at
    the threshold or above for so many in a row (or to the end, where fewer remain), and the one
    before it (0 if there is none); (last evaluation, infinity) where it never does: censored.

    Args:
        time: of each evaluation, in epochs, steps or samples, shape [evaluations].
        recall: shape [evaluations].
        threshold: recall that counts as learned.
        sustained: evaluations in a row.
    """
    above = recall >= threshold
    for start in np.flatnonzero(above):
        if above[start : start + sustained].all():
            return float(time[start - 1]) if start else 0.0, float(time[start])
    return float(time[-1]), float("inf")


def time_to_learn(time: FloatArray, recall: FloatArray, threshold: float, sustained: int) -> float:
    """The later end of `learning_interval`."""
    return learning_interval(time, recall, threshold, sustained)[1]


def _early(epochs: FloatArray, fraction: float) -> FloatArray:
    """Which evaluations are in the first fraction of the training."""
    return np.asarray(epochs <= fraction * epochs[-1] * (1 + 1e-9))


def _mean_over_time(time: FloatArray, values: FloatArray) -> float:
    """The area under a curve over its length: evaluations are not evenly spaced."""
    if len(time) < 2:
        return float(values.mean())
    return float(np.trapezoid(values, time) / (time[-1] - time[0]))


def early_gap(run: Run, fraction: float) -> float:
    """Train recall of the majority minus the minority, averaged over the first fraction of the
    training time. 1: only the majority was learned; 0: both alike."""
    epochs, majority = run.group("train", "recall", "majority")
    _, minority = run.group("train", "recall", "minority")
    early = _early(epochs, fraction)
    return _mean_over_time(epochs[early], (majority - minority)[early])


def unlikeness(run: Run, fraction: float) -> float:
    """How differently the groups are learned: the larger of the mean absolute difference of their
    train recalls over the first fraction of the training, and that of their test recalls at the
    end."""
    epochs, majority = run.group("train", "recall", "majority")
    _, minority = run.group("train", "recall", "minority")
    early = _early(epochs, fraction)
    first = _mean_over_time(epochs[early], np.abs(majority - minority)[early])
    last = abs(run.final("test", "recall", "majority") - run.final("test", "recall", "minority"))
    return max(first, last)


def final_minority_recall(run: Run) -> float:
    """The minority's train recall at the last epoch."""
    return run.final("train", "recall", "minority")


def minority_gap(run: Run) -> float:
    """The minority's generalisation gap at the last epoch: train minus test recall."""
    return run.final("train", "recall", "minority") - run.final("test", "recall", "minority")


def head_recall(run: Run, head: str) -> float:
    """The minority's test recall by a head on the frozen features at the last measurement, see
    `curves.probes.representation`."""
    curves = run.probes["representation"]
    return float(curves.group(f"recall/{head}", run.data["groups"]["minority"])[-1])
