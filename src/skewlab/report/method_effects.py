"""What a method changes for the minority: when it is learned, how well it generalises, and which
claims no longer hold."""

import numpy as np

from skewlab.report.comparison import Entry, Outcome, difference, pairs
from skewlab.report.measures import time_to_learn
from skewlab.report.read import Run
from skewlab.report.statistics import bootstrap_present
from skewlab.report.thresholds import Thresholds
from skewlab.report.verdicts import REFUTED, SUPPORTED, UNDECIDED


def gap(outcome: Outcome) -> float:
    """The minority's generalisation gap: its recall on train minus that on test."""
    return train_minority(outcome) - outcome.minority


def train_minority(outcome: Outcome) -> float:
    """The minority's recall on train."""
    return outcome.run.final("train", "recall", "minority")


def learned_at(run: Run, thresholds: Thresholds) -> float:
    """The updates after which the minority is learned; infinite where it never is (censored).
    Updates and not epochs, because a sampler's epochs may be longer or shorter."""
    steps = run.curves["train"].step.astype(np.float64)
    _, recall = run.group("train", "recall", "minority")
    return time_to_learn(steps, recall, thresholds.learned_recall, thresholds.sustained)


def learned_later(entry: Entry, base: Entry, thresholds: Thresholds) -> list[float]:
    """For each seed with which both learned the minority: the updates that it took the entry minus
    those that it took the base."""
    times = [
        (learned_at(one.run, thresholds), learned_at(other.run, thresholds))
        for one, other in pairs(entry, base)
    ]
    return [own - other for own, other in times if np.isfinite([own, other]).all()]


def restricted_later(entry: Entry, base: Entry, thresholds: Thresholds) -> list[float]:
    """The same difference for every seed, of times cut at the end of the shorter training: of
    restricted times, which a run has that never learned the minority (Royston and Parmar 2013)."""
    found = []
    for one, other in pairs(entry, base):
        end = min(pair.run.curves["train"].step[-1] for pair in (one, other))
        own, its = (min(learned_at(pair.run, thresholds), end) for pair in (one, other))
        found.append(float(own - its))
    return found


def helps_by(entry: Entry, base: Entry, thresholds: Thresholds) -> str:
    """Whether the method raises the minority's test recall, and if so, which of these improves
    with it by an interval above zero: the time to learn, the train recall, the generalisation
    gap."""
    helped = difference(entry, base, lambda outcome: outcome.minority)
    if helped is None or helped.n < thresholds.least_seeds:
        return f"undecided: {helped.n if helped else 0} of at least {thresholds.least_seeds} pairs"
    if helped.high < 0:
        return "does harm"
    if helped.low <= 0:
        return "no clear difference"
    ways = {
        "learning earlier": bootstrap_present(
            -x for x in restricted_later(entry, base, thresholds)
        ),
        "learning more": difference(entry, base, train_minority),
        "generalising better": difference(entry, base, lambda outcome: -gap(outcome)),
    }
    clear = [way for way, found in ways.items() if found and found.low > 0]
    return " and ".join(clear) or "helps, by neither clearly"


def overturned(entry: Entry, base: Entry) -> str:
    """The claims that are supported with cross-entropy and refuted with the method; in brackets
    those that are supported with cross-entropy and undecided with the method."""
    supported = [c for c, v in base.verdicts.items() if v.verdict == SUPPORTED]

    def now(verdict: str) -> str:
        judged = entry.verdicts
        return ", ".join(c for c in supported if c in judged and judged[c].verdict == verdict)

    said = now(REFUTED) or ("none" if supported else "")
    return f"{said} (undecided: {now(UNDECIDED)})" if now(UNDECIDED) else said
