"""Figures of what a probe measured over time: a row a quantity, a column a ratio."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skewlab.metrics.scores import FloatArray
from skewlab.report.drawing import COLOURS, grid, mean_line, steps_axis
from skewlab.report.read import Run
from skewlab.report.settings import Setting

# Lines that are neither the majority's nor the minority's.
OTHERS = ("#000000", "#009E73", "#CC79A7")


class Quantity(NamedTuple):
    """One row of panels.

    Attributes:
        label: of its vertical axis.
        by_group: arrays over classes, drawn as the mean of each group; line style and the words
            that tell it from others of the row, by the value's name.
        numbers: single numbers; the words, by the value's name.
        summed: whether a group is the sum of its classes, as for shares, and not their mean.
        log: whether the axis is logarithmic.
        marks: horizontal lines to compare with.
    """

    label: str
    by_group: Mapping[str, tuple[str, str]] = {}
    numbers: Mapping[str, str] = {}
    summed: bool = False
    log: bool = False
    marks: Sequence[float] = ()


def over_time(
    setting: Setting, probe: str, quantities: Sequence[Quantity], *, by_step: bool = False
) -> Figure:
    """Draw quantities of one probe against epochs or, on a log scale, steps."""
    ratios = setting.ratios(probe=probe)
    figure, axes = grid(len(quantities), len(ratios))
    for column, ratio in zip(axes.T, ratios, strict=True):
        runs = setting.of(ratio=ratio, probe=probe)
        for axis, quantity in zip(column, quantities, strict=True):
            _draw(axis, runs, probe, quantity, by_step)
        column[0].set_title(f"ratio {ratio:g}")
        if by_step:
            steps_axis(column[-1], label=False)
        column[-1].set_xlabel("training step (log scale)" if by_step else "epoch")
    for axis, quantity in zip(axes[:, 0], quantities, strict=True):
        axis.set_ylabel(quantity.label)
        if quantity.log:
            axis.set_yscale("log")
    for axis in axes[:, -1]:
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    return figure


def _draw(axis: Axes, runs: Sequence[Run], probe: str, quantity: Quantity, by_step: bool) -> None:
    first = runs[0].probes[probe]
    time = first.step.astype(float) if by_step else first.epoch
    for name, (style, words) in quantity.by_group.items():
        for group, colour in COLOURS.items():
            label = f"{group}, {words}" if words else group
            curves = [_of_group(run, probe, name, group, quantity.summed) for run in runs]
            # What is measured now and then only, such as a class that is rarely in a batch.
            marker = "." if any(np.isnan(curve).any() for curve in curves) else ""
            mean_line(axis, time, curves, colour, style, label, marker=marker)
    for (name, words), colour in zip(quantity.numbers.items(), OTHERS, strict=False):
        mean_line(axis, time, [run.probes[probe].values[name] for run in runs], colour, "-", words)
    for mark in quantity.marks:
        axis.axhline(mark, color="gray", lw=0.8, ls=":")


def _of_group(run: Run, probe: str, name: str, group: str, summed: bool) -> FloatArray:
    members = run.data["groups"][group]
    return run.probes[probe].group(name, members) * (len(members) if summed else 1)
