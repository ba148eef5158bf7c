"""The minority initial drop: how large it is, how long it lasts, and whether the first order in
the update predicts it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from skewlab.metrics.scores import FloatArray
from skewlab.report.drawing import (
    COLOURS,
    FigureText,
    decimal_numbers,
    grid,
    mean_line,
    spread,
    steps_axis,
)
from skewlab.report.measures import POSITIVE, SHARE, over_seeds
from skewlab.report.read import Run
from skewlab.report.sections.section import PageSection
from skewlab.report.settings import Setting
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds

PROBE = "initial_drop"


class Drop(NamedTuple):
    """The drop of one loss curve and its recall.

    Attributes:
        rise: max over t of [L(t) - L(0)]+, in nats.
        depth: R(0) - min over t of R(t), as a share.
        peak: the step at which the loss is highest; 0 where it never rises.
        duration: the steps from the start until the loss is below its start again: the first t
            after the peak with L(t) < L(0); infinite where that is not seen (censored), 0 where
            the loss never rises.
    """

    rise: float
    depth: float
    peak: float
    duration: float


def drop_of(steps: FloatArray, loss: FloatArray, recall: FloatArray) -> Drop:
    """The drop of one class's or group's curves from the first step on, each of shape [steps]."""
    risen = np.maximum(loss - loss[0], 0.0)
    depth = float(recall[0] - recall.min())
    if not risen.any():
        return Drop(0.0, depth, 0.0, 0.0)
    peak = int(risen.argmax())
    recovered = np.flatnonzero(loss[peak:] < loss[0])
    duration = float(steps[peak + recovered[0]]) if len(recovered) else float("inf")
    return Drop(float(risen[peak]), depth, float(steps[peak]), duration)


def drop_of_group(run: Run, group: str) -> Drop:
    """The drop of a group's mean loss and recall."""
    loss, recall = (run.probe_group(PROBE, name, group) for name in ("loss", "recall"))
    return drop_of(run.probes[PROBE].step.astype(np.float64), loss, recall)


def sign_predicted(run: Run, group: str) -> float:
    """The share of (step, class) for which the first-order prediction <grad L_c, d> has the sign
    of the change of the class's loss by that step."""
    values, members = run.probes[PROBE].values, run.data["groups"][group]
    predicted, happened = (values[name][1:, members] for name in ("predicted", "happened"))
    seen = np.isfinite(predicted) & np.isfinite(happened)
    return float((np.sign(predicted) == np.sign(happened))[seen].mean())


def first_steps(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText]:
    """Loss and recall of both groups at each of the first steps; below, the change of the
    minority's loss beside the first-order prediction of it."""
    by_ratio = setting.by_ratio(probe=PROBE)
    figure, axes = grid(3, len(by_ratio), size=(3.2, 2.2))
    for column, (ratio, runs) in zip(axes.T, by_ratio, strict=True):
        steps = runs[0].probes[PROBE].step.astype(np.float64)
        loss, recall, change = column
        for group, colour in COLOURS.items():
            mean_line(loss, steps, runs, _of(runs, "loss", group), colour, "-", group)
            curves = _of(runs, "recall", group)
            mean_line(recall, steps, runs, curves, colour, "-", group, within=SHARE)
            start = np.mean([curve[0] for curve in _of(runs, "loss", group)])
            loss.axhline(start, color=colour, lw=0.8, ls=":")
        happened, predicted = (_of(runs, n, "minority") for n in ("happened", "predicted"))
        total = [np.nancumsum(curve[1:]) for curve in happened]
        first_order = [np.nancumsum(curve[1:]) for curve in predicted]
        mean_line(change, steps[1:], runs, total, COLOURS["minority"], "-", "what happened")
        mean_line(change, steps[1:], runs, first_order, "black", "--", "first order")
        change.axhline(0, color="gray", lw=0.8, ls=":")
        loss.set_title(f"ratio {ratio:g}")
        steps_axis(change, label=False)
        change.set_xlabel("updates (log scale)")
    for axis, label in zip(
        axes[:, 0],
        ("loss (nats)", "recall", "change of the minority's loss,\nadded up over steps"),
        strict=True,
    ):
        axis.set_ylabel(label)
    axes[0, 0].set_yscale("log")
    decimal_numbers(axes[0, 0].yaxis)
    # The sum of first-order terms becomes very large later, where steps are long, so the axis fits
    # the changes that happened.
    low = min(float(np.nanmin(line.get_ydata())) for a in axes[2] for line in a.get_lines()[:1])
    high = max(float(np.nanmax(line.get_ydata())) for a in axes[2] for line in a.get_lines()[:1])
    axes[2, 0].set_ylim(low - 0.3 * (high - low) - 0.1, high + 0.3 * (high - low) + 0.1)
    for axis in axes[:, -1]:
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    return figure, FigureText(
        "initial_drop",
        "The first steps, one by one",
        "Loss (on a log scale; dotted, where it starts) and recall of both groups on the training "
        "set after every step. Below, the change of the minority's loss by the parameters' updates "
        "up to each step, and the same as the first order in the update predicts it. "
        + spread(setting),
    )


def _of(runs: Sequence[Run], name: str, group: str) -> list[FloatArray]:
    return [run.probe_group(PROBE, name, group) for run in runs]


def rows(setting: Setting, thresholds: Thresholds) -> Iterator[Row]:
    """A row for each ratio and group."""
    for ratio, runs in setting.by_ratio(probe=PROBE):
        last = max(int(run.probes[PROBE].step[-1]) for run in runs)
        for group in COLOURS:
            drops = [drop_of_group(run, group) for run in runs]
            middle = sorted(drop.duration for drop in drops)[len(drops) // 2]
            yield {
                "ratio": ratio,
                "group": group,
                "seeds": len(runs),
                "rise of the loss": over_seeds(runs, [drop.rise for drop in drops], POSITIVE),
                "fall of the recall": over_seeds(runs, [drop.depth for drop in drops], SHARE),
                "highest at step": over_seeds(runs, [drop.peak for drop in drops], POSITIVE),
                "below its start at step": f">{last}" if np.isinf(middle) else f"{middle:g}",
                "sign predicted": over_seeds(
                    runs, [sign_predicted(run, group) for run in runs], SHARE
                ),
            }


SECTION = PageSection(
    "initial-drop",
    "Minority initial drop",
    "Whether the minority's loss rises and its recall falls at first, while the updates follow "
    "the majority's gradient (Francazi et al. 2023). Rise, fall and peak are of the mean curves of "
    "a group on at most 50 training samples a class (the probe's option per_class); the median "
    "over seeds says when the loss is below its start again. The sign is predicted where the inner "
    "product of a class's gradient with the step's update has the sign of the change of the "
    "class's loss by that step.",
    figures=(first_steps,),
    tables={"initial_drop": ("The drop in numbers", rows)},
    probe=PROBE,
)
