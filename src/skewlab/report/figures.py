"""The report's figures, each of one setting."""

import numpy as np
from matplotlib.figure import Figure

from skewlab.report.drawing import (
    COLOURS,
    STYLES,
    Draw,
    Drawn,
    as_recall,
    counts_title,
    curve,
    legend,
    log_axis,
    name_lines,
    panels,
    spread,
    steps_axis,
)
from skewlab.report.read import Run
from skewlab.report.settings import Setting
from skewlab.report.statistics import bootstrap
from skewlab.report.thresholds import Thresholds

# More classes than these make no readable small multiples: the most and least frequent are shown.
MOST_PANELS = 20
CONFUSION_CLASSES = 30


def learning_curves(setting: Setting, limits: Thresholds) -> tuple[Figure, Drawn]:
    """Recall of both groups on train and test against epochs, one panel a ratio."""
    figure, axes = panels(len(setting.ratios()))
    for axis, ratio in zip(axes, setting.ratios(), strict=True):
        runs = setting.of(ratio=ratio)
        for group, colour in COLOURS.items():
            for split, style in STYLES.items():
                curve(axis, runs, split, group, colour, style)
        axis.set_title(counts_title(ratio, runs))
        axis.set_xlabel("epoch")
        as_recall(axis)
    axes[0].set_ylabel("recall, mean over the group's classes")
    name_lines(axes[-1])
    return figure, Drawn(
        "learning_curves",
        "Learning curves",
        "Recall of the majority's and the minority's classes on train and test. " + spread(setting),
    )


def early_phase(setting: Setting, limits: Thresholds) -> tuple[Figure, Drawn]:
    """Train recall of both groups against single steps, on a log axis."""
    figure, axes = panels(len(setting.ratios()))
    for axis, ratio in zip(axes, setting.ratios(), strict=True):
        runs = setting.of(ratio=ratio)
        for group, colour in COLOURS.items():
            curve(axis, runs, "train", group, colour, "-", by_step=True, marker=".")
        steps_axis(axis)
        axis.set_title(counts_title(ratio, runs))
        as_recall(axis)
    axes[0].set_ylabel("train recall")
    name_lines(axes[-1])
    return figure, Drawn(
        "early_phase",
        "The early phase",
        "Recall of both groups on train at the resolution of single steps. " + spread(setting),
    )


