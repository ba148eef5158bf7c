"""What a method changes for the minority: when it is learned, how well it generalises, and which
claims no longer hold."""

import numpy as np

from skewlab.report.comparison import (
    GAP,
    MINORITY,
    TRAIN_MINORITY,
    Entry,
    difference,
    pairs,
)
from skewlab.report.measures import learned_between
from skewlab.report.read import Run
from skewlab.report.statistics import Estimate, Seeds, estimate
from skewlab.report.thresholds import Thresholds
from skewlab.report.verdicts import NOT_APPLICABLE, REFUTED, SUPPORTED, UNDECIDED


def learned_at(run: Run, thresholds: Thresholds) -> float:
    """The updates after which the minority is learned; infinite where it never is (censored).
    Updates and not epochs, because a sampler's epochs may be longer or shorter."""
    return learned_between(run, "minority", thresholds)[1]


def learned_later(entry: Entry, base: Entry, thresholds: Thresholds) -> dict[Seeds, float]:
    """For each seed with which both learned the minority: the updates that it took the entry minus
    those that it took the base."""
    times = {
        one.run.seed_key: (learned_at(one.run, thresholds), learned_at(other.run, thresholds))
        for one, other in pairs(entry, base)
    }
    return {s: own - other for s, (own, other) in times.items() if np.isfinite([own, other]).all()}


def restricted_later(entry: Entry, base: Entry, thresholds: Thresholds) -> Estimate:
    """The mean difference over every seed, of times cut at the end of the shorter training: of
    restricted times, which a run has that never learned the minority (Royston and Parmar 2013)."""
    found = {}
    for one, other in pairs(entry, base):
        end = min(pair.run.curves["train"].step[-1] for pair in (one, other))
        own, its = (min(learned_at(pair.run, thresholds), end) for pair in (one, other))
        found[one.run.seed_key] = float(own - its)
    return estimate(found)


def helps_by(entry: Entry, base: Entry, p: float, thresholds: Thresholds) -> str:
    """Whether the method raises the minority's test recall, and if so, which of these improves
    with it by an interval of its own: the time to learn, the train recall, the generalisation gap.

    Args:
        entry, base: what is compared.
        p: of the difference in the minority's test recall, corrected for all methods.
        thresholds: of the report.
    """
    helped = difference(entry, base, MINORITY)
    if helped.n < thresholds.least_seeds:
        return f"undecided: {helped.n} of at least {thresholds.least_seeds} pairs"
    if not p < thresholds.level:
        alone = helped.p_value(0) < thresholds.level
        return "clear alone, not among all methods" if alone else "no clear difference"
    if helped.mean < 0:
        return "does harm"
    ways = {
        "learning earlier": restricted_later(entry, base, thresholds).high < 0,
        "learning more": difference(entry, base, TRAIN_MINORITY).low > 0,
        "generalising better": difference(entry, base, GAP).high < 0,
    }
    clear = [way for way, found in ways.items() if found]
    return " and ".join(clear) or "helps, by neither clearly"


def overturned(entry: Entry, base: Entry) -> str:
    """The claims that are supported with cross-entropy and refuted with the method; in brackets
    those that are supported with cross-entropy and undecided or not applicable with the method."""
    supported = [c for c, v in base.verdicts.items() if v.verdict == SUPPORTED]

    def now(verdict: str) -> str:
        judged = entry.verdicts
        return ", ".join(c for c in supported if c in judged and judged[c].verdict == verdict)

    said = now(REFUTED) or ("none" if supported else "")
    open_ones = [f"{how}: {now(how)}" for how in (UNDECIDED, NOT_APPLICABLE) if now(how)]
    return f"{said} ({'; '.join(open_ones)})" if open_ones else said
