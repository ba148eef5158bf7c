"""Time to learn a class against its frequency, and the power law that theory predicts.

Kunstner et al. (2024): under gradient flow the time to learn class k grows like 1 / pi_k, its share
of the training set: on log axes a slope of -1. Under sign descent, and Adam, which is close to it,
the time hardly depends on pi_k: a slope of about 0.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from skewlab.metrics.scores import FloatArray
from skewlab.report.drawing import COLOURS, FigureText, grid, legend, log_axis
from skewlab.report.measures import learning_interval
from skewlab.report.read import Run
from skewlab.report.sections.section import PageSection
from skewlab.report.settings import MOST_IN_FULL, Setting
from skewlab.report.statistics import Censored, Seeds, censored_regression, estimate
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds

# The slope that theory predicts, by a word in the optimiser's name.
PREDICTED = {"sgd": -1.0, "adam": 0.0, "sign": 0.0}
# A fit needs learned classes of so many frequencies.
LEAST_FREQUENCIES = 3


class Times(NamedTuple):
    """When classes were learned: a number for each class of each run.

    Attributes:
        frequency: pi, the class's share of the training set.
        low, high: updates between which it was learned; high is infinite where it never was.
        minority: whether it is of the minority.
    """

    frequency: FloatArray
    low: FloatArray
    high: FloatArray
    minority: FloatArray


def times_of(runs: list[Run], thresholds: Thresholds) -> Times:
    """Times to learn, in updates, of every class of some runs."""
    rows = []
    for run in runs:
        curves, total = run.curves["train"], sum(run.counts)
        steps = curves.step.astype(np.float64)
        for label, count in enumerate(run.counts):
            recall = curves.values["recall"][:, label]
            between = learning_interval(
                steps, recall, thresholds.learned_recall, thresholds.sustained
            )
            rows.append((count / total, *between, label in run.data["groups"]["minority"]))
    return Times(*np.asarray(rows, dtype=np.float64).T)


def _learned(times: Times) -> int:
    """The number of different frequencies among the learned classes."""
    return len(np.unique(times.frequency[np.isfinite(times.high)].round(6)))


def fit(times: Times) -> Censored | None:
    """log time = intercept + slope log pi + noise; None where too few frequencies were learned."""
    if _learned(times) < LEAST_FREQUENCIES:
        return None
    with np.errstate(divide="ignore"):
        # A class that was learned before the first update counts as learned by the first one.
        low, high = np.log(times.low), np.log(np.maximum(times.high, 1.0))
    return censored_regression(np.log(times.frequency), low, high)


def _by_seed(setting: Setting, thresholds: Thresholds) -> dict[Seeds, Times]:
    """Each seed with its times, of all classes at all ratios."""
    by_seed: dict[Seeds, list[Run]] = {}
    for run in setting.of():
        by_seed.setdefault(run.seed_key, []).append(run)
    return {seeds: times_of(runs, thresholds) for seeds, runs in by_seed.items()}


@lru_cache(MOST_IN_FULL)  # of the figure and the table
def fits(setting: Setting, thresholds: Thresholds) -> dict[Seeds, Censored]:
    """A fit for each seed that has enough classes."""
    found = {seeds: fit(times) for seeds, times in _by_seed(setting, thresholds).items()}
    return {seeds: one for seeds, one in found.items() if one is not None}


def without_fit(setting: Setting, thresholds: Thresholds) -> list[str]:
    """The seeds that have no fit, in one line."""
    seeds = [
        seeds[0]
        for seeds, times in _by_seed(setting, thresholds).items()
        if _learned(times) < LEAST_FREQUENCIES
    ]
    if not seeds:
        return []
    which = ", ".join(str(seed) for seed in seeds)
    return [
        f"{setting.label}: no fit of the time to learn a class for seed {which}: classes of "
        f"fewer than {LEAST_FREQUENCIES} frequencies were learned"
    ]


def predicted(setting: Setting) -> float | None:
    """The slope that theory predicts for the setting's optimiser; None for other optimisers."""
    name = str(setting.runs[0].config.get("optimizer", {}).get("name", ""))
    return next((slope for word, slope in PREDICTED.items() if word in name), None)