def per_class(setting: Setting, limits: Thresholds) -> tuple[Figure, Drawn]:
    """One panel a class at the largest ratio, the most frequent first."""
    ratio = setting.ratios()[-1]
    runs = setting.of(ratio=ratio)
    counts, names = runs[0].counts, runs[0].data["class_names"]
    order = np.argsort(-np.asarray(counts), kind="stable")
    if len(order) > MOST_PANELS:
        order = np.concatenate([order[: MOST_PANELS // 2], order[-MOST_PANELS // 2 :]])
    figure, axes = panels(len(order), columns=5, size=(2.2, 1.9))
    for place, (axis, label) in enumerate(zip(axes, order, strict=True)):
        group = "minority" if label in runs[0].data["groups"]["minority"] else "majority"
        for split, style in STYLES.items():
            curve(axis, runs, split, [int(label)], COLOURS[group], style, name=split)
        axis.set_title(f"{names[label]}: {counts[label]} samples", color=COLOURS[group])
        as_recall(axis)
        if place % 5 == 0:
            axis.set_ylabel("recall")
        if place >= len(order) - 5:
            axis.set_xlabel("epoch")
    legend(figure, axes[0])
    return figure, Drawn(
        "per_class",
        f"Every class at ratio {ratio:g}",
        "Train and test recall of single classes, the most frequent first; blue the majority, "
        "red the minority. " + spread(setting),
    )


def recall_against_count(setting: Setting, limits: Thresholds) -> tuple[Figure, Drawn]:
    """Final recall of each class against its training samples."""
    figure, axes = panels(2, size=(4.2, 3.2))
    for axis, split in zip(axes, STYLES, strict=True):
        for group, colour in COLOURS.items():
            counts, recalls = [], []
            for run in setting.of():
                members = run.data["groups"][group]
                counts += [run.counts[label] for label in members]
                recalls += list(run.curves[split].values["recall"][-1, members])
            axis.scatter(counts, recalls, s=14, color=colour, alpha=0.5, label=group, lw=0)
            steps = sorted(set(counts))
            means = [
                np.nanmean([r for c, r in zip(counts, recalls, strict=True) if c == step])
                for step in steps
            ]
            axis.plot(steps, means, color=colour, lw=1.4)
        log_axis(axis)
        axis.set_title(split)
        axis.set_xlabel("training samples of the class (log scale)")
        as_recall(axis)
    axes[0].set_ylabel("recall at the last epoch")
    legend(figure, axes[0])
    return figure, Drawn(
        "recall_against_count",
        "Recall against class count",
        "A dot is one class of one run, the line their mean at each count, over all ratios.",
    )


def gap_against_ratio(setting: Setting, limits: Thresholds) -> tuple[Figure, Drawn] | None:
    """Generalisation gap of both groups against the ratio."""
    ratios = setting.ratios()
    if len(ratios) < 2:
        return None
    figure, (axis,) = panels(1, size=(4.8, 3.4))
    for group, colour in COLOURS.items():

        def gap(run: Run, group: str = group) -> float:
            return run.final("train", "recall", group) - run.final("test", "recall", group)

        estimates = [bootstrap([gap(run) for run in setting.of(ratio=r)]) for r in ratios]
        means = [estimate.mean for estimate in estimates]
        axis.plot(ratios, means, "o-", color=colour, ms=4)
        axis.fill_between(
            ratios, [e.low for e in estimates], [e.high for e in estimates], color=colour,
            alpha=0.18, lw=0,
        )  # fmt: skip
        axis.annotate(
            group, (ratios[-1], means[-1]), (6, 0), textcoords="offset points", color=colour,
            va="center",
        )  # fmt: skip
    log_axis(axis)
    axis.set_xlim(right=ratios[-1] ** 1.22)
    axis.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
    axis.set_xlabel("imbalance ratio (log scale)")
    axis.set_ylabel("train recall minus test recall")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    return figure, Drawn(
        "gap_against_ratio",
        "Generalisation gap against ratio",
        "What is learned and does not carry over to test, at the last epoch. " + spread(setting),
    )


def confusion_over_time(setting: Setting, limits: Thresholds) -> tuple[Figure, Drawn] | None:
    """Confusion matrices on test at the largest ratio: before, early in, and after training."""
    ratio = setting.ratios()[-1]
    runs = [run for run in setting.of(ratio=ratio) if "confusion" in run.curves["test"].values]
    if not runs or len(runs[0].counts) > CONFUSION_CLASSES:
        return None
    times = runs[0].curves["test"].epoch
    wanted = [0.0, 0.03 * times[-1], limits.early_fraction * times[-1], 0.3 * times[-1], times[-1]]
    chosen = list(dict.fromkeys(int(np.abs(times - time).argmin()) for time in wanted))
    figure, axes = panels(len(chosen), columns=len(chosen), size=(2.1, 2.1))
    names = runs[0].data["class_names"]
    image = None
    for axis, place in zip(axes, chosen, strict=True):
        total = np.sum([run.curves["test"].values["confusion"][place] for run in runs], axis=0)
        shares = total / np.maximum(total.sum(axis=1, keepdims=True), 1)
        image = axis.imshow(shares, vmin=0, vmax=1, cmap="cividis")
        axis.set_title(f"epoch {times[place]:.2g}")
        axis.set_xlabel("predicted class")
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
    axes[0].set_ylabel("true class")
    assert image is not None
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.7)
    return figure, Drawn(
        "confusion_over_time",
        f"Confusion matrix over time at ratio {ratio:g}",
        "Rows are true classes and sum to one, over all seeds; what is off the diagonal was given "
        "to another class.",
    )


FIGURES: tuple[Draw[Setting], ...] = (
    learning_curves,
    early_phase,
    per_class,
    recall_against_count,
    gap_against_ratio,
    confusion_over_time,
)
