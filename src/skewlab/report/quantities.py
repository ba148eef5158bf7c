"""What is read off a run's curves: one number a run."""

import numpy as np

from skewlab.curves.scalars import FloatArray

# A group or class is learned when its train recall reaches this and holds for so many evaluations.
LEARNED_RECALL = 0.9
SUSTAINED = 3


def time_to_learn(
    time: FloatArray,
    recall: FloatArray,
    threshold: float = LEARNED_RECALL,
    sustained: int = SUSTAINED,
) -> float:
    """The first time from which the recall stays at the threshold or above for so many
    evaluations in a row (or to the end, where fewer remain); infinite (censored) where it never
    does.

    Args:
        time: of each evaluation, in epochs, steps or samples, shape [evaluations].
        recall: shape [evaluations].
        threshold: recall that counts as learned.
        sustained: evaluations in a row.
    """
    above = recall >= threshold
    for start in np.flatnonzero(above):
        if above[start : start + sustained].all():
            return float(time[start])
    return float("inf")
