"""How figures are drawn, for print and screen: colours that the colour-blind tell apart, lines
named directly, intervals shaded."""

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from skewlab.metrics.scores import FloatArray, mean_of_present
from skewlab.report.read import Run
from skewlab.report.settings import Setting
from skewlab.report.statistics import band
from skewlab.report.thresholds import Thresholds
from skewlab.runs import json_file as json_file

# Okabe and Ito's palette: blue and vermilion differ for every kind of colour vision.
COLOURS = {"majority": "#0072B2", "minority": "#D55E00"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.titlesize": "medium",
    "savefig.dpi": 150,
}
STYLES = {"train": "-", "test": "--"}
PANELS_A_ROW = 4
# In inches: as wide as the page shows a figure without making its text smaller, but for margins;
# and one panel at most.
WIDTH, PANEL_WIDTH = 10.8, 4.0
# Ratios, from the least to the most imbalanced, where each is a line.
RATIO_COLOURS = ("#009E73", "#56B4E9", "#CC79A7", "#E69F00", "#000000", "#7A5FB5")
# Between the names of two lines, as a share of the recall axis.
LABEL_DISTANCE = 0.075


class Drawn(NamedTuple):
    """One figure: its file's stem, its heading and what a reader sees in it."""

    name: str
    title: str
    caption: str


# What a figure is of: a setting, or several that are compared.
Subject = TypeVar("Subject")
Draw = Callable[[Subject, Thresholds], tuple[Figure, Drawn] | None]


def folder_of(folder: Path, label: str) -> Path:
    """The place of a subject's figures; the folder itself where it is the only one, and unnamed."""
    return folder / re.sub(r"[^\w.=-]+", "_", label) if label else folder


def draw_all(
    figures: Sequence[Draw[Subject]], subject: Subject, limits: Thresholds, folder: Path
) -> list[Drawn]:
    """Draw figures of one subject, as PNG and SVG in a folder.

    Returns:
        Those that could be drawn: some need several ratios, or what a probe measures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for draw in figures:
        with plt.rc_context(STYLE):
            made = draw(subject, limits)
            if made is None:
                continue
            figure, about = made
            # Laid out once: matplotlib would draw it twice for each file.
            if engine := figure.get_layout_engine():
                engine.execute(figure)
                figure.set_layout_engine(None)
            for suffix in ("png", "svg"):
                save(figure, folder / f"{about.name}.{suffix}")
            plt.close(figure)
        drawn.append(about)
    return drawn


def save(figure: Figure, path: Path, **how: Any) -> None:
    """Write a figure in one move: the end of another sweep may be reading it for its own page."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], **how)
    json_file.write_bytes(path, content.getvalue())


def panels(
    count: int, columns: int = PANELS_A_ROW, size: tuple[float, float] = (PANEL_WIDTH, 2.7)
) -> tuple[Figure, list[Axes]]:
    """A figure and its first `count` axes, row by row; as large, or as wide as there is room."""
    columns = min(count, columns)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(0.6 + min(WIDTH, size[0] * columns), 0.9 + size[1] * rows),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


def grid(
    rows: int,
    columns: int,
    size: tuple[float, float] = (2.9, 2.1),
    *,
    share_time: bool = True,
    share_values: bool = True,
) -> tuple[Figure, NDArray[Any]]:
    """A figure and its axes [rows, columns]; unless told otherwise those of a row share their
    vertical axis, those of a column their horizontal one."""
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(0.6 + min(WIDTH, 0.3 + size[0] * columns), 0.9 + size[1] * rows),
        sharex="col" if share_time else False,
        sharey="row" if share_values else False,
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def curve(
    axis: Axes,
    runs: Sequence[Run],
    split: str,
    group: str | list[int],
    colour: str,
    style: str,
    *,
    by_step: bool = False,
    marker: str = "",
    name: str = "",
) -> None:
    """The mean over seeds and its interval."""
    members = runs[0].data["groups"][group] if isinstance(group, str) else group
    curves = [run.curves[split].group("recall", members) for run in runs]
    first = runs[0].curves[split]
    time = first.step.astype(np.float64) if by_step else first.epoch
    label = name or f"{group}, {split}"
    mean_line(axis, time, curves, colour, style, label, marker=marker)


def mean_line(
    axis: Axes,
    time: FloatArray,
    curves: Sequence[FloatArray],
    colour: str,
    style: str = "-",
    label: str = "",
    *,
    marker: str = "",
    width: float = 1.5,
) -> None:
    """The mean of one curve a seed, and its interval where no seed is missing. Seeds share their
    time axis; of curves of several lengths it is drawn as far as all go."""
    length = min(len(time), *(len(values) for values in curves))
    time, values = time[:length], np.stack([values[:length] for values in curves])
    mean = np.asarray([mean_of_present(column) for column in values.T])
    axis.plot(
        time, mean, style, color=colour, lw=width, label=label, marker=marker, ms=max(4, width + 3)
    )
    if len(values) > 1:
        low, high = band(values)
        axis.fill_between(time, low, high, color=colour, alpha=0.18, lw=0)


def as_recall(axis: Axes) -> None:
    """From 0 to 1, with a little room."""
    axis.set_ylim(-0.03, 1.03)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def steps_axis(axis: Axes, label: bool = True) -> None:
    """Training steps on a log scale that has a place for step 0."""
    axis.set_xscale("symlog", linthresh=1, linscale=0.5)
    axis.set_xlim(left=-0.25)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:g}"))
    if label:
        axis.set_xlabel("step (log scale; 0: before training)")


def log_axis(axis: Axes, vertical: bool = False) -> None:
    """A log scale with plain numbers at 1, 2 and 5 of each decade."""
    (axis.set_yscale if vertical else axis.set_xscale)("log")
    scale = axis.yaxis if vertical else axis.xaxis
    scale.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    scale.set_minor_formatter(NullFormatter())


def name_lines(axis: Axes) -> None:
    """Each line's name at its right end, moved apart where the ends are close."""
    lines = sorted(axis.get_lines(), key=lambda line: float(np.asarray(line.get_ydata())[-1]))
    places = [float(np.asarray(line.get_ydata())[-1]) for line in lines]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + LABEL_DISTANCE)
    # Pushed above the top, they are moved down again, each below the one before.
    for i in reversed(range(len(places))):
        above = places[i + 1] - LABEL_DISTANCE if i + 1 < len(places) else 1.0
        places[i] = min(places[i], above)
    for line, place in zip(lines, places, strict=True):
        axis.annotate(
            str(line.get_label()),
            (1.02, place),
            xycoords=axis.get_yaxis_transform(),
            color=line.get_color(),
            va="center",
            annotation_clip=False,
        )


def legend(figure: Figure, axis: Axes, columns: int = 4) -> None:
    """One legend below all panels."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def counts_title(ratio: float, runs: Sequence[Run]) -> str:
    """`ratio 10: 300 to 30 samples a class`."""
    counts = runs[0].counts
    span = " to ".join(str(count) for count in dict.fromkeys((max(counts), min(counts))))
    return f"ratio {ratio:g}: {span} samples a class"


def spread(setting: Setting, shaded: bool = True) -> str:
    """What is drawn of several seeds, for a caption: their mean, and its interval if shaded."""
    seeds = sorted({len(setting.of(ratio=ratio)) for ratio in setting.ratios()})
    if seeds[-1] < 2:
        return "One seed."
    number = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"Mean of {number} seeds{'; shaded, its 95% bootstrap interval' if shaded else ''}."
