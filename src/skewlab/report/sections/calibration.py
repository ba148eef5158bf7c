"""Whether the predicted probabilities can be believed, and which classes the network expects."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from skewlab.report.drawing import FigureText, spread
from skewlab.report.measures import over_seeds
from skewlab.report.sections.panels import Quantity, over_time
from skewlab.report.sections.section import PageSection
from skewlab.report.settings import Setting
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds

PROBE = "calibration"
QUANTITIES = (
    Quantity(
        "calibration error",
        {"error/true": ("-", "by true class"), "error/predicted": ("--", "by predicted class")},
    ),
    Quantity(
        "Brier score",
        {"brier/true": ("-", "by true class"), "brier/predicted": ("--", "by predicted class")},
    ),
    Quantity(
        "mean prediction,\ngroup's sum",
        {"mean_prediction": ("-", "on test"), "prior": (":", "training prior")},
        summed=True,
        marks=(0.5,),
    ),
    Quantity(
        "divergence (nats)",
        numbers={"from_prior": "from the training prior", "from_uniform": "from uniform"},
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


def rows(setting: Setting, thresholds: Thresholds) -> Iterator[Row]:
    """A row for each ratio, at the last evaluation."""
    for ratio, runs in setting.by_ratio(probe=PROBE):
        row: Row = {"ratio": ratio, "seeds": len(runs)}
        for group in ("majority", "minority"):
            for by in ("true", "predicted"):
                row[f"calibration error by {by} class, {group}"] = over_seeds(
                    runs, [run.probe_group(PROBE, f"error/{by}", group)[-1] for run in runs]
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
            )
        yield row


SECTION = PageSection(
    "calibration",
    "Calibration and prior",
    "Whether the predicted probabilities can be believed in each group, and whether the network "
    "expects the classes that were frequent in training: the test set has all classes equally "
    "often, and the divergences say how far the mean prediction on it is from uniform and from the "
    "training prior.",
    figures=(calibration,),
    tables={"calibration": ("At the last epoch", rows)},
    probe=PROBE,
)
