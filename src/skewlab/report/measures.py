"""Single numbers that are computed from the curves of one run."""

from collections.abc import Sequence

import numpy as np

from skewlab.metrics.scores import FloatArray, mean_of_present
from skewlab.report.read import Run
from skewlab.report.statistics import Estimate, estimate
from skewlab.report.thresholds import Thresholds

GROUPS = ("majority", "minority")
# By a class's training samples, as long-tail studies have them (Liu et al. 2019).
SHOTS = ("many", "medium", "few")
# What time is counted in, the most prominent first.
CLOCKS = ("updates", "samples seen", "samples of the class seen", "epochs")


# The least and the largest possible value of a share, of a difference of two shares, and of what
# cannot be below 0.
SHARE, DIFFERENCE, POSITIVE = (0.0, 1.0), (-1.0, 1.0), (0.0, np.inf)


def over_seeds(
    runs: Sequence[Run], values: Sequence[float], within: tuple[float, float] = (-np.inf, np.inf)
) -> Estimate:
    """The mean of one value for each run, see `statistics.estimate`."""
    return estimate(
        {run.seed_key: value for run, value in zip(runs, values, strict=True)}, within=within
    )


def mean_recall(runs: Sequence[Run], split: str, group: str) -> Estimate:
    """A group's recall at the last evaluation, with the test sample's error where it is one."""
    values = {run.seed_key: run.final(split, "recall", group) for run in runs}
    test = None
    if split == "test":
        test = {run.seed_key: run.on_test(run.class_weights(group)) for run in runs}
    return estimate(values, test, step=recall_step(runs, split, group), within=SHARE)


def shots_of(runs: Sequence[Run]) -> list[str]:
    """Those of many, medium and few that all of some runs have; none where they are one group, or
    the majority and the minority by other names."""
    names = [name for name in SHOTS if all(name in run.groups for run in runs)]
    told = [set(members) for members in runs[0].data["groups"].values()]
    new = any(set(runs[0].groups[name]) not in told for name in names)
    return names if new and len(names) > 1 else []


def recall_step(runs: Sequence[Run], split: str, group: str) -> float:
    """The least difference of two recalls of a group: one over its samples."""
    members = runs[0].groups[group]
    return 1.0 / max(1.0, float(runs[0].curves[split].values["n"][-1, members].sum()))


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


def clock(run: Run, name: str, group: str) -> FloatArray:
    """The time of each evaluation on train by one of `CLOCKS`, shape [evaluations]; NaN for samples
    where a sampler of the method's own chooses them, which is not on disk.

    Args:
        run: the run.
        name: of the clock.
        group: whose samples are counted, the mean of its classes.
    """
    curves = run.curves["train"]
    if name == "updates":
        return curves.step.astype(np.float64)
    if name == "epochs":
        return curves.epoch
    if run.config["method"].get("sampler"):
        return np.full(len(curves.epoch), np.nan)
    counts = np.asarray(run.counts, dtype=np.float64)
    members = run.data["groups"][group]
    return curves.epoch * float(counts.sum() if name == "samples seen" else counts[members].mean())


def learned_between(
    run: Run, group: str, thresholds: Thresholds, name: str = "updates"
) -> tuple[float, float]:
    """Between which times, by one of `CLOCKS`, a group was learned; see `learning_interval`."""
    _, recall = run.group("train", "recall", group)
    return learning_interval(
        clock(run, name, group), recall, thresholds.learned_recall, thresholds.sustained
    )


def early(run: Run, curve: FloatArray, leader: FloatArray, thresholds: Thresholds) -> float:
    """The mean of a curve on train over the early phase, which ends when a leading recall has
    reached `learned_recall` and stays there; NaN where it never does.

    The mean is the area under the curve over the phase's length in updates, because evaluations
    are not evenly spaced. It does not depend on how long the run goes on afterwards.

    Args:
        run: the run.
        curve, leader: shape [evaluations].
        thresholds: of the report.
    """
    steps = clock(run, "updates", "majority")
    end = time_to_learn(steps, leader, thresholds.learned_recall, thresholds.sustained)
    if not np.isfinite(end):
        return np.nan
    phase = steps <= end
    if phase.sum() < 2:
        return float(curve[phase].mean())
    return float(np.trapezoid(curve[phase], steps[phase]) / (end - steps[0]))


def early_lead(run: Run, thresholds: Thresholds) -> float:
    """Train recall of the majority minus the minority, the mean over the early phase: until the
    majority has been learned. 0: both were learned alike."""
    majority, minority = (run.group("train", "recall", group)[1] for group in GROUPS)
    return early(run, majority - minority, majority, thresholds)


def class_spread(recall: FloatArray, n: FloatArray) -> float:
    """Standard deviation of the recall between classes, without what the finite number of samples
    of a class gives by chance; NaN with fewer than two classes.

    Args:
        recall: of each class, shape [classes]; NaN where absent.
        n: samples of each class, shape [classes].
    """
    there = ~np.isnan(recall)
    r, k = recall[there], n[there]
    if len(r) < 2:
        return np.nan
    chance = float((r * (1 - r) / np.maximum(k - 1, 1)).mean())
    return float(np.sqrt(max(float(r.var(ddof=1)) - chance, 0.0)))


def early_class_spread(run: Run, thresholds: Thresholds) -> float:
    """`class_spread` on train, the mean over the early phase: until all classes together have been
    learned."""
    values = run.curves["train"].values
    spread = [class_spread(r, n) for r, n in zip(values["recall"], values["n"], strict=True)]
    leader = np.asarray([mean_of_present(row) for row in values["recall"]])
    return early(run, np.asarray(spread), leader, thresholds)


def final_class_spread(run: Run) -> float:
    """`class_spread` on test at the last evaluation."""
    values = run.curves["test"].values
    return class_spread(values["recall"][-1], values["n"][-1])


def head_recall(run: Run, head: str, group: str = "minority", at: int = -1) -> float:
    """A group's test recall by a head on the frozen features, at the last measurement of the
    probe `representation`, or at another one; at 0 the network is untrained."""
    return float(run.probe_group("representation", f"recall/{head}", group)[at])
