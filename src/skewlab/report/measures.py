"""Single numbers that are computed from the curves of one run."""

import numpy as np

from skewlab.metrics.scores import FloatArray
from skewlab.report.read import Run


def learning_interval(
    time: FloatArray, recall: FloatArray, threshold: float, sustained: int
) -> tuple[float, float]:
    """Between which two evaluations a class was learned.

    A class is learned at the first evaluation from which its recall is at the threshold or above
    for `sustained` evaluations in a row, or to the end where fewer are left.

    Args:
        time: of each evaluation, in epochs, steps or samples, shape [evaluations].
        recall: shape [evaluations].
        threshold: recall that counts as learned.
        sustained: evaluations in a row.

    Returns:
        The time of the evaluation before (0 if there is none) and of that evaluation; for a class
        that was never learned, the time of the last evaluation and infinity (censored).
    """
    above = recall >= threshold
    for start in np.flatnonzero(above):
        if above[start : start + sustained].all():
            return float(time[start - 1]) if start else 0.0, float(time[start])
    return float(time[-1]), float("inf")


def time_to_learn(time: FloatArray, recall: FloatArray, threshold: float, sustained: int) -> float:
    """The later end of `learning_interval`."""
    return learning_interval(time, recall, threshold, sustained)[1]


def early_gap(run: Run, fraction: float, *, absolute: bool = False) -> float:
    """Train recall of the majority minus the minority, averaged over the first part of training.

    1: only the majority was learned; 0: both groups were learned alike. The average is the area
    under the curve over its length, because evaluations are not evenly spaced.

    Args:
        run: the run.
        fraction: which share of the training time counts.
        absolute: average the absolute difference.
    """
    epochs, majority = run.group("train", "recall", "majority")
    gap = majority - run.group("train", "recall", "minority")[1]
    early = epochs <= fraction * epochs[-1] * (1 + 1e-9)
    time, gap = epochs[early], (np.abs(gap) if absolute else gap)[early]
    if len(time) < 2:
        return float(gap.mean())
    return float(np.trapezoid(gap, time) / (time[-1] - time[0]))


def head_recall(run: Run, head: str) -> float:
    """The minority's test recall by a head on the frozen features, at the last measurement of the
    probe `representation`."""
    return float(run.probe_group("representation", f"recall/{head}", "minority")[-1])
