"""What a study found, in one sentence of numbers, before any verdict; also with one seed."""

from collections.abc import Callable, Sequence

import numpy as np

from skewlab.report.read import Run
from skewlab.report.settings import Setting

# Of up to so many settings each has a sentence; of more, the first one.
FEW = 3
# A train recall from here on is all that there is to learn, as a percentage without digits is 100.
FULLY = 0.995


def opening(settings: Sequence[Setting]) -> str:
    """A sentence for each setting at its largest ratio, or of many settings for the first; empty
    where nothing has finished.

    For example: `At ratio 100 the minority is fully learned on train and 27% right on test;
    balanced, 99%.`
    """
    tested = [one for one in settings if one.of() and _tested(one.of())]
    return of_each(tested, _sentence) + (_best_and_worst(tested) if len(tested) > FEW else "")


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
        said += f"; balanced, {_recall(balanced, 'test'):.0%}"
    seeds = f" (mean of {len(runs)} seeds)" if len(runs) > 1 else ""
    return f"{said}{seeds}."


def _tested(runs: Sequence[Run]) -> bool:
    return all("test" in run.curves for run in runs)


def _recall(runs: Sequence[Run], split: str) -> float:
    return float(np.nanmean([run.final(split, "recall", "minority") for run in runs]))
