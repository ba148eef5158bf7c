"""Every training sample: cartography, when it was learned, and what was forgotten."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from skewlab.metrics.scores import FloatArray, mean_of_present
from skewlab.report.drawing import COLOURS, FigureText, decimal_numbers, grid
from skewlab.report.measures import POSITIVE, SHARE, over_seeds
from skewlab.report.read import Run
from skewlab.report.sections.section import PageSection
from skewlab.report.settings import Setting
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds
from skewlab.runs import json_file
from skewlab.runs.reading import read_arrays, read_bytes

PROBE = "samples"
FILE, PICTURE = "samples.npz", "samples.png"
# Means over samples in the table.
MEANS = {
    "forgetting": "forgetting events a sample",
    "confidence": "confidence",
    "variability": "variability",
    "correctness": "correctness",
}
# So many dots are drawn, chosen at random: more would hide each other.
MOST_DOTS = 3000


def read_samples(run: Run) -> dict[str, FloatArray]:
    """The arrays over samples of `samples.npz`, and `minority`, whether a sample is of it."""
    arrays = read_arrays(run.path / FILE)
    arrays["minority"] = np.isin(arrays["label"], run.data["groups"]["minority"])
    return arrays


def _by_ratio(setting: Setting) -> list[tuple[float, list[Run]]]:
    """Each ratio with its runs that have the file."""
    found = [
        (ratio, [run for run in runs if (run.path / FILE).exists()])
        for ratio, runs in setting.by_ratio(probe=PROBE)
    ]
    return [(ratio, runs) for ratio, runs in found if runs]


def cartography(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText] | None:
    """Confidence against variability of each sample, and when the groups were learned."""
    by_ratio = _by_ratio(setting)
    if not by_ratio:
        return None
    figure, axes = grid(2, len(by_ratio), size=(3.0, 2.6), share_time=False)
    for (dots, times), (ratio, runs) in zip(axes.T, by_ratio, strict=True):
        found = [read_samples(run) for run in runs]
        for group, colour in COLOURS.items():
            own = [_only(arrays, group) for arrays in found]
            x, y, first = (
                np.concatenate([arrays[name] for arrays in own])
                for name in ("variability", "confidence", "first_learned")
            )
            keep = np.random.default_rng(0).permutation(len(x))[:MOST_DOTS]
            dots.scatter(x[keep], y[keep], s=6, color=colour, alpha=0.35, lw=0, label=group)
            epochs = np.arange(1, max(run.curves["train"].epoch[-1] for run in runs) + 1)
            share = [(first <= epoch).mean() for epoch in epochs]
            times.plot(epochs, share, color=colour, lw=1.5, label=group, drawstyle="steps-post")
        dots.set_title(f"ratio {ratio:g}")
        dots.set_xlabel("variability: std of p(true class)")
        times.set_xscale("log")
        decimal_numbers(times.xaxis)
        times.set_xlabel("epoch (log scale)")
        times.set_ylim(-0.03, 1.03)
    axes[0, 0].set_ylabel("confidence:\nmean of p(true class)")
    axes[1, 0].set_ylabel("share that was\ncorrect at least once")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure, FigureText(
        "cartography",
        "Every training sample",
        "Above, a dot a training sample of any seed: mean and standard deviation over epochs of "
        "the probability of its class. Samples that are learned at once and kept are at the top "
        "left, samples that are never learned at the bottom left, samples that are learned late or "
        "forgotten at the right. Below, the share of each group's samples that was correct at the "
        "end of an epoch at least once.",
    )


def images(setting: Setting, thresholds: Thresholds, place: Path) -> list[tuple[FigureText, Path]]:
    """The notable minority images of one run at the largest ratio."""
    for ratio, (run, *_) in reversed(_by_ratio(setting)):
        if (run.path / PICTURE).exists():
            copy = place / "notable_samples.png"
            json_file.write_bytes(copy, read_bytes(run.path / PICTURE))
            drawn = FigureText(
                "notable_samples",
                f"The minority's notable images at ratio {ratio:g}",
                "Above each image its class, its forgetting events, the epoch at which it was "
                f"first correct, and its mean probability. Of the run with seed {run.seed}.",
            )
            return [(drawn, copy)]
    return []


def rows(setting: Setting, thresholds: Thresholds) -> Iterator[Row]:
    """A row for each ratio and group."""
    for ratio, runs in _by_ratio(setting):
        samples = [read_samples(run) for run in runs]
        for group in COLOURS:
            of_group = [_only(arrays, group) for arrays in samples]
            sizes = sorted({len(arrays["label"]) for arrays in of_group})
            row: Row = {
                "ratio": ratio,
                "group": group,
                "seeds": len(runs),
                "samples": "-".join(str(size) for size in sizes),
                "never correct": over_seeds(
                    runs,
                    [float(np.isnan(arrays["first_learned"]).mean()) for arrays in of_group],
                    SHARE,
                ),
                "first correct, epoch": over_seeds(
                    runs,
                    [mean_of_present(arrays["first_learned"]) for arrays in of_group],
                    POSITIVE,
                ),
            }
            for name, words in MEANS.items():
                row[words] = over_seeds(runs, [float(arrays[name].mean()) for arrays in of_group])
            yield row


def _only(arrays: dict[str, FloatArray], group: str) -> dict[str, FloatArray]:
    own = arrays["minority"] == (group == "minority")
    return {name: values[own] for name, values in arrays.items()}


SECTION = PageSection(
    "samples",
    "Samples",
    "Every single training sample, evaluated at the end of each epoch: forgetting events (Toneva "
    "et al. 2019: correct at one evaluation and wrong at the next), and cartography (Swayamdipta "
    "et al. 2020: mean and spread of the probability of its class).",
    figures=(cartography,),
    tables={"samples": ("By group", rows)},
    pictures=(images,),
    probe=PROBE,
)
