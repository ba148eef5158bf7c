"""Draws figures for print and screen: in colours that colour-blind readers can tell apart, with
names at the lines and shaded intervals."""

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from skewlab.metrics.scores import FloatArray, mean_of_present
from skewlab.report.read import Run
from skewlab.report.settings import Setting
from skewlab.report.statistics import band
from skewlab.report.thresholds import Thresholds
from skewlab.runs import json_file

# Okabe and Ito's palette: blue and vermilion differ for every kind of colour vision.
COLOURS = {"majority": "#0072B2", "minority": "#D55E00"}
# The names of classes and of what was chosen are text, whatever it looks like: no formulas.
NO_FORMULAS: dict[Any, Any] = {"text.parse_math": False}
STYLE: dict[Any, Any] = {
    **NO_FORMULAS,
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.titlesize": "medium",
    "savefig.dpi": 150,
}
STYLES = {"train": "-", "test": "--"}
PANELS_A_ROW = 4
# In inches: the width of a figure, which the page shows without making its text smaller, and the
# most that one panel has of it.
WIDTH, PANEL_WIDTH = 10.8, 4.0
# Of lines that are ratios, from the least to the most imbalanced.
RATIO_COLOURS = ("#009E73", "#56B4E9", "#CC79A7", "#E69F00", "#000000", "#7A5FB5")
# The least distance between the names of two lines, as a share of the recall axis.
LABEL_DISTANCE = 0.075


class FigureText(NamedTuple):
    """What stands beside a figure: the stem of its file, its title and its caption."""

    name: str
    title: str
    caption: str


# What a figure is about: a setting, or several that are compared.
Subject = TypeVar("Subject")
Draw = Callable[[Subject, Thresholds], tuple[Figure, FigureText] | None]


# Bytes of a folder's name.
LONGEST_NAME = 120


def folder_of(folder: Path, label: str) -> Path:
    """The folder of a subject's figures inside a folder; with an empty label the folder itself. The
    name of a long label ends in its hash: file systems take no more than 255 bytes."""
    name = re.sub(r"[^\w.=-]+", "_", label)
    if len(name.encode()) > LONGEST_NAME or not name.strip("."):
        name = f"{name[: LONGEST_NAME // 2]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
    return folder / name if label else folder


