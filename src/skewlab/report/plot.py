"""Figures from the tidy frame of `skewlab.report.load`, for notebooks and papers.

    frame = skewlab.report.load("logs/default")
    figure = plot.learning_curves(frame[frame.control == "none"])
    plot.save(figure, "curves.pdf")

Each gives a Matplotlib figure. What a figure would have to average without a word, such as several
methods, is refused: choose one, or draw one line for each.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skewlab.report.drawing import (
    COLOURS,
    PAPER,
    RATIO_COLOURS,
    STYLES,
    decimal_numbers,
    light_frame,
)
from skewlab.report.measures import GROUPS, SHARE
from skewlab.report.statistics import SOURCES, Seeds, band

# Columns that tell settings and controls apart.
SETTINGS = ("study", "data", "model", "method", "control", "class_order")


@mpl.rc_context(PAPER)
def learning_curves(
    frame: pd.DataFrame,
    metric: str = "recall",
    *,
    by: str | None = None,
    splits: Sequence[str] = ("train", "test"),
    groups: Sequence[str] = GROUPS,
    clock: str = "step",
    width: float = 6.8,
    height: float = 2.2,
) -> Figure:
    """A panel for each ratio: means over seeds, and their 95% intervals.

    Args:
        frame: as of `skewlab.report.load`.
        metric: a column, the mean over a group's classes.
        by: a column such as `method`: a row of panels for each group, a line for each value. None
            draws both groups in one panel.
        splits: train is a full line, test a dashed one.
        groups: of `group` (majority, minority) or `shots` (many, medium, few).
        clock: `step`, on a logarithmic axis, or `epoch`.
        width, height: in inches, of the figure and of a row. A column of a paper has 3.3, a page
            6.8.

    Raises:
        ValueError: the frame has several settings, and `by` is not what they differ in; or a
            column or group that it does not have.
    """
    frame = _of_one_setting(frame, by)
    _check(metric, frame.columns, "metric")
    _check(clock, ("step", "epoch"), "clock")
    values = list(dict.fromkeys(frame[by])) if by else [None]
    ratios = sorted(frame.ratio.unique())
    rows = list(groups) if by else [""]
    figure, axes = _figure(len(rows), len(ratios), width, height)
    for (row, column), axis in np.ndenumerate(axes):
        some = frame[frame.ratio == ratios[column]]
        for place, value in enumerate(values):
            own = some[some[by] == value] if by else some
            for group in [rows[row]] if by else groups:
                colour = RATIO_COLOURS[place % len(RATIO_COLOURS)] if by else _colour(group)
                for split in splits:
                    label = f"{value if by else group}, {split}"
                    _line(axis, own, metric, group, split, clock, colour, label)
        light_frame(axis)
        if clock == "step":
            axis.set_xscale("log")
            decimal_numbers(axis.xaxis)
        if row == 0:
            axis.set_title(f"ratio {ratios[column]:g}", fontsize="medium", loc="left")
        if row == len(rows) - 1:
            axis.set_xlabel("update" if clock == "step" else "epoch")
        if column == 0:
            axis.set_ylabel(f"{metric}, {rows[row]}" if rows[row] else metric)
        if metric == "recall":
            axis.set_ylim(-0.03, 1.03)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


@mpl.rc_context(PAPER)
def class_recall(
    frame: pd.DataFrame, split: str = "test", *, width: float = 3.3, height: float = 2.4
) -> Figure:
    """Recall of each class at the last evaluation against its training samples, a colour for each
    ratio, a dot for each class and run.

    Args:
        frame: as of `skewlab.report.load`.
        split: whose samples.
        width, height: in inches.

    Raises:
        ValueError: the frame has several settings, or not this split.
    """
    frame = _of_one_setting(frame, None)
    _check(split, frame.split.unique(), "split")
    last = frame[
        (frame.split == split) & (frame.step == frame.groupby("run").step.transform("max"))
    ]
    figure, axes = _figure(1, 1, width, height)
    axis = axes[0, 0]
    for place, ratio in enumerate(sorted(last.ratio.unique())):
        some, colour = last[last.ratio == ratio], RATIO_COLOURS[place % len(RATIO_COLOURS)]
        axis.scatter(
            some["count"], some.recall, s=10, color=colour, alpha=0.6, lw=0, label=f"{ratio:g}"
        )
    axis.set(xscale="log", xlabel="training samples of the class", ylabel=f"recall on {split}")
    axis.set_ylim(-0.03, 1.03)
    decimal_numbers(axis.xaxis)
    light_frame(axis)
    axis.legend(title="ratio", frameon=False)
    return figure


@mpl.rc_context(PAPER)
def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as its suffix says (pdf, svg, png); text stays text, with its fonts inside a
    PDF as TrueType, which every publisher takes."""
    figure.savefig(path, dpi=300)


def _of_one_setting(frame: pd.DataFrame, by: str | None) -> pd.DataFrame:
    """The frame, of finished runs.

    Raises:
        ValueError: it is empty, or has several settings.
    """
    frame = frame[frame.state == "done"]
    if frame.empty:
        raise ValueError("frame: holds no finished run")
    if by is not None:
        _check(by, SETTINGS, "by")
    for column in SETTINGS:
        found = list(frame[column].unique())
        if len(found) > 1 and column != by:
            raise ValueError(
                f"frame: has several values of {column} ({', '.join(map(str, found))}); "
                f"choose one, as in frame[frame.{column} == {found[0]!r}], or draw a line for "
                f"each with learning_curves(frame, by={column!r})"
            )
    return frame


def _check(value: str, allowed: Any, name: str) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value}: must be one of {', '.join(map(str, allowed))}")


def _colour(group: str) -> str:
    return {**COLOURS, **dict(zip(("many", "medium", "few"), RATIO_COLOURS, strict=False))}[group]


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    """With pyplot, so that a notebook knows how to show it; closed, so that it shows it once."""
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(width, 0.5 + height * rows),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    plt.close(figure)
    return figure, axes


def _line(
    axis: Axes,
    frame: pd.DataFrame,
    metric: str,
    group: str,
    split: str,
    clock: str,
    colour: str,
    label: str,
) -> None:
    """One curve with its interval, at the times that all seeds have."""
    column = "group" if group in GROUPS else "shots"
    some = frame[(frame[column] == group) & (frame.split == split)]
    if some.empty:
        return
    seeds: list[Seeds] = []
    curves = []
    for key, own in some.groupby(list(SOURCES)):
        seeds.append(tuple(map(int, key)))  # type: ignore[arg-type]
        curves.append(own.groupby(clock)[metric].mean())
    shared = pd.concat(curves, axis=1, join="inner")
    times, values = shared.index.to_numpy(dtype=float), shared.to_numpy(dtype=float).T
    axis.plot(times, values.mean(axis=0), STYLES.get(split, ":"), color=colour, label=label, lw=1.2)
    if len(seeds) > 1:
        low, high = band(values, seeds, SHARE if metric == "recall" else (-np.inf, np.inf))
        axis.fill_between(times, low, high, color=colour, alpha=0.15, lw=0)
