"""Figures of what a probe measured over time: a row for each quantity, a column for each ratio."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skewlab.report.drawing import COLOURS, decimal_numbers, grid, mean_line, steps_axis
from skewlab.report.read import Run
from skewlab.report.settings import Setting

# Lines that are neither the majority's nor the minority's.
OTHERS = ("#000000", "#009E73", "#CC79A7")


class Quantity(NamedTuple):
    """What one row of panels shows.

    Attributes:
        label: of its vertical axis.
        by_group: arrays over classes, of which a line for each group is drawn; for each name the
            line's style, and the words that tell it from the other lines.
        numbers: single numbers, of which one line is drawn; for each name the line's label.
        summed: whether a group's line is the sum over its classes, as for shares, not the mean.
        log: whether the axis is logarithmic.
        marks: where to draw horizontal lines.
        within: the least and the largest possible value.
    """

    label: str
    by_group: Mapping[str, tuple[str, str]] = {}
    numbers: Mapping[str, str] = {}
    summed: bool = False
    log: bool = False
    marks: Sequence[float] = ()
    within: tuple[float, float] = (-np.inf, np.inf)


def over_time(
    setting: Setting, probe: str, quantities: Sequence[Quantity], *, by_step: bool = False
) -> Figure:
    """Draw quantities of one probe against epochs or, on a log scale, updates."""
    by_ratio = setting.by_ratio(probe=probe)
    figure, axes = grid(len(quantities), len(by_ratio))
    for column, (ratio, runs) in zip(axes.T, by_ratio, strict=True):
        for axis, quantity in zip(column, quantities, strict=True):
            _draw(axis, runs, probe, quantity, by_step)
        column[0].set_title(f"ratio {ratio:g}")
        if by_step:
            steps_axis(column[-1], label=False)
        column[-1].set_xlabel("updates (log scale)" if by_step else "epoch")
    for axis, quantity in zip(axes[:, 0], quantities, strict=True):
        axis.set_ylabel(quantity.label)
        if quantity.log:
            axis.set_yscale("log")
            decimal_numbers(axis.yaxis)
    for axis in axes[:, -1]:
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    return figure


def _draw(axis: Axes, runs: Sequence[Run], probe: str, quantity: Quantity, by_step: bool) -> None:
    first = runs[0].probes[probe]
    time = first.step.astype(float) if by_step else first.epoch
    for name, (style, words) in quantity.by_group.items():
        for group, colour in COLOURS.items():
            label = f"{group}, {words}" if words else group
            scale = len(runs[0].data["groups"][group]) if quantity.summed else 1
            curves = [scale * run.probe_group(probe, name, group) for run in runs]
            # Dots show single measurements where others are missing, such as those of a class that
            # is rarely in a batch.
            marker = "." if any(np.isnan(curve).any() for curve in curves) else ""
            mean_line(
                axis, time, runs, curves, colour, style, label,
                marker=marker, within=quantity.within,
            )  # fmt: skip
    for (name, words), colour in zip(quantity.numbers.items(), OTHERS, strict=False):
        curves = [run.probes[probe].values[name] for run in runs]
        mean_line(axis, time, runs, curves, colour, "-", words, within=quantity.within)
    for mark in quantity.marks:
        axis.axhline(mark, color="gray", lw=0.8, ls=":")
