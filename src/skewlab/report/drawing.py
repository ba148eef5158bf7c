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
from skewlab.report.fitting import (
    COLUMN,
    PAGE,
    fits,
    for_paper,
    lay_out,
    paper_width,
    thin_out,
)
from skewlab.report.measures import SHARE
from skewlab.report.read import Run
from skewlab.report.settings import Setting, same_roles
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
# In the report's folder: the figures for papers.
PAPER_FOLDER = "paper"
# Fonts are inside a PDF as TrueType, which every publisher takes.
PAPER: dict[Any, Any] = {
    **NO_FORMULAS,
    "font.size": 8,
    "axes.titlesize": "medium",
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}
STYLES = {"train": "-", "test": "--"}
PANELS_A_ROW = 4
# In inches: the width of a figure, which the page shows without making its text smaller, and the
# most that one panel has of it.
WIDTH, PANEL_WIDTH = 10.8, 4.0
# Of lines that are ratios, from the least to the most imbalanced.
RATIO_COLOURS = ("#009E73", "#56B4E9", "#CC79A7", "#E69F00", "#000000", "#7A5FB5")
# The least distance between the names of two lines on the page, and the place of the highest name,
# as shares of the vertical axis; for papers the distance is that of lines of text, in font sizes.
LABEL_DISTANCE, TOP_LABEL, LINE_HEIGHT = 0.071, 0.972, 1.25


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
            lay_out(figure)
            figure.set_layout_engine(None)
            for suffix in ("png", "svg"):
                save(figure, folder / f"{text.name}.{suffix}")
        drawn.append(text)
    return drawn


def draw_for_paper(
    figures: Sequence[Draw[Subject]], subject: Subject, thresholds: Thresholds, folder: Path
) -> None:
    """Draw figures of one subject as PDF in a folder: as wide as a column where they have a single
    panel that fits into it, and as wide as a page otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    for draw in figures:
        with mpl.rc_context(PAPER):
            made = _draw_at(PAGE, draw, subject, thresholds)
            if made is None:
                continue
            if len(made[0].axes) == 1:
                narrow = _draw_at(COLUMN, draw, subject, thresholds)
                made = narrow if narrow and fits(narrow[0]) else made
            figure, text = made
            # Without a date the same figure is the same file.
            save(figure, folder / f"{text.name}.pdf", metadata={"CreationDate": None})


def _draw_at(
    width: float, draw: Draw[Subject], subject: Subject, thresholds: Thresholds
) -> tuple[Figure, FigureText] | None:
    """A figure for a paper, of this width."""
    with for_paper(width):
        if made := draw(subject, thresholds):
            lay_out(made[0])
            made[0].set_layout_engine(None)
            thin_out(made[0])
    return made


def save(figure: Figure, path: Path, **how: Any) -> None:
    """Write a figure in one move: another process may be reading the file for its own page."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], **how)
    json_file.write_bytes(path, content.getvalue())


def new_figure(width: float, height: float, *, rows_of_text: bool = False) -> Figure:
    """An empty figure, in inches. For a paper it has the paper's width and the same shape; where
    its height is that of rows of text, it has the height that they need.

    Pyplot has no part in it: it would open windows, and keep every figure until it is closed.
    """
    if wide := paper_width():
        height *= PAPER["font.size"] / STYLE["font.size"] if rows_of_text else wide / width
        width = wide
    return Figure(figsize=(width, height), layout="constrained")


