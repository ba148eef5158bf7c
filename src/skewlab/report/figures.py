"""Figures for print and screen: colours that the colour-blind tell apart, lines named directly."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from skewlab.report.load import Run, by_setting, differing_keys

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

# Okabe and Ito's palette: blue and vermilion differ for every kind of colour vision.
COLOURS = {"majority": "#0072B2", "minority": "#D55E00"}
STYLES = {"train": "-", "test": "--"}
PANELS_A_ROW = 4


def learning_curves(runs: Sequence[Run], path: Path) -> None:
    """Recall of both groups on train and test against epochs, one panel a ratio (and a row a
    setting): the mean over seeds, the band from the lowest to the highest seed."""
    keys = differing_keys(runs)
    panels = [
        (setting, ratio, [run for run in members if run.ratio == ratio])
        for setting, members in by_setting(runs).items()
        for ratio in sorted({run.ratio for run in members})
    ]
    columns = min(len(panels), PANELS_A_ROW)
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(1.2 + 3.4 * columns, 0.9 + 2.7 * rows),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (setting, ratio, members) in zip(axes.flat, panels, strict=False):
        _panel(axis, members)
        counts = members[0].data["train_counts"]
        title = f"ratio {ratio:g}: {max(counts)} to {min(counts)} samples a class"
        names = ", ".join(
            f"{key.removesuffix('.name')} {value}" for key, value in zip(keys, setting, strict=True)
        )
        axis.set_title(f"{title}\n{names}" if names else title, fontsize=9)
        axis.set_xlabel("epoch")
    for axis in axes[:, 0]:
        axis.set_ylabel("recall, mean over the group's classes")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    seeds = len({run.seed for run in runs})
    data = ", ".join(sorted({str(run.config["data"]["name"]) for run in runs}))
    spread = f", mean and range of {seeds} seeds" if seeds > 1 else ""
    figure.suptitle(f"What is learned of the majority and the minority: {data}{spread}")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(axis: Axes, runs: list[Run]) -> None:
    for group, colour in COLOURS.items():
        for split, style in STYLES.items():
            curves = [run.group(split, "recall", group) for run in runs]
            # Seeds share their time axis; one that stopped early ends the mean there.
            length = min(len(values) for _, values in curves)
            epochs = curves[0][0][:length]
            values = np.stack([value[:length] for _, value in curves])
            axis.plot(
                epochs, values.mean(0), style, color=colour, label=f"{group}, {split}", lw=1.6
            )
            if len(runs) > 1:
                axis.fill_between(
                    epochs, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0
                )
    axis.set_ylim(-0.03, 1.03)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
