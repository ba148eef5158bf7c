"""What a method changes about the minority: when it is learned, what of it generalises, and which
claims no longer hold."""

import numpy as np

from skewlab.report.claims import REFUTED, SUPPORTED, UNDECIDED
from skewlab.report.comparison import Entry, Outcome, difference, estimate, pairs
from skewlab.report.quantities import time_to_learn
from skewlab.report.read import Run
from skewlab.report.thresholds import Thresholds


def gap(outcome: Outcome) -> float:
    """The minority's generalisation gap: its recall on train minus that on test."""
    return train_minority(outcome) - outcome.minority


def train_minority(outcome: Outcome) -> float:
    """The minority's recall on train."""
    return outcome.run.final("train", "recall", "minority")


def learned_at(run: Run, limits: Thresholds) -> float:
    """The updates by which the minority is learned; infinite where it is not, which is censored.
    Not the epochs: those of a sampler may be longer or shorter."""
    steps = run.curves["train"].step.astype(np.float64)
    _, recall = run.group("train", "recall", "minority")
    return time_to_learn(steps, recall, limits.learned_recall, limits.sustained)


def learned_later(entry: Entry, base: Entry, limits: Thresholds) -> list[float]:
    """Updates to learn the minority, the entry's minus the base's, of seeds that both learned."""
    times = [
        (learned_at(one.run, limits), learned_at(other.run, limits))
        for one, other in pairs(entry, base)
    ]
    return [own - other for own, other in times if np.isfinite([own, other]).all()]


def restricted_later(entry: Entry, base: Entry, limits: Thresholds) -> list[float]:
    """The same of all seeds, with times cut at the end of the shorter training: the difference of
    restricted times, which censored runs have as well (Royston and Parmar 2013)."""
    found = []
    for one, other in pairs(entry, base):
        end = min(pair.run.curves["train"].step[-1] for pair in (one, other))
        own, its = (min(learned_at(pair.run, limits), end) for pair in (one, other))
        found.append(float(own - its))
    return found


def helps_by(entry: Entry, base: Entry, limits: Thresholds) -> str:
    """Whether the method raises the minority's recall on test, and what goes with that: an
    interval that is clear of zero for the time to learn, the recall on train in the end, or the
    generalisation gap."""
    helped = difference(entry, base, lambda outcome: outcome.minority)
    if helped is None or helped.n < limits.least_seeds:
        return f"undecided: {helped.n if helped else 0} of at least {limits.least_seeds} pairs"
    if helped.high < 0:
        return "does harm"
    if helped.low <= 0:
        return "no clear difference"
    ways = {
        "learning earlier": estimate(-x for x in restricted_later(entry, base, limits)),
        "learning more": difference(entry, base, train_minority),
        "generalising better": difference(entry, base, lambda outcome: -gap(outcome)),
    }
    clear = [way for way, found in ways.items() if found and found.low > 0]
    return " and ".join(clear) or "helps, by neither clearly"


def overturned(entry: Entry, base: Entry) -> str:
    """The claims that are supported with cross-entropy and refuted with the method; and which of
    the supported ones are undecided with it."""
    supported = [c for c, v in base.verdicts.items() if v.verdict == SUPPORTED]

    def now(verdict: str) -> str:
        judged = entry.verdicts
        return ", ".join(c for c in supported if c in judged and judged[c].verdict == verdict)

    said = now(REFUTED) or ("none" if supported else "")
    return f"{said} (undecided: {now(UNDECIDED)})" if now(UNDECIDED) else said
