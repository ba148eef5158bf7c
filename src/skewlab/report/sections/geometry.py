"""Where the classes lie in feature space."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skewlab.metrics.scores import FloatArray
from skewlab.report.drawing import (
    COLOURS,
    NO_FORMULAS,
    RATIO_COLOURS,
    FigureText,
    decimal_numbers,
    grid,
    legend,
    log_axis,
    mean_line,
    new_figure,
    panels,
    save,
    spread,
)
from skewlab.report.measures import over_seeds
from skewlab.report.read import Run
from skewlab.report.sections.panels import Quantity, over_time
from skewlab.report.sections.section import PageSection
from skewlab.report.settings import Setting
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds
from skewlab.runs import json_file
from skewlab.runs.reading import read_arrays

PROBE, FEATURES = "geometry", "features.npz"
COLLAPSE = {
    "nc1": "NC1: within over\nbetween classes",
    "nc2_equinorm": "NC2: unequal norms\nof class means",
    "nc2_widest_angles": "NC2: angles from the\nwidest possible",
    "nc3": "NC3: head from\nclass means",
    "nc4/test": "NC4: agrees with nearest\nclass mean, on test",
    "head_cosine/minority": "minority collapse: cosine\nof minority head vectors",
}
QUANTITIES = (
    Quantity("norm of the head's\nvector", {"head_norm": ("-", "")}),
    Quantity("norm of the centred\nclass mean", {"mean_norm": ("-", "")}),
    Quantity("deviation of test from\ntrain features", {"deviation": ("-", "")}, marks=(0,)),
    Quantity(
        "spread of a class's\nfeatures",
        {"spread/train": ("-", "train"), "spread/test": ("--", "test")},
    ),
)
# Of the animation.
FRAMES, FRAMES_A_SECOND = 30, 3


def collapse(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText]:
    """The measures of neural collapse over epochs, a line for each ratio."""
    by_ratio = setting.by_ratio(probe=PROBE)
    figure, axes = grid(2, 3, size=(3.3, 2.1), share_values=False)
    for axis, (name, words) in zip(axes.flat, COLLAPSE.items(), strict=True):
        for (ratio, runs), colour in zip(by_ratio, RATIO_COLOURS, strict=False):
            curves = [run.probes[PROBE].values[name] for run in runs]
            mean_line(
                axis, runs[0].probes[PROBE].epoch, runs, curves, colour, "-", f"ratio {ratio:g}"
            )
        axis.set_ylabel(words)
        if name == "nc1":
            axis.set_yscale("log")
            decimal_numbers(axis.yaxis)
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    legend(figure, axes[0, 0])
    return figure, FigureText(
        "neural_collapse",
        "Neural collapse",
        "Of the training features, each class counting once. At collapse NC1, NC2 and NC3 are 0 "
        "and NC4 is 1. At minority collapse the head's vectors of the minority's classes point one "
        "way, a cosine of 1 (Fang et al. 2021). " + spread(setting),
    )


def norms(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText]:
    """Norms, deviation and spread of both groups over epochs."""
    figure = over_time(setting, PROBE, QUANTITIES)
    return figure, FigureText(
        "geometry",
        "Norms and features of both groups",
        "Mean over each group's classes. Deviation: squared distance between the means of a "
        "class's training and test features over its spread on test, minus what is expected by "
        "chance of finite samples (Ye et al. 2020): 0 if both come from one distribution. "
        + spread(setting),
    )


def head_against_count(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText]:
    """Norm and bias of the head of each class against its training samples, at the end."""
    by_ratio = setting.by_ratio(probe=PROBE)
    figure, axes = grid(1, 2, size=(4.2, 3.0), share_values=False)
    shown = (("head_norm", "norm of the head's vector"), ("head_bias", "bias"))
    for axis, (name, words) in zip(axes[0], shown, strict=True):
        for (ratio, runs), colour in zip(by_ratio, RATIO_COLOURS, strict=False):
            counts = np.concatenate([run.counts for run in runs])
            values = np.concatenate([run.probes[PROBE].values[name][-1] for run in runs])
            axis.scatter(counts, values, s=14, color=colour, alpha=0.6, lw=0,
                         label=f"ratio {ratio:g}")  # fmt: skip
        log_axis(axis)
        axis.set_xlabel("training samples of the class (log scale)")
        axis.set_ylabel(words)
    legend(figure, axes[0, 0])
    return figure, FigureText(
        "head_against_count",
        "The head's norms and biases against class count",
        "A dot is one class of one run at the last epoch.",
    )


def projection(
    setting: Setting, thresholds: Thresholds, place: Path
) -> list[tuple[FigureText, Path]]:
    """An animation: features in the plane of the class means, epoch by epoch, at the smallest and
    the largest ratio."""
    by_ratio = {
        ratio: run
        for ratio, runs in setting.by_ratio(probe=PROBE)
        for run in reversed(runs)
        if "projection/means" in run.probes[PROBE].values
    }
    if not by_ratio:
        return []
    ratios = list(dict.fromkeys((min(by_ratio), max(by_ratio))))
    runs = [by_ratio[ratio] for ratio in ratios]
    epochs = runs[0].probes[PROBE].epoch
    chosen = sorted(set(np.linspace(0, len(epochs) - 1, FRAMES).round().astype(int)))
    with mpl.rc_context({"font.size": 11, **NO_FORMULAS}):
        figure = new_figure(0.4 + 4.4 * len(runs), 4.9)
        axes = figure.subplots(1, len(runs), squeeze=False)

        def draw(place: int) -> list[Axes]:
            for axis, run, ratio in zip(axes[0], runs, ratios, strict=True):
                _draw_plane(axis, run, ratio, place)
            figure.suptitle(f"epoch {epochs[place]:.2f}" if epochs[place] < 1 else
                            f"epoch {epochs[place]:g}")  # fmt: skip
            return list(axes[0])

        path = place / "projection.gif"
        animation = FuncAnimation(figure, draw, frames=chosen, blit=False)
        with tempfile.TemporaryDirectory() as beside:
            made = Path(beside) / path.name
            animation.save(made, writer=PillowWriter(fps=FRAMES_A_SECOND), dpi=80)
            json_file.write_bytes(path, made.read_bytes())
        draw(chosen[-1])
        save(figure, place / "projection.png", dpi=150)
    drawn = FigureText(
        "projection",
        "Watch the classes part",
        "Features in the plane in which the training class means vary most, in units of their mean "
        "distance from the centre: dots are training samples, crosses test samples, numbered "
        "circles the class means; blue the majority, orange the minority. The plane is computed "
        "anew at each epoch and rotated to fit the one before. Of the runs with seed "
        f"{runs[0].seed}.",
    )
    return [(drawn, path)]


def neighbours(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText] | None:
    """The features at the end of training by t-SNE, at the smallest and the largest ratio."""
    found = {
        ratio: run
        for ratio, runs in setting.by_ratio(probe=PROBE)
        for run in reversed(runs)
        if (run.path / FEATURES).exists()
    }
    if not found:
        return None
    ratios = list(dict.fromkeys((min(found), max(found))))
    figure, axes = panels(len(ratios), size=(4.4, 4.2))
    for axis, ratio in zip(axes, ratios, strict=True):
        run = found[ratio]
        places, labels, of_test = _embedded(run)
        for group, colour in COLOURS.items():
            own = np.isin(labels, run.data["groups"][group])
            for split, marker in (("train", "."), ("test", "x")):
                x, y = places[own & (of_test == (split == "test"))].T
                axis.scatter(
                    x, y, s=12, marker=marker, color=colour, alpha=0.5, lw=0.8,
                    label=f"{group}, {split}",
                )  # fmt: skip
            for label in np.unique(labels[own & of_test]):
                x, y = np.median(places[of_test & (labels == label)], axis=0)
                name = str(run.data["class_names"][label])[:6]
                axis.annotate(
                    name, (x, y), ha="center", va="center", color=colour, weight="bold"
                )  # fmt: skip
        axis.set_title(f"ratio {ratio:g}")
        axis.set_xticks([])
        axis.set_yticks([])
    legend(figure, axes[0])
    return figure, FigureText(
        "features_by_tsne",
        "Who is near whom",
        "The features of some training samples (dots) and test samples (crosses) at the end of "
        "training, by t-SNE (van der Maaten and Hinton 2008), which keeps near samples near; "
        "distances between groups of points mean nothing. A class's name stands in the middle of "
        f"its test samples. Of the runs with seed {found[ratios[0]].seed}.",
    )


def _embedded(run: Run) -> tuple[FloatArray, NDArray[np.int64], NDArray[np.bool_]]:
    """The places of a run's samples in the plane, shape [samples, 2], their labels, and whether
    each is of test."""
    from sklearn.manifold import TSNE

    arrays = read_arrays(run.path / FEATURES)
    features = np.concatenate([arrays["train"], arrays["test"]])
    # It must be below the number of samples; 30 is the usual one.
    perplexity = min(30.0, (len(features) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(features)
    labels = np.concatenate([arrays["train_labels"], arrays["test_labels"]])
    return places, labels, np.arange(len(features)) >= len(arrays["train"])


def _draw_plane(axis: Axes, run: Run, ratio: float, place: int) -> None:
    values, groups = run.probes[PROBE].values, run.data["groups"]
    axis.clear()
    place = min(place, len(values["projection/means"]) - 1)
    for split, marker, size in (("train", ".", 14), ("test", "x", 12)):
        points = values[f"projection/{split}"][place]
        labels = values[f"projection/{split}_labels"][place].astype(int)
        for group, colour in COLOURS.items():
            own = np.isin(labels, groups[group])
            x, y = points[own].T
            axis.scatter(x, y, s=size, marker=marker, color=colour, alpha=0.4, lw=0.8)
    for label, (x, y) in enumerate(values["projection/means"][place]):
        group = "minority" if label in groups["minority"] else "majority"
        axis.scatter(x, y, s=130, color="white", edgecolor=COLOURS[group], zorder=3)
        axis.annotate(
            str(run.data["class_names"][label])[:6], (x, y), ha="center", va="center", fontsize=8,
            color=COLOURS[group], zorder=4,
        )  # fmt: skip
    # The limits are the same at each epoch, wide enough for all points of all epochs.
    reach = 1.05 * max(
        float(np.abs(values[f"projection/{name}"]).max()) for name in ("train", "test", "means")
    )
    axis.set_xlim(-reach, reach)
    axis.set_ylim(-reach, reach)
    axis.set_aspect("equal")
    axis.set_title(f"ratio {ratio:g}")
    axis.set_xticks([])
    axis.set_yticks([])


COLUMNS = {
    "NC1": "nc1",
    "NC2 norms": "nc2_equinorm",
    "NC2 angles": "nc2_widest_angles",
    "NC3": "nc3",
    "NC4 train": "nc4/train",
    "NC4 test": "nc4/test",
    "minority collapse": "head_cosine/minority",
    "head norm against log count": "head_norm_slope",
}


def rows(setting: Setting, thresholds: Thresholds) -> Iterator[Row]:
    """A row for each ratio, at the last evaluation."""
    for ratio, runs in setting.by_ratio(probe=PROBE):
        row: Row = {"ratio": ratio, "seeds": len(runs)}
        for words, name in COLUMNS.items():
            row[words] = over_seeds(runs, [run.probes[PROBE].values[name][-1] for run in runs])
        for group in COLOURS:
            last = [run.probe_group(PROBE, "deviation", group)[-1] for run in runs]
            row[f"deviation, {group}"] = over_seeds(runs, last)
        yield row


SECTION = PageSection(
    "geometry",
    "Geometry",
    "Neural collapse (Papyan, Han and Donoho 2020), the head, and the features of training samples "
    "beside those of test samples. All measures are about the mean of the class means, in which a "
    "class counts once however frequent it is.",
    figures=(collapse, norms, head_against_count, neighbours),
    tables={"geometry": ("At the last epoch", rows)},
    pictures=(projection,),
    probe=PROBE,
)
