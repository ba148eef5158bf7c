"""One run at a glance, for the page that a logger has of it."""

from pathlib import Path

import matplotlib.pyplot as plt

from skewlab.report.drawing import COLOURS, STYLES, as_recall, counts_title, curve, name_lines
from skewlab.report.read import Run


def draw_run(run: Run, path: Path) -> Path:
    """Draw the recall of both groups, over epochs on train and test, and over the first steps on
    train.

    Args:
        run: evaluated at least once.
        path: the PNG file.

    Returns:
        The file.
    """
    with plt.rc_context({"font.size": 9}):
        figure, (whole, early) = plt.subplots(
            1, 2, figsize=(9.0, 3.4), sharey=True, layout="constrained"
        )
        for group, colour in COLOURS.items():
            for split, style in STYLES.items():
                curve(whole, [run], split, group, colour, style)
            curve(early, [run], "train", group, colour, "-", by_step=True, marker=".")
        whole.set_xlabel("epoch")
        whole.set_ylabel("recall, mean over the group's classes")
        early.set_xscale("symlog", linthresh=1, linscale=0.5)
        early.set_xlabel("training step (log scale; 0 is before training)")
        for axis in (whole, early):
            as_recall(axis)
            name_lines(axis)
        figure.suptitle(f"{counts_title(run.ratio, [run])}, seed {run.seed}")
        figure.savefig(path, dpi=120)
        plt.close(figure)
    return path
