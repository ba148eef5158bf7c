"""How far probabilities can be believed, and which classes the network expects."""

import numpy as np
from matplotlib.figure import Figure

from skewlab.report.drawing import Drawn, spread
from skewlab.report.parts.panels import Quantity, over_time
from skewlab.report.parts.part import PartKind
from skewlab.report.settings import Setting
from skewlab.report.statistics import bootstrap
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


def calibration(setting: Setting, limits: Thresholds) -> tuple[Figure, Drawn] | None:
    """Calibration error, Brier score and prior over epochs."""
    if not setting.ratios(probe=PROBE):
        return None
    figure = over_time(setting, PROBE, QUANTITIES)
    return figure, Drawn(
        "calibration",
        "Calibration and prior",
        "Expected calibration error (15 bins) and Brier score of the samples of a class, and of "
        "those predicted as it, mean over the group's classes; the mean prediction over the test "
        "set, in which every class counts once, beside the training set's prior; and its "
        "divergence KL(q || prior), KL(q || uniform). " + spread(setting),
    )


def rows(setting: Setting, limits: Thresholds) -> list[Row]:
    """One row a ratio, at the last evaluation."""
    found: list[Row] = []
    for ratio in setting.ratios(probe=PROBE):
        runs = setting.of(ratio=ratio, probe=PROBE)
        row: Row = {"ratio": ratio, "seeds": len(runs)}
        for group in ("majority", "minority"):
            for by in ("true", "predicted"):
                row[f"calibration error by {by} class, {group}"] = bootstrap(
                    [
                        run.probes[PROBE].group(f"error/{by}", run.data["groups"][group])[-1]
                        for run in runs
                    ]
                )
        members = runs[0].data["groups"]["minority"]
        for name, words in (("mean_prediction", "mean prediction"), ("prior", "training prior")):
            row[f"{words}, minority"] = bootstrap(
                [float(np.sum(run.probes[PROBE].values[name][-1][members])) for run in runs]
            )
        found.append(row)
    return found


PART = PartKind(
    "calibration",
    "Calibration and prior",
    "How far the probabilities of each group can be believed, and whether the network expects the "
    "classes that it has seen often: on a test set in which all are equally frequent, how far its "
    "mean prediction lies from uniform and from the training prior.",
    figures=(calibration,),
    tables={"calibration": ("At the last epoch", rows)},
    probe=PROBE,
)
