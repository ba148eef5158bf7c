"""Whether the predicted probabilities can be believed, and which classes the network expects."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from skewlab.metrics.scores import FloatArray
from skewlab.report.drawing import (
    COLOURS,
    FigureText,
    as_recall,
    label_edges,
    legend,
    panels,
    spread,
)
from skewlab.report.measures import POSITIVE, SHARE, over_seeds
from skewlab.report.read import Run
from skewlab.report.sections.panels import Quantity, over_time
from skewlab.report.sections.section import PageSection
from skewlab.report.settings import Setting
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds

PROBE = "calibration"
# A bin of fewer samples has no point in the reliability diagram: its share would be chance.
LEAST_IN_BIN = 10
QUANTITIES = (
    Quantity(
        "calibration error",
        {"error/true": ("-", "by true class"), "error/predicted": ("--", "by predicted class")},
        within=SHARE,
    ),
    Quantity(
        "Brier score",
        {"brier/true": ("-", "by true class"), "brier/predicted": ("--", "by predicted class")},
        within=POSITIVE,
    ),
    Quantity(
        "mean prediction,\ngroup's sum",
        {"mean_prediction": ("-", "on test"), "prior": (":", "training prior")},
        summed=True,
        marks=(0.5,),
        within=SHARE,
    ),
    Quantity(
        "divergence (nats)",
        numbers={"from_prior": "from the training prior", "from_uniform": "from uniform"},
        within=POSITIVE,
    ),
)


def calibration(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText]:
    """Calibration error, Brier score and prior over epochs."""
    figure = over_time(setting, PROBE, QUANTITIES)
    return figure, FigureText(
        "calibration",
        "Calibration and prior",
        "Expected calibration error (15 bins) and Brier score of the samples of a class, and of "
        "those predicted as it, mean over the group's classes; the mean prediction over the test "
        "set, in which every class counts once, beside the training set's prior; and its "
        "divergence KL(q || prior), KL(q || uniform). " + spread(setting),
    )


def reliability_diagram(
    setting: Setting, thresholds: Thresholds
) -> tuple[Figure, FigureText] | None:
    """Share of right predictions against confidence, by bins, at the last evaluation."""
    by_ratio = [
        (ratio, [run for run in runs if "reliability/true/samples" in run.probes[PROBE].values])
        for ratio, runs in setting.by_ratio(probe=PROBE)
    ]
    by_ratio = [(ratio, runs) for ratio, runs in by_ratio if runs]
    if not by_ratio:
        return None
    figure, axes = panels(len(by_ratio))
    for axis, (ratio, runs) in zip(axes, by_ratio, strict=True):
        axis.plot([0, 1], [0, 1], ":", color="gray", lw=0.8)
        for group, colour in COLOURS.items():
            for by, style in (("true", "-"), ("predicted", "--")):
                samples, confidence, right = (
                    _in_bins(runs, f"reliability/{by}/{name}", group)
                    for name in ("samples", "confidence", "right")
                )
                held = samples >= LEAST_IN_BIN
                axis.plot(
                    confidence[held] / samples[held],
                    right[held] / samples[held],
                    style,
                    color=colour,
                    label=f"{group}, by {by} class",
                    marker="o",
                    ms=3,
                    lw=1.2,
                )
        axis.set_title(f"ratio {ratio:g}")
        axis.set_xlim(-0.03, 1.03)
        as_recall(axis)
    label_edges(axes, "share of right predictions", "mean confidence of a bin")
    legend(figure, axes[0])
    return figure, FigureText(
        "reliability_diagram",
        "Reliability",
        "Share of right predictions on test against the confidence in them, in bins of equal "
        "width, at the last evaluation; samples of all seeds together, bins of at least "
        f"{LEAST_IN_BIN}. Below the dotted line the "
        "network is surer than it is right. By true class: of the samples of a group; by predicted "
        "class: of those that were taken for one of its classes.",
    )


def _in_bins(runs: Sequence[Run], name: str, group: str) -> FloatArray:
    """The sum over runs and a group's classes at the last evaluation, shape [bins]."""
    each = [run.probes[PROBE].values[name][-1][run.data["groups"][group]].sum(0) for run in runs]
    return np.asarray(np.sum(each, axis=0), dtype=np.float64)


def rows(setting: Setting, thresholds: Thresholds) -> Iterator[Row]:
    """A row for each ratio, at the last evaluation."""
    for ratio, runs in setting.by_ratio(probe=PROBE):
        row: Row = {"ratio": ratio, "seeds": len(runs)}
        for group in ("majority", "minority"):
            for by in ("true", "predicted"):
                row[f"calibration error by {by} class, {group}"] = over_seeds(
                    runs, [run.probe_group(PROBE, f"error/{by}", group)[-1] for run in runs], SHARE
                )
        for name, words in (("mean_prediction", "mean prediction"), ("prior", "training prior")):
            row[f"{words}, minority"] = over_seeds(
                runs,
                [
                    float(
                        np.sum(run.probes[PROBE].values[name][-1][run.data["groups"]["minority"]])
                    )
                    for run in runs
                ],
                SHARE,
            )
        yield row


SECTION = PageSection(
    "calibration",
    "Calibration and prior",
    "Whether the predicted probabilities can be believed in each group, and whether the network "
    "expects the classes that were frequent in training: the test set has all classes equally "
    "often, and the divergences say how far the mean prediction on it is from uniform and from the "
    "training prior.",
    figures=(calibration, reliability_diagram),
    tables={"calibration": ("At the last epoch", rows)},
    probe=PROBE,
)
