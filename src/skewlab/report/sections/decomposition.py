"""Representation or classifier: which of them causes the minority's error on test.

The study's fourth claim is that what is learned of the minority does not generalise. Kang et al.
(ICLR 2020) hold against it that imbalance spoils the classifier and not the representation. The
error is split into terms by other heads on the same frozen features; see
`skewlab.probes.representation` for the heads.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from skewlab.metrics.scores import mean_of_present
from skewlab.report.drawing import FigureText, grid, mean_line, new_figure, spread
from skewlab.report.measures import DIFFERENCE, SHARE, head_recall, mean_recall, over_seeds
from skewlab.report.read import Run
from skewlab.report.sections.section import PageSection
from skewlab.report.settings import Setting, paired
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds

PROBE = "representation"
# Heads that need nothing but the imbalanced training set.
FROM_TRAIN = (
    "own_head",
    "prior_adjusted",
    "nearest_class_mean",
    "nearest_neighbours",
    "retrained_head",
)
HEADS = {
    "own_head": "own head",
    "prior_adjusted": "prior-adjusted",
    "nearest_class_mean": "nearest class mean",
    "nearest_neighbours": "nearest neighbours",
    "retrained_head": "retrained head",
    "few_probe": "probe on few held-out",
    "balanced_probe": "probe on balanced held-out",
}
TERMS = {
    "classifier": "classifier: the same training set can give a better head",
    "fitted_features": "fitted features: as few samples, not trained on, give a better head",
    "few_samples": "too few samples to fit a head",
    "representation": "representation: the features of a balanced network are better",
    "rest": "rest: the error that is left with the features of the balanced network",
}
COLOURS = {
    "classifier": "#E69F00",
    "fitted_features": "#CC79A7",
    "few_samples": "#56B4E9",
    "representation": "#D55E00",
    "rest": "#C9CCD1",
}
# The network's own head is a broad line, because the line of the prior-adjusted head covers it at
# ratio 1, where they are the same.
OWN, BROAD = "#8A8F96", 5.0
# Of the figure of the terms, in inches.
WIDTH = 9.0
LINES = {
    "own_head": (OWN, "-"),
    "prior_adjusted": ("#E69F00", "-"),
    "nearest_class_mean": ("#009E73", "-"),
    "nearest_neighbours": ("#7A5FB5", "-"),
    "retrained_head": ("#CC79A7", "-"),
    "few_probe": ("#56B4E9", "--"),
    "balanced_probe": ("#D55E00", "--"),
}


class ErrorTerms(NamedTuple):
    """The minority's error on test, 1 - recall by the network's own head, as a sum of five terms.

    Attributes:
        classifier: recall by the best head that is fitted to the training set, minus recall by
            the network's own head.
        fitted_features: recall by a head that is fitted to as few held-out samples, minus recall
            by the best head of `classifier`.
        few_samples: by how much more held-out samples raise the recall of such a head.
        representation: by how much the features of the balanced run raise it.
        rest: 1 minus the recall by a head that is fitted to all held-out samples on the features
            of the balanced run.

    More samples can be added before the better features or after them, and raise the recall by
    another amount each time. `few_samples` and `representation` are the means of both orders
    (Shapley 1953).
    """

    classifier: float
    fitted_features: float
    few_samples: float
    representation: float
    rest: float


def best_head(run: Run) -> str:
    """Of the heads fitted to the training set, the one with the best balanced accuracy on val."""
    values = run.probes[PROBE].values
    return max(FROM_TRAIN, key=lambda head: mean_of_present(values[f"val/{head}"][-1]))


def decompose(run: Run, balanced: Run) -> ErrorTerms:
    """Split the minority's error of one run into terms, at the last measurement.

    Args:
        run: trained on imbalanced data.
        balanced: the run with the same seeds at ratio 1.
    """
    own, best = head_recall(run, "own_head"), head_recall(run, best_head(run))
    few = head_recall(run, "few_probe")
    rest = 1 - head_recall(balanced, "balanced_probe")
    representation = mean_of_present(np.asarray(better_features(run, balanced)))
    few_samples = (1 - rest - few) - representation
    return ErrorTerms(best - own, few - best, few_samples, representation, rest)


def better_features(run: Run, balanced: Run) -> tuple[float, float]:
    """By how much the features of the balanced run raise the minority's recall by a head that is
    fitted to held-out samples: to as few as the run has for training (NaN where the balanced run
    has not measured that, see the probe's option few_as_at), and to all of them."""
    few, with_few = f"few_as_at/{run.ratio:g}", float("nan")
    if f"recall/{few}" in balanced.probes[PROBE].values:
        with_few = head_recall(balanced, few) - head_recall(run, "few_probe")
    with_all = head_recall(balanced, "balanced_probe") - head_recall(run, "balanced_probe")
    return with_few, with_all


def pairs(setting: Setting, ratio: float) -> list[tuple[Run, Run]]:
    """Runs at a ratio that have all heads, each with the balanced run of the same seeds."""
    return paired(_complete(setting, ratio), setting.of(ratio=1, probe=PROBE))


def _imbalanced(setting: Setting) -> list[float]:
    ratios = setting.ratios(probe=PROBE)
    return [ratio for ratio in ratios if ratio > 1 and pairs(setting, ratio)]


def decomposition(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText] | None:
    """The minority's error at each ratio, as a bar of its terms."""
    ratios = _imbalanced(setting)
    if not ratios:
        return None
    figure = new_figure(WIDTH, 1.9 + 0.75 * len(ratios), rows_of_text=True)
    axis = figure.subplots()
    # Of the parts: the least that has a number, and the least that has room for it inside.
    least, wide = (width * WIDTH / figure.get_figwidth() for width in (0.02, 0.07))
    for row, ratio in enumerate(ratios):
        both = pairs(setting, ratio)
        terms, runs = [decompose(*pair) for pair in both], [run for run, _ in both]
        means = {name: over_seeds(runs, [getattr(t, name) for t in terms]) for name in TERMS}
        # Terms below zero are drawn to the left of it, so that the black line is the error.
        right = left = 0.0
        for name, estimate in means.items():
            width = estimate.mean
            start = right if width >= 0 else left
            axis.barh(row, width, left=start, height=0.62, color=COLOURS[name])
            if abs(width) >= least:
                inside = abs(width) >= wide
                place, side = (row, "center") if inside else (row + 0.33, "top")
                axis.text(start + width / 2, place, f"{width:.2f}", ha="center", va=side)
            right, left = right + max(width, 0), left + min(width, 0)
        error = right + left
        axis.plot([error, error], [row - 0.4, row + 0.31], color="black", lw=1.4)
        axis.text(error, row - 0.42, f"error {error:.2f}", ha="right", va="bottom", fontsize=8)
    handles = [Patch(color=COLOURS[name]) for name in TERMS]
    figure.legend(handles, TERMS.values(), loc="outside lower left", frameon=False, fontsize=8)
    axis.set_yticks(range(len(ratios)), [f"ratio {ratio:g}" for ratio in ratios])
    axis.set_ylim(len(ratios) - 0.35, -0.75)  # the first at the top, with room for numbers
    axis.vlines(0, -0.4, len(ratios) - 0.69, color="black", lw=0.8)
    axis.set_xlabel("error of the minority on test: 1 minus its recall by the network's own head")
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure, FigureText(
        "decomposition",
        "What the minority's error is made of",
        "From left to right, up to the error at the black line: the recall that is gained by the "
        "best head fitted to the same training set (chosen on val), and by one fitted to as few "
        "held-out samples; then the recall gained by more held-out samples, and by the features of "
        "the balanced run of the same seed, each as the mean of adding it first and last; the rest "
        "is the error of a head that has both. A part below 0 is drawn to the left of 0 and is "
        "subtracted. " + spread(setting, shaded=False),
    )


def heads_over_time(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText] | None:
    """The minority's test recall by each head, over epochs, one panel a ratio."""
    measured = _measured(setting)
    if not measured:
        return None
    figure, axes = grid(1, len(measured), size=(3.3, 3.0))
    for axis, (ratio, runs) in zip(axes[0], measured.items(), strict=True):
        time = runs[0].probes[PROBE].epoch
        for head, (colour, style) in LINES.items():
            curves = [run.probe_group(PROBE, f"recall/{head}", "minority") for run in runs]
            width = BROAD if head == "own_head" else 1.5
            mean_line(
                axis, time, runs, curves, colour, style, HEADS[head],
                marker=".", width=width, within=SHARE,
            )  # fmt: skip
        axis.set_title(f"ratio {ratio:g}")
        axis.set_xlabel("epoch")
        axis.set_ylim(-0.03, 1.03)
    axes[0, 0].set_ylabel("test recall of the minority")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    return figure, FigureText(
        "heads_over_time",
        "Other heads on the frozen features",
        "Test recall of the minority by heads fitted to the training set (solid) and to held-out "
        "samples (dashed); the broad gray line is the network's own head. At epoch 0 the network "
        "is untrained: recall that a probe has there comes from the images alone. "
        + spread(setting),
    )


def _complete(setting: Setting, ratio: float) -> list[Run]:
    return [
        run
        for run in setting.of(ratio=ratio, probe=PROBE)
        if all(f"recall/{head}" in run.probes[PROBE].values for head in HEADS)
    ]


def _measured(setting: Setting) -> dict[float, list[Run]]:
    """By ratio, the runs that have all heads."""
    found = {ratio: _complete(setting, ratio) for ratio in setting.ratios(probe=PROBE)}
    return {ratio: runs for ratio, runs in found.items() if runs}


def head_rows(setting: Setting, thresholds: Thresholds) -> list[Row]:
    """A row for each head, a column for each ratio: the minority's test recall at the last
    measurement."""
    rows: dict[str, Row] = {head: {"head": words} for head, words in HEADS.items()}
    rows["untrained"] = {"head": "that probe before training"}
    rows["few"] = {"head": "own head of a network with as few of every class"}
    for ratio, runs in _measured(setting).items():
        column = _column(ratio)
        for head in HEADS:
            rows[head][column] = over_seeds(runs, [head_recall(run, head) for run in runs], SHARE)
        first = [run.probe_group(PROBE, "recall/balanced_probe", "minority")[0] for run in runs]
        rows["untrained"][column] = over_seeds(runs, first, SHARE)
        if few := setting.of("same_minority", ratio):
            rows["few"][column] = mean_recall(few, "test", "minority")
    return [row for row in rows.values() if len(row) > 1]


def term_rows(setting: Setting, thresholds: Thresholds) -> list[Row]:
    """A row for each term of the minority's error, a column for each ratio."""
    words = {
        "error": "error of the minority on test",
        **TERMS,
        "with few": "recall that better features add to a head on as few held-out samples",
        "with all": "recall that better features add to a head on all held-out samples",
        "chosen": "best head of the training set, and in how many seeds",
    }
    rows: dict[str, Row] = {name: {"part": said} for name, said in words.items()}
    for ratio in _imbalanced(setting):
        both, column = pairs(setting, ratio), _column(ratio)
        terms = [decompose(*pair) for pair in both]
        runs = [run for run, _ in both]
        errors = [1 - head_recall(run, "own_head") for run in runs]
        rows["error"][column] = over_seeds(runs, errors, SHARE)
        for name in TERMS:
            rows[name][column] = over_seeds(runs, [getattr(t, name) for t in terms], DIFFERENCE)
        for place, name in enumerate(("with few", "with all")):
            rows[name][column] = over_seeds(
                runs, [better_features(*pair)[place] for pair in both], DIFFERENCE
            )
        chosen = Counter(HEADS[best_head(run)] for run, _ in both)
        rows["chosen"][column] = ", ".join(f"{name} ({n})" for name, n in chosen.most_common())
    return [row for row in rows.values() if len(row) > 1]


def not_split(setting: Setting, thresholds: Thresholds) -> list[str]:
    """The imbalanced runs that lack heads, or a balanced run of the same seed."""
    lines = []
    for ratio, all_runs in setting.by_ratio(probe=PROBE):
        taken = {run.seed_key for run, _ in pairs(setting, ratio)}
        runs = [run for run in all_runs if run.seed_key not in taken]
        if ratio > 1 and runs:
            seeds = ", ".join(str(run.seed) for run in runs)
            lines.append(
                f"{setting.label}: the error at ratio {ratio:g} is not split into parts for seed "
                f"{seeds}: that needs all heads, and the balanced run of the same seed"
            )
    return lines


def _column(ratio: float) -> str:
    return f"ratio {ratio:g}"


SECTION = PageSection(
    "representation-or-classifier",
    "Representation or classifier",
    "Is the minority badly represented, as the study's fourth claim has it, or badly classified, "
    "as Kang et al. (2020) hold against it? The minority's error on test is split into parts by "
    "other heads on the same frozen features. A part is the recall that the next head adds; a part "
    "below zero says that the next head is worse. The parts add up to the error.",
    figures=(decomposition, heads_over_time),
    tables={
        "decomposition": ("The minority's error and its parts", term_rows),
        "heads": ("The minority's test recall by head", head_rows),
    },
    probe=PROBE,
    left_out=not_split,
)
