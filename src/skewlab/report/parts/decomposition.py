"""Representation or classifier: what the minority's error on test is made of.

The study's fourth claim is that what is learned of the minority does not generalise; its best-known
counter-claim is that imbalance spoils the classifier and not the representation (Kang et al., ICLR
2020). Heads on the frozen features, one after the other, take the error apart; see
`curves.probes.representation` for what they are.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from skewlab.metrics.scores import FloatArray, mean_of_present
from skewlab.report.drawing import Drawn, grid, mean_line, spread
from skewlab.report.parts.part import PartKind
from skewlab.report.quantities import head_recall
from skewlab.report.read import Run
from skewlab.report.settings import Setting, paired
from skewlab.report.statistics import bootstrap
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
PARTS = {
    "classifier": "classifier: a better head was to be had from the same training set",
    "fitted_features": "fitted features: as few samples, not trained on, would give a better one",
    "few_samples": "too few samples to fit a head",
    "representation": "representation: a balanced network's features are better",
    "rest": "left with the balanced network's features",
}
COLOURS = {
    "classifier": "#E69F00",
    "fitted_features": "#CC79A7",
    "few_samples": "#56B4E9",
    "representation": "#D55E00",
    "rest": "#C9CCD1",
}
# The network's own head is a broad line below the others: at ratio 1 it is the prior-adjusted one.
OWN, BROAD = "#8A8F96", 5.0
LINES = {
    "own_head": (OWN, "-"),
    "prior_adjusted": ("#E69F00", "-"),
    "nearest_class_mean": ("#009E73", "-"),
    "nearest_neighbours": ("#7A5FB5", "-"),
    "retrained_head": ("#CC79A7", "-"),
    "few_probe": ("#56B4E9", "--"),
    "balanced_probe": ("#D55E00", "--"),
}


class Parts(NamedTuple):
    """The minority's error on test, 1 - recall of the network's own head, as a sum.

    Attributes:
        classifier: recall of the best head that the training set gives, minus that of the own one.
        fitted_features: recall of a head fitted to as few held-out samples, minus that.
        few_samples: what more held-out samples add to the recall of a head fitted to them.
        representation: what the balanced run's features add to it in the place of the run's own.
        rest: 1 minus the recall of a head fitted to all held-out samples on the balanced features.

    From a few held-out samples to all of them on better features there are two ways, samples first
    or features first; both parts are the mean of what they add on either (Shapley 1953), and
    `representation` with few and with all samples is told apart in the table.
    """

    classifier: float
    fitted_features: float
    few_samples: float
    representation: float
    rest: float


def best_head(run: Run) -> str:
    """Which head fitted to the training set has the best balanced accuracy on val: the only split
    that may select anything."""
    values = run.probes[PROBE].values
    return max(FROM_TRAIN, key=lambda head: mean_of_present(values[f"val/{head}"][-1]))


def decompose(run: Run, balanced: Run) -> Parts:
    """Take the minority's error of one run apart, at the last measurement.

    Args:
        run: trained on imbalanced data.
        balanced: the run with the same seeds at ratio 1.
    """
    own, best = head_recall(run, "own_head"), head_recall(run, best_head(run))
    few = head_recall(run, "few_probe")
    rest = 1 - head_recall(balanced, "balanced_probe")
    representation = mean_of_present(np.asarray(better_features(run, balanced)))
    few_samples = (1 - rest - few) - representation
    return Parts(best - own, few - best, few_samples, representation, rest)


def better_features(run: Run, balanced: Run) -> tuple[float, float]:
    """What the balanced run's features add to the minority's recall by a head fitted to held-out
    samples: to as few as the run has to train on (NaN where the balanced run has not measured that,
    see the probe's option few_as_at), and to all of them."""
    few, with_few = f"few_as_at/{run.ratio:g}", float("nan")
    if f"recall/{few}" in balanced.probes[PROBE].values:
        with_few = head_recall(balanced, few) - head_recall(run, "few_probe")
    with_all = head_recall(balanced, "balanced_probe") - head_recall(run, "balanced_probe")
    return with_few, with_all


def pairs(setting: Setting, ratio: float) -> list[tuple[Run, Run]]:
    """Runs at a ratio, each with the balanced one of the same seeds; only those that were measured
    in full."""
    found = paired(setting.of(ratio=ratio, probe=PROBE), setting.of(ratio=1, probe=PROBE))
    return [
        (run, balanced)
        for run, balanced in found
        if all(f"recall/{head}" in run.probes[PROBE].values for head in HEADS)
    ]


def _imbalanced(setting: Setting) -> list[float]:
    ratios = setting.ratios(probe=PROBE)
    return [ratio for ratio in ratios if ratio > 1 and pairs(setting, ratio)]


def decomposition(setting: Setting, limits: Thresholds) -> tuple[Figure, Drawn] | None:
    """The minority's error at each ratio, as a bar of its parts."""
    ratios = _imbalanced(setting)
    if not ratios:
        return None
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    figure, axis = plt.subplots(figsize=(9.0, 1.7 + 0.75 * len(ratios)), layout="constrained")
    for row, ratio in enumerate(ratios):
        parts = [decompose(*pair) for pair in pairs(setting, ratio)]
        means = {name: bootstrap([getattr(p, name) for p in parts]) for name in PARTS}
        # What is below zero lies to the left of it, and the rest still adds up to the error.
        right = left = 0.0
        for name, estimate in means.items():
            width = estimate.mean
            start = right if width >= 0 else left
            axis.barh(row, width, left=start, height=0.62, color=COLOURS[name])
            if abs(width) >= 0.035:
                axis.text(start + width / 2, row, f"{width:.2f}", ha="center", va="center")
            right, left = right + max(width, 0), left + min(width, 0)
        error = right + left
        axis.plot([error, error], [row - 0.4, row + 0.4], color="black", lw=1.4)
        axis.text(error, row - 0.42, f"error {error:.2f}", ha="right", va="bottom", fontsize=8)
    handles = [Patch(color=COLOURS[name]) for name in PARTS]
    figure.legend(handles, PARTS.values(), loc="outside lower left", frameon=False, fontsize=8)
    axis.set_yticks(range(len(ratios)), [f"ratio {ratio:g}" for ratio in ratios])
    axis.invert_yaxis()
    axis.axvline(0, color="black", lw=0.8)
    axis.set_xlabel("error of the minority on test: 1 minus its recall by the network's own head")
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure, Drawn(
        "decomposition",
        "What the minority's error is made of",
        "From left to right, up to the error at the black line: the recall that is gained by the "
        "best head fitted to the same training set (chosen on val), and by one fitted to as few "
        "held-out samples; then what more held-out samples, and what the features of the balanced "
        "run of the same seed add, each as the mean of adding it first and last; the rest is what "
        "a head on all of both gets wrong. A part below 0 lies to the left and is taken "
        "off. " + spread(setting, shaded=False),
    )


def heads_over_time(setting: Setting, limits: Thresholds) -> tuple[Figure, Drawn] | None:
    """The minority's test recall by each head, over epochs, one panel a ratio."""
    ratios = [r for r in setting.ratios(probe=PROBE) if _complete(setting, r)]
    if not ratios:
        return None
    figure, axes = grid(1, len(ratios), size=(3.3, 3.0))
    for axis, ratio in zip(axes[0], ratios, strict=True):
        runs = _complete(setting, ratio)
        time = runs[0].probes[PROBE].epoch
        for head, (colour, style) in LINES.items():
            curves = [_minority(run, head) for run in runs]
            width = BROAD if head == "own_head" else 1.5
            mean_line(axis, time, curves, colour, style, HEADS[head], marker=".", width=width)
        axis.set_title(f"ratio {ratio:g}")
        axis.set_xlabel("epoch")
        axis.set_ylim(-0.03, 1.03)
    axes[0, 0].set_ylabel("test recall of the minority")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    return figure, Drawn(
        "heads_over_time",
        "Other heads on the frozen features",
        "Test recall of the minority by heads fitted to the training set (solid) and to held-out "
        "samples (dashed); the broad gray line is the network's own head. Epoch 0 is the untrained "
        "network: what a probe finds there is in the images. " + spread(setting),
    )


def _complete(setting: Setting, ratio: float) -> list[Run]:
    return [
        run
        for run in setting.of(ratio=ratio, probe=PROBE)
        if all(f"recall/{head}" in run.probes[PROBE].values for head in HEADS)
    ]


def _minority(run: Run, head: str) -> FloatArray:
    return run.probes[PROBE].group(f"recall/{head}", run.data["groups"]["minority"])


def head_rows(setting: Setting, limits: Thresholds) -> list[Row]:
    """One row a head, one column a ratio: the minority's test recall at the last measurement."""
    measured = {ratio: _complete(setting, ratio) for ratio in setting.ratios(probe=PROBE)}
    measured = {ratio: runs for ratio, runs in measured.items() if runs}
    rows: list[Row] = [
        {"head": words}
        | {
            _column(ratio): bootstrap([head_recall(run, head) for run in runs])
            for ratio, runs in measured.items()
        }
        for head, words in HEADS.items()
    ]
    before, few = "that probe before training", "own head of a network with as few of every class"
    rows += [{"head": before}, {"head": few}]
    for ratio, runs in measured.items():
        untrained = [float(_minority(run, "balanced_probe")[0]) for run in runs]
        rows[-2][_column(ratio)] = bootstrap(untrained)
        control = setting.of("same_minority", ratio)
        if control:
            last = [run.final("test", "recall", "minority") for run in control]
            rows[-1][_column(ratio)] = bootstrap(last)
    return [row for row in rows if len(row) > 1]


def part_rows(setting: Setting, limits: Thresholds) -> list[Row]:
    """One row a part of the minority's error, one column a ratio."""
    error = "error of the minority on test"
    chosen_by = "best head of the training set, by seed"
    rows: dict[str, Row] = {
        name: {"part": words} for name, words in {"error": error, **PARTS}.items()
    }
    rows["with few"] = {"part": "what better features add to a head on as few held-out samples"}
    rows["with all"] = {"part": "what better features add to a head on all held-out samples"}
    rows["chosen"] = {"part": chosen_by}
    for ratio in _imbalanced(setting):
        both, column = pairs(setting, ratio), _column(ratio)
        parts = [decompose(*pair) for pair in both]
        rows["error"][column] = bootstrap([1 - head_recall(run, "own_head") for run, _ in both])
        for name in PARTS:
            rows[name][column] = bootstrap([getattr(part, name) for part in parts])
        for place, name in enumerate(("with few", "with all")):
            rows[name][column] = bootstrap([better_features(*pair)[place] for pair in both])
        rows["chosen"][column] = ", ".join(HEADS[best_head(run)] for run, _ in both)
    return [row for row in rows.values() if len(row) > 1]


def not_taken_apart(setting: Setting, limits: Thresholds) -> list[str]:
    """The imbalanced runs that no balanced one of the same seed can be compared with."""
    lines = []
    for ratio in setting.ratios(probe=PROBE):
        taken = {run.seed_key for run, _ in pairs(setting, ratio)}
        runs = [run for run in setting.of(ratio=ratio, probe=PROBE) if run.seed_key not in taken]
        if ratio > 1 and runs:
            seeds = ", ".join(str(run.seed) for run in runs)
            lines.append(
                f"{setting.label}: the error at ratio {ratio:g} is not taken apart for seed "
                f"{seeds}: it wants all heads, and the balanced run of the same seed"
            )
    return lines


def _column(ratio: float) -> str:
    return f"ratio {ratio:g}"


PART = PartKind(
    "representation-or-classifier",
    "Representation or classifier",
    "Is the minority badly represented, as the study's fourth claim has it, or badly classified, "
    "as Kang et al. (2020) hold against it? The minority's error on test is taken apart by other "
    "heads on the same frozen features. A part is how much recall the next head adds; a part below "
    "zero says that it adds none. The parts add up to the error.",
    figures=(decomposition, heads_over_time),
    tables={
        "decomposition": ("The minority's error and its parts", part_rows),
        "heads": ("The minority's test recall by head", head_rows),
    },
    probe=PROBE,
    left_out=not_taken_apart,
)
