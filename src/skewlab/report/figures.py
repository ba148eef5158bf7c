"""The figures of every study, each about one setting."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from skewlab.report.drawing import (
    COLOURS,
    PANELS_A_ROW,
    STYLES,
    Draw,
    FigureText,
    as_recall,
    counts_title,
    curve,
    grid,
    label_edges,
    legend,
    light_frame,
    log_axis,
    name_lines,
    panels,
    spread,
    spread_of_classes,
    steps_axis,
)
from skewlab.report.measures import DIFFERENCE, over_seeds
from skewlab.report.read import Run
from skewlab.report.settings import Setting, same_roles
from skewlab.report.thresholds import Thresholds
from skewlab.report.verdicts import REFUTED, SUPPORTED, UNDECIDED, Verdict

# Of more classes than these, only the most and the least frequent have a panel.
MOST_PANELS = 20
# With more classes than these a confusion matrix has no names.
NAMED_CLASSES = 30
# When confusion matrices are drawn, as shares of the training.
CONFUSION_TIMES = (0.0, 0.03, 0.1, 0.3, 1.0)
# Letters of a class's name beside its samples in a title, and the width of one below a matrix.
LONG_NAME, INCHES_A_LETTER = 12, 0.07
# Green and red as on the page, with gray for what is open.
VERDICT_COLOURS = {SUPPORTED: "#009E73", UNDECIDED: "#C9CCD1", REFUTED: "#B0361A"}


def recall_over_time(axis: Axes, ratio: float, runs: Sequence[Run]) -> None:
    """Recall of both groups on train and test, at one ratio: over updates on a log scale, or over
    epochs where runs were not evaluated within them."""
    within = evaluated_within_epochs(runs)
    for group, colour in COLOURS.items():
        for split, style in STYLES.items():
            curve(axis, runs, split, group, colour, style, by_step=within)
    if within:
        steps_axis(axis)
    else:
        axis.set_xlabel("epoch")
    axis.set_title(counts_title(ratio, runs))
    as_recall(axis)


def evaluated_within_epochs(runs: Sequence[Run]) -> bool:
    """Whether curves have points between whole epochs."""
    epochs = runs[0].curves["train"].epoch
    return not bool(np.isclose(epochs, np.round(epochs)).all())


def learning_curves(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText]:
    """Recall of both groups on train and test over time, a panel for each ratio."""
    figure, axes = panels(len(setting.ratios()))
    for axis, (ratio, runs) in zip(axes, setting.by_ratio(), strict=True):
        recall_over_time(axis, ratio, runs)
    if len(axes) > PANELS_A_ROW:  # names would stand between panels
        legend(figure, axes[0])
    else:
        name_lines(axes[-1])
    label_edges(axes, "recall, mean over the group's classes")
    when = " over updates, on a log scale" if evaluated_within_epochs(setting.of()) else ""
    return figure, FigureText(
        "learning_curves",
        "Learning curves",
        f"Recall of the majority's and the minority's classes on train and test{when}. "
        + spread(setting),
    )


def per_class(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText]:
    """A panel for each class at the largest ratio, the most frequent first."""
    ratio, every = setting.by_ratio()[-1]
    runs = same_roles(every)
    counts, names = runs[0].counts, runs[0].data["class_names"]
    order = np.argsort(-np.asarray(counts), kind="stable")
    which = f"Every class at ratio {ratio:g}"
    if len(order) > MOST_PANELS:
        half = MOST_PANELS // 2
        which = f"The {half} most and the {half} least frequent of {len(order)} classes, "
        which += f"at ratio {ratio:g}"
        order = np.concatenate([order[:half], order[-half:]])
    figure, axes = panels(len(order), columns=5, size=(2.2, 1.9))
    # A long name has a line of its own.
    between = "\n" if max(len(names[label]) for label in order) > LONG_NAME else ": "
    for axis, label in zip(axes, order, strict=True):
        group = "minority" if label in runs[0].data["groups"]["minority"] else "majority"
        for split, style in STYLES.items():
            curve(axis, runs, split, [int(label)], COLOURS[group], style, name=split)
        axis.set_title(f"{names[label]}{between}{counts[label]} samples", color=COLOURS[group])
        as_recall(axis)
    label_edges(axes, "recall", "epoch")
    legend(figure, axes[0])
    return figure, FigureText(
        "per_class",
        which,
        "Train and test recall of single classes, the most frequent first; blue the majority, "
        "orange the minority. " + spread_of_classes(setting, ratio),
    )


def recall_against_count(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText]:
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
            axis.plot(steps, means, "o", color=colour, ms=7, mec="white")
        log_axis(axis)
        axis.set_title(split)
        axis.set_xlabel("training samples of the class (log scale)")
        as_recall(axis)
    axes[0].set_ylabel("recall at the last epoch")
    legend(figure, axes[0])
    return figure, FigureText(
        "recall_against_count",
        "Recall against class count",
        "A small dot is one class of one run, over all ratios; a large one is the mean at a "
        "number of samples.",
    )


def gap_against_ratio(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText] | None:
    """Generalisation gap of both groups against the ratio."""
    ratios = setting.ratios()
    if len(ratios) < 2:
        return None
    figure, (axis,) = panels(1, size=(4.8, 3.4))
    for group, colour in COLOURS.items():
        estimates = [
            over_seeds(runs, [run.generalisation_gap(group) for run in runs], DIFFERENCE)
            for _, runs in setting.by_ratio()
        ]
        means = [estimate.mean for estimate in estimates]
        axis.plot(ratios, means, "o-", color=colour, ms=4, label=group)
        axis.fill_between(
            ratios, [e.low for e in estimates], [e.high for e in estimates], color=colour,
            alpha=0.18, lw=0,
        )  # fmt: skip
    log_axis(axis)
    axis.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
    axis.set_xlabel("imbalance ratio (log scale)")
    axis.set_ylabel("train recall minus test recall")
    light_frame(axis)
    name_lines(axis)
    return figure, FigureText(
        "gap_against_ratio",
        "Generalisation gap against ratio",
        "What is learned and does not carry over to test, at the last epoch. " + spread(setting),
    )


def confusion_over_time(
    setting: Setting, thresholds: Thresholds
) -> tuple[Figure, FigureText] | None:
    """Confusion matrices on test at the largest ratio: before, early in, and after training."""
    ratio = setting.ratios()[-1]
    runs = same_roles(setting.of(ratio=ratio))
    runs = [run for run in runs if "confusion" in run.curves["test"].values]
    if not runs:
        return None
    times = runs[0].curves["test"].epoch
    wanted = [share * times[-1] for share in CONFUSION_TIMES]
    chosen = list(dict.fromkeys(int(np.abs(times - time).argmin()) for time in wanted))
    # As on the page: the most frequent class first.
    order = np.argsort([-count for count in runs[0].counts], kind="stable")
    names = [runs[0].data["class_names"][label] for label in order]
    names = names if len(names) <= NAMED_CLASSES else []
    # Names stand upright below a matrix.
    tall = 2.1 + INCHES_A_LETTER * max(0, max(map(len, names), default=0) - 4)
    figure, axes = panels(len(chosen), columns=len(chosen), size=(2.1, tall), least=2.0)
    image = None
    for axis, place in zip(axes, chosen, strict=True):
        total = np.sum([run.curves["test"].values["confusion"][place] for run in runs], axis=0)
        shares = total / np.maximum(total.sum(axis=1, keepdims=True), 1)
        image = axis.imshow(shares[np.ix_(order, order)], vmin=0, vmax=1, cmap="cividis")
        axis.set_title(f"epoch {times[place]:.2g}")
        axis.set_xlabel("predicted class")
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
    label_edges(axes, "true class")
    assert image is not None
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.7)
    return figure, FigureText(
        "confusion_over_time",
        f"Confusion matrix over time at ratio {ratio:g}",
        "Rows are true classes, the most frequent in training first, and sum to one; what is off "
        "the diagonal was predicted as another class. "
        + spread_of_classes(setting, ratio, shaded=False),
    )


def verdicts_by_threshold(
    judged: Sequence[Verdict], thresholds: Thresholds
) -> tuple[Figure, FigureText] | None:
    """The verdicts on one setting at every threshold, not only at those that were chosen."""
    tested = [one for one in judged if not np.isnan(one.p)]
    if not tested:
        return None
    figure, ((axis,),) = grid(1, 1, size=(7.0, 0.3 + 0.26 * len(tested)), rows_of_text=True)
    ends = [end for one in tested for end in one.corrected if np.isfinite(end)]
    least, most = min(0.0, *ends) - 0.05, max(1.0, *ends) + 0.05
    for row, verdict in enumerate(tested):
        low, high = np.clip(verdict.corrected, least, most)
        below, above = (REFUTED, SUPPORTED) if verdict.at_most else (SUPPORTED, REFUTED)
        for said, start, end in ((below, least, low), (UNDECIDED, low, high), (above, high, most)):
            axis.barh(row, end - start, left=start, height=0.7, color=VERDICT_COLOURS[said])
        axis.plot(verdict.limit, row, "|", color="black", ms=12, mew=2)
    names = [f"claim {one.claim}, ratio {one.ratio:g}" for one in tested]
    axis.set_yticks(range(len(tested)), names)
    axis.invert_yaxis()
    axis.set_xlim(least, most)
    axis.set_xlabel("threshold; a mark where it was set")
    handles = [Patch(color=colour) for colour in VERDICT_COLOURS.values()]
    figure.legend(
        handles, VERDICT_COLOURS, loc="outside lower center", ncols=len(handles), frameon=False
    )
    return figure, FigureText(
        "verdicts_by_threshold",
        "Verdicts at other thresholds",
        "The verdict that each claim would have with each threshold, after the correction for all "
        "of them. It is undecided where the threshold lies in the statistic's corrected interval.",
    )


# Of each setting.
FIGURES: tuple[Draw[Setting], ...] = (
    learning_curves,
    per_class,
    recall_against_count,
    gap_against_ratio,
    confusion_over_time,
)