def time_against_frequency(
    setting: Setting, thresholds: Thresholds
) -> tuple[Figure, FigureText] | None:
    """Updates until each class is learned against its share of the training set."""
    slopes = fits(setting, thresholds)
    if not slopes:
        return None
    times = times_of(setting.of(), thresholds)
    figure, ((axis,),) = grid(1, 1, size=(4.6, 3.3))
    learned = np.isfinite(times.high)
    for group, colour in COLOURS.items():
        own = times.minority == (group == "minority")
        chosen = own & learned & (times.high > 0)
        axis.scatter(
            times.frequency[chosen], times.high[chosen], s=14, color=colour, alpha=0.5, lw=0,
            label=group,
        )  # fmt: skip
        never = own & ~learned
        if never.any():
            axis.scatter(
                times.frequency[never], times.low[never], marker="^", facecolors="none",
                edgecolors=colour, label=f"{group}, not learned by then",
            )  # fmt: skip
    ends = np.asarray([times.frequency.min(), times.frequency.max()])
    slope = estimate({seeds: one.slope for seeds, one in slopes.items()})
    middle = float(np.mean([one.intercept for one in slopes.values()]))
    axis.plot(ends, np.exp(middle) * ends**slope.mean, color="black", lw=1.2, label="fit")
    expected = predicted(setting)
    if expected is not None:
        # The line goes through the middle of the fitted one, so that the slopes can be compared.
        centre = np.exp(np.log(times.frequency).mean())
        height = np.exp(middle) * centre**slope.mean
        axis.plot(ends, height * (ends / centre) ** expected, color="gray", lw=1.2, ls="--",
                  label=f"slope {expected:g}, as predicted")  # fmt: skip
    log_axis(axis)
    log_axis(axis, vertical=True)
    axis.set_xlabel("share of the training set (log scale)")
    axis.set_ylabel(f"updates until train recall is {thresholds.learned_recall:g}")
    axis.set_title(f"slope {slope}")
    legend(figure, axis, columns=2)
    return figure, FigureText(
        "scaling_law",
        "Time to learn against class frequency",
        "A dot is one class of one run. The line is the maximum-likelihood fit, which counts a "
        f"class that was not learned ({int((~learned).sum())} of {len(learned)}, triangles at the "
        "end of their training) as learned later than that.",
    )


def rows(setting: Setting, thresholds: Thresholds) -> list[Row]:
    """One row: the fitted slope with its interval over seeds, and the predicted one."""
    slopes = fits(setting, thresholds)
    if not slopes:
        return []
    times = times_of(setting.of(), thresholds)
    expected = predicted(setting)
    return [
        {
            "optimizer": str(setting.runs[0].config.get("optimizer", {}).get("name", "")),
            "ratios": ", ".join(f"{ratio:g}" for ratio in setting.ratios()),
            "seeds": len(slopes),
            "fitted slope": estimate({seeds: one.slope for seeds, one in slopes.items()}),
            "predicted slope": "" if expected is None else f"{expected:g}",
            "classes not learned": f"{int((~np.isfinite(times.high)).sum())} of {len(times.high)}",
        }
    ]


SECTION = PageSection(
    "scaling-law",
    "Time to learn against class frequency",
    "Under gradient flow the time to learn a class is predicted to grow like one over its share of "
    "the training set, a slope of -1 on log axes; under sign descent, and Adam, hardly to depend "
    "on it, a slope of about 0 (Kunstner et al. 2024). One fit a seed, over all classes of all "
    "ratios; time is counted in updates. experiment=scaling_law is made for it.",
    figures=(time_against_frequency,),
    tables={"scaling_law": ("The fitted slope", rows)},
    left_out=without_fit,
)
