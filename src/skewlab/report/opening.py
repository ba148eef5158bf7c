"""What a study found, in one sentence of numbers, before any verdict; also with one seed."""

from collections.abc import Callable, Sequence

import numpy as np

from skewlab.report.comparison import (
    BALANCED_ACCURACY,
    MAJORITY,
    MINORITY,
    Comparison,
    comparisons,
    corrected,
    difference,
)
from skewlab.report.read import Run
from skewlab.report.settings import Setting
from skewlab.report.thresholds import Thresholds

# Of up to so many settings each has a sentence; of more, the first one.
FEW = 3
# A train recall from here on is all that there is to learn, as a percentage without digits is 100.
FULLY = 0.995


def opening(settings: Sequence[Setting], thresholds: Thresholds) -> str:
    """A sentence for each setting at its largest ratio, or of many settings for the first; of many
    methods, which are better than cross-entropy. Empty where nothing has finished.

    For example: `At ratio 100 the minority is fully learned on train and 27% right on test;
    trained on balanced data, 99% (one seed).`
    """
    tested = [one for one in settings if one.of() and _tested(one.of())]
    if len(tested) <= FEW:
        return of_each(tested, _sentence)
    compared = comparisons(tested, ())
    all_compared = len(compared) == 1 and len(compared[0].methods) == len(tested)
    if all_compared and (said := _methods(compared[0], thresholds)):
        return said
    return of_each(tested, _sentence) + _best_and_worst(tested)


def _methods(comparison: Comparison, thresholds: Thresholds) -> str:
    """How many methods are better on test than cross-entropy at the largest ratio, and what the
    best one changes; empty where cross-entropy was not trained.

    For example: `At ratio 100, of 36 methods and rules beside ce, 18 have a clearly higher balanced
    accuracy on test and 2 a clearly lower one. The best is ride, 0.87 (ce 0.64): 76% of the
    minority right (ce 31%) and 98% of the majority (ce 98%).`
    """
    ratio = comparison.ratios[-1]
    base = comparison.base(ratio)
    others = [entry for entry in comparison.entries(ratio) if base and entry.label != base.label]
    if base is None or not others:
        return ""
    p = corrected([base, *others], base, BALANCED_ACCURACY, thresholds.least_seeds)
    means = {
        entry.label: [entry.mean(one).mean for one in (BALANCED_ACCURACY, MINORITY, MAJORITY)]
        for entry in (base, *others)
    }
    clear = [entry for entry in others if p[entry.label] < thresholds.level]
    higher = [e for e in clear if difference(e, base, BALANCED_ACCURACY).mean > 0]
    said = f"At ratio {ratio:g}, of {len(others)} methods and rules beside {base.label}, "
    if all(np.isnan(one) for one in p.values()):
        said += f"none can be judged with fewer than {thresholds.least_seeds} seeds. "
    else:
        verb = "has" if len(higher) == 1 else "have"
        said += (
            f"{len(higher)} {verb} a clearly higher balanced accuracy on test and "
            f"{len(clear) - len(higher)} a clearly lower one. "
        )
    best = max(others, key=lambda entry: means[entry.label][0]).label
    (top, few, many), (low, its_few, its_many) = means[best], means[base.label]
    ce = base.label
    return said + (
        f"The best is {best}, {top:.2f} ({ce} {low:.2f}): {few:.0%} of the minority right "
        f"({ce} {its_few:.0%}) and {many:.0%} of the majority ({ce} {its_many:.0%})."
    )


def _best_and_worst(settings: Sequence[Setting]) -> str:
    """The settings with the most and the least of the minority right on test, at the largest ratio
    of the first one; empty where fewer than two have it."""
    ratio = settings[0].ratios()[-1]
    found = {
        one.label: _recall(one.of(ratio=ratio), "test") for one in settings if one.of(ratio=ratio)
    }
    if len(found) < 2:
        return ""
    best, worst = max(found, key=found.__getitem__), min(found, key=found.__getitem__)
    return (
        f" Of all {len(found)} at ratio {ratio:g}, the minority is right on test from "
        f"{found[worst]:.0%} ({worst}) to {found[best]:.0%} ({best})."
    )


def of_each(settings: Sequence[Setting], said: Callable[[Setting], str]) -> str:
    """What is said of each of a few settings, after its label; of many, of the first one."""
    if not settings:
        return ""
    if len(settings) == 1:
        return said(settings[0])
    if len(settings) <= FEW:
        return " ".join(f"{setting.label}: {said(setting)}" for setting in settings)
    return f"{said(settings[0])} [{settings[0].label}, the first of {len(settings)} settings]"


def _sentence(setting: Setting) -> str:
    ratio, runs = setting.by_ratio()[-1]
    balanced = setting.of(ratio=1)
    train, test = (_recall(runs, split) for split in ("train", "test"))
    learned = "fully learned" if train >= FULLY else f"{train:.0%} right"
    classes = "the minority is" if ratio > 1 else "the classes of the minority are"
    said = f"{learned} on train and {test:.0%} right on test"
    said = f"At ratio {ratio:g} {classes} {said}"
    if ratio > 1 and balanced and _tested(balanced):
        said += f"; trained on balanced data, {_recall(balanced, 'test'):.0%}"
    seeds = f"mean of {len(runs)} seeds" if len(runs) > 1 else "one seed"
    return f"{said} ({seeds})."


def _tested(runs: Sequence[Run]) -> bool:
    return all("test" in run.curves for run in runs)


def _recall(runs: Sequence[Run], split: str) -> float:
    return float(np.nanmean([run.final(split, "recall", "minority") for run in runs]))