def draw_all(
    figures: Sequence[Draw[Subject]], subject: Subject, thresholds: Thresholds, folder: Path
) -> list[FigureText]:
    """Draw figures of one subject, as PNG and SVG in a folder.

    Returns:
        The text of each that could be drawn: some need several ratios, or what a probe measures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for draw in figures:
        with mpl.rc_context(STYLE):
            made = draw(subject, thresholds)
            if made is None:
                continue
            figure, text = made
            # The layout is computed here once; matplotlib would compute it for each file.
            if engine := figure.get_layout_engine():
                engine.execute(figure)
                figure.set_layout_engine(None)
            for suffix in ("png", "svg"):
                save(figure, folder / f"{text.name}.{suffix}")
        drawn.append(text)
    return drawn


def save(figure: Figure, path: Path, **how: Any) -> None:
    """Write a figure in one move: another process may be reading the file for its own page."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], **how)
    json_file.write_bytes(path, content.getvalue())


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches. Pyplot has no part in it: it would open windows, and keep every
    figure until it is closed."""
    return Figure(figsize=(width, height), layout="constrained")


def panels(
    count: int, columns: int = PANELS_A_ROW, size: tuple[float, float] = (PANEL_WIDTH, 2.7)
) -> tuple[Figure, list[Axes]]:
    """A figure and its first `count` axes, row by row; `size` is that of a panel at most."""
    columns = min(count, columns)
    rows = -(-count // columns)
    figure = new_figure(0.6 + min(WIDTH, size[0] * columns), 0.9 + size[1] * rows)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
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
    """A figure and its axes, shape [rows, columns]. The panels of a row share their vertical axis,
    and those of a column their horizontal one, unless told otherwise."""
    figure = new_figure(0.6 + min(WIDTH, 0.3 + size[0] * columns), 0.9 + size[1] * rows)
    axes = figure.subplots(
        rows,
        columns,
        sharex="col" if share_time else False,
        sharey="row" if share_values else False,
        squeeze=False,
    )
    for axis in axes.flat:
        light_frame(axis)
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
    """The mean recall over seeds and its interval, of a group or a list of classes. Each seed may
    have drawn other classes for a group."""
    curves = [
        run.curves[split].group(
            "recall", run.data["groups"][group] if isinstance(group, str) else group
        )
        for run in runs
    ]
    first = runs[0].curves[split]
    time = first.step.astype(np.float64) if by_step else first.epoch
    label = name or f"{group}, {split}"
    mean_line(axis, time, runs, curves, colour, style, label, marker=marker)


def mean_line(
    axis: Axes,
    time: FloatArray,
    runs: Sequence[Run],
    curves: Sequence[FloatArray],
    colour: str,
    style: str = "-",
    label: str = "",
    *,
    marker: str = "",
    width: float = 1.5,
) -> None:
    """The mean over seeds of one curve for each run, and its interval where no run is missing.

    The curves have the same times; where some are longer, what only they have is not drawn.
    """
    length = min(len(time), *(len(values) for values in curves))
    time, values = time[:length], np.stack([values[:length] for values in curves])
    mean = np.asarray([mean_of_present(column) for column in values.T])
    axis.plot(
        time, mean, style, color=colour, lw=width, label=label, marker=marker, ms=max(4, width + 3)
    )
    if len(values) > 1:
        low, high = band(values, [run.seed_key for run in runs])
        axis.fill_between(time, low, high, color=colour, alpha=0.18, lw=0)


def as_recall(axis: Axes) -> None:
    """The vertical axis of a recall: from 0 to 1, with a margin."""
    axis.set_ylim(-0.03, 1.03)
    light_frame(axis)


def light_frame(axis: Axes) -> None:
    """A light grid, and no lines at the top and the right."""
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def steps_axis(axis: Axes, label: bool = True) -> None:
    """Training steps on a log scale that has a place for step 0."""
    axis.set_xscale("symlog", linthresh=1, linscale=0.5)
    axis.set_xlim(left=-0.25)
    decimal_numbers(axis.xaxis)
    if label:
        axis.set_xlabel("step (log scale; 0: before training)")


def log_axis(axis: Axes, vertical: bool = False) -> None:
    """A log scale with whole numbers at 1, 2 and 5 of each decade."""
    (axis.set_yscale if vertical else axis.set_xscale)("log")
    scale = axis.yaxis if vertical else axis.xaxis
    scale.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    decimal_numbers(scale)


def decimal_numbers(scale: Axis) -> None:
    """Numbers without powers of ten, which matplotlib writes as formulas."""
    scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    scale.set_minor_formatter(NullFormatter())


def name_lines(axis: Axes) -> None:
    """Write each line's name at its right end; names that would overlap are moved apart."""
    lines = sorted(axis.get_lines(), key=lambda line: float(np.asarray(line.get_ydata())[-1]))
    places = [float(np.asarray(line.get_ydata())[-1]) for line in lines]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + LABEL_DISTANCE)
    # Names that were moved above the top are moved down again.
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
    return f"ratio {ratio:g}: {span(runs[0].counts, falling=True)} samples a class"


def span(numbers: Iterable[float], *, falling: bool = False) -> str:
    """`3 to 5`, from the least to the largest or the other way; `3` where all are the same."""
    ends = sorted(set(numbers), reverse=falling)
    return " to ".join(f"{end:g}" for end in dict.fromkeys((ends[0], ends[-1])))


def spread(setting: Setting, shaded: bool = True) -> str:
    """For a caption: over how many seeds the mean is, and whether its interval is shaded."""
    seeds = [len(runs) for _, runs in setting.by_ratio()]
    if max(seeds) < 2:
        return "One seed."
    return f"Mean of {span(seeds)} seeds{'; shaded, its 95% interval' if shaded else ''}."