def panels(
    count: int,
    columns: int = PANELS_A_ROW,
    size: tuple[float, float] = (PANEL_WIDTH, 2.7),
    least: float = 1.3,
) -> tuple[Figure, list[Axes]]:
    """A figure and its first `count` axes, row by row; `size` is that of a panel at most, `least`
    the least width of one in a paper."""
    columns = min(count, columns)
    if wide := paper_width():
        columns = min(columns, int(wide / least))
    rows = -(-count // columns)
    if wide:
        columns = -(-count // rows)
    figure = new_figure(0.6 + min(WIDTH, size[0] * columns), 0.9 + size[1] * rows)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


def label_edges(axes: Sequence[Axes], up: str, across: str = "") -> None:
    """Name the axes of `panels`: `up` at the left of each row, `across` below the last panel of
    each column."""
    place = axes[0].get_subplotspec()
    assert place is not None
    columns = place.get_gridspec().ncols
    for axis in axes[::columns]:
        axis.set_ylabel(up)
    for axis in axes[-columns:] if across else ():
        axis.set_xlabel(across)


def grid(
    rows: int,
    columns: int,
    size: tuple[float, float] = (2.9, 2.1),
    *,
    share_time: bool = True,
    share_values: bool = True,
    rows_of_text: bool = False,
) -> tuple[Figure, NDArray[Any]]:
    """A figure and its axes, shape [rows, columns]. The panels of a row share their vertical axis,
    and those of a column their horizontal one, unless told otherwise; `rows_of_text` is as of
    `new_figure`."""
    width, height = 0.6 + min(WIDTH, 0.3 + size[0] * columns), 0.9 + size[1] * rows
    figure = new_figure(width, height, rows_of_text=rows_of_text)
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
    mean_line(axis, time, runs, curves, colour, style, label, marker=marker, within=SHARE)


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
    within: tuple[float, float] = (-np.inf, np.inf),
) -> None:
    """The mean over seeds of one curve for each run, and its interval where no run is missing;
    `within` are the least and the largest possible value.

    The curves have the same times; where some are longer, what only they have is not drawn.
    """
    length = min(len(time), *(len(values) for values in curves))
    time, values = time[:length], np.stack([values[:length] for values in curves])
    mean = np.asarray([mean_of_present(column) for column in values.T])
    axis.plot(
        time, mean, style, color=colour, lw=width, label=label, marker=marker, ms=max(4, width + 3)
    )
    if len(values) > 1:
        low, high = band(values, [run.seed_key for run in runs], within)
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
    """Updates on a log scale that has a place for 0."""
    axis.set_xscale("symlog", linthresh=1, linscale=0.5)
    axis.set_xlim(left=-0.25)
    decimal_numbers(axis.xaxis)
    if label:
        axis.set_xlabel("updates (log scale; 0: before training)")


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
    """Write each line's name at its right end; names that would overlap are moved apart. The
    limits of the vertical axis must have been set."""
    low, high = axis.get_ylim()
    lines = sorted(axis.get_lines(), key=lambda line: float(np.asarray(line.get_ydata())[-1]))
    places = [(float(np.asarray(line.get_ydata())[-1]) - low) / (high - low) for line in lines]
    apart = LABEL_DISTANCE
    if paper_width() and isinstance(axis.figure, Figure):
        lay_out(axis.figure)
        apart = LINE_HEIGHT * mpl.rcParams["font.size"] * axis.figure.dpi / 72
        apart /= axis.get_window_extent().height
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + apart)
    # Names that were moved above the top are moved down again.
    for i in reversed(range(len(places))):
        above = places[i + 1] - apart if i + 1 < len(places) else TOP_LABEL
        places[i] = min(places[i], above)
    for line, place in zip(lines, places, strict=True):
        axis.annotate(
            str(line.get_label()),
            (1.02, place),
            xycoords="axes fraction",
            color=line.get_color(),
            va="center",
            annotation_clip=False,
        )


def legend(figure: Figure, axis: Axes, columns: int = 4) -> None:
    """One legend below all panels, in as many columns as fit. Where these are fewer, the figure
    becomes higher by the further lines."""
    handles, labels = axis.get_legend_handles_labels()
    for number in range(columns, 0, -1):
        made = figure.legend(
            handles, labels, loc="outside lower center", ncols=number, frameon=False
        )
        if number == 1 or made.get_window_extent().width <= figure.bbox.width:
            break
        made.remove()
    more = -(-len(labels) // number) - -(-len(labels) // columns)
    line = 1.2 * LINE_HEIGHT * mpl.rcParams["font.size"] / 72
    figure.set_figheight(figure.get_figheight() + more * line)


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


def spread_of_classes(
    setting: Setting, ratio: float, probe: str | None = None, shaded: bool = True
) -> str:
    """The same of what is shown of single classes, at one ratio: over the runs of `same_roles`."""
    every = setting.of(ratio=ratio, probe=probe)
    if len(runs := same_roles(every)) == len(every):
        return spread(setting, shaded)
    of = (
        f"Of seed {runs[0].seed} alone"
        if len(runs) == 1
        else f"Mean of {len(runs)} of {len(every)} seeds"
    )
    return f"{of}: each seed draws the minority anew."
