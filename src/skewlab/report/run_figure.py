"""One run at a glance, for the page that a logger has of it."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skewlab.report.drawing import (
    COLOURS,
    NO_FORMULAS,
    STYLES,
    as_recall,
    counts_title,
    curve,
    decimal_numbers,
    name_lines,
    new_figure,
)
from skewlab.report.read import Run

# More classes than these are not named at the axes.
MOST_NAMES = 30


def draw_run(run: Run, path: Path) -> Path:
    """Draw the recall of both groups, over epochs on train and test, and over the first steps on
    train.

    Args:
        run: evaluated at least once.
        path: the PNG file.

    Returns:
        The file.
    """
    with mpl.rc_context({"font.size": 9, **NO_FORMULAS}):
        figure = new_figure(9.0, 3.4)
        whole, early = figure.subplots(1, 2, sharey=True)
        for group, colour in COLOURS.items():
            for split, style in STYLES.items():
                curve(whole, [run], split, group, colour, style)
            curve(early, [run], "train", group, colour, "-", by_step=True, marker=".")
        whole.set_xlabel("epoch")
        whole.set_ylabel("recall, mean over the group's classes")
        early.set_xscale("symlog", linthresh=1, linscale=0.5)
        decimal_numbers(early.xaxis)
        early.set_xlabel("training step (log scale; 0 is before training)")
        for axis in (whole, early):
            as_recall(axis)
            name_lines(axis)
        figure.suptitle(f"{counts_title(run.ratio, [run])}, seed {run.seed}")
        figure.savefig(path, dpi=120)
    return path


def draw_confusion(counts: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """A confusion matrix, each row as shares of its true class.

    Args:
        counts: samples by true (rows) and predicted class (columns).
        names: of the classes, in label order.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with mpl.rc_context(NO_FORMULAS):
        figure = new_figure(5.2, 4.4)
        axis = figure.subplots()
        image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(image, label="share of the true class")
        if len(names) <= MOST_NAMES:
            long = max(map(len, names)) > 2
            axis.set_xticks(range(len(names)), names, rotation=90 if long else 0)
            axis.set_yticks(range(len(names)), names)
        axis.set_xlabel("predicted class")
        axis.set_ylabel("true class")
        axis.set_title("test samples at the last evaluation")
    return figure
