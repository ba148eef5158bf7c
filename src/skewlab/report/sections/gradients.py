"""Gradients of the classes: their sizes, and whether they point against each other."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from skewlab.report.drawing import FigureText, new_figure, spread, spread_of_classes
from skewlab.report.measures import DIFFERENCE, POSITIVE, over_seeds
from skewlab.report.read import Run
from skewlab.report.sections.panels import Quantity, over_time
from skewlab.report.sections.section import PageSection
from skewlab.report.settings import Setting, same_roles
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds

PROBE = "gradients"
LAYERS = "layers/"
# At so many steps the conflict matrix is drawn.
MATRICES = 4
QUANTITIES = (
    Quantity("norm of a class's gradient,\nmean of the group", {"norm": ("-", "")}, log=True),
    Quantity("share of the whole\ngradient, group's sum", {"share": ("-", "")}, summed=True,
             marks=(0, 0.5)),
    Quantity(
        "cosine of two classes'\ngradients, mean over pairs",
        numbers={
            "between": "one of each group",
            "within_majority": "two majority classes",
            "within_minority": "two minority classes",
        },
        marks=(0,),
    ),
    Quantity(
        "signal: cosine with the\nclass's whole gradient",
        {"signal/batch": ("-", "in the batch"), "signal/single": ("--", "one sample")},
        marks=(0,),
    ),
)  # fmt: skip


def gradients(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText]:
    """Norms, shares, conflicts and signal of the gradients of both groups."""
    figure = over_time(setting, PROBE, QUANTITIES, by_step=True)
    return figure, FigureText(
        "gradients",
        "Gradients of the classes",
        "Norm of a class's gradient; each group's share of the whole gradient, which sums to one "
        "and is below zero where the group's gradient points away from it; cosines of the "
        "gradients of pairs of classes; and the cosine with a class's whole gradient of its "
        "gradient in one mini-batch and of that of a single sample, where the groups are equally "
        "many. A class that is not in the batch has no signal there. " + spread(setting),
    )


def conflicts(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText]:
    """The conflict matrix at some steps, and for each layer, at the largest ratio."""
    ratio, every = setting.by_ratio(probe=PROBE)[-1]
    runs = same_roles(every)
    steps = runs[0].probes[PROBE].step
    chosen = sorted(set(np.linspace(0, len(steps) - 1, MATRICES).round().astype(int)))
    names, groups = runs[0].data["class_names"], runs[0].data["groups"]
    order = [*groups["majority"], *groups["minority"]]
    layers = _layers(runs[0])
    figure = new_figure(11.0, 6.4 if layers else 3.4)
    parts = figure.subfigures(2 if layers else 1, 1, squeeze=False)[:, 0]
    axes = parts[0].subplots(1, len(chosen), squeeze=False)[0]
    image = None
    for axis, place in zip(axes, chosen, strict=True):
        matrix = np.nanmean([run.probes[PROBE].values["conflict"][place] for run in runs], axis=0)
        image = axis.imshow(matrix[np.ix_(order, order)], cmap="RdBu", vmin=-1, vmax=1)
        axis.set_title(f"step {steps[place]}")
        if len(names) <= 30:
            shown = [names[label] for label in order]
            axis.set_xticks(range(len(names)), shown, fontsize=8, rotation=90)
            axis.set_yticks(range(len(names)), shown, fontsize=8)
        for line in (axis.axhline, axis.axvline):
            line(len(groups["majority"]) - 0.5, color="black", lw=0.8)
    parts[0].colorbar(image, ax=list(axes), label="cosine of the gradients", shrink=0.8)
    if layers:
        axis = parts[1].subplots()
        between = np.mean([[_between(run, layer) for layer in layers] for run in runs], axis=0)
        limit = max(0.05, float(np.nanmax(np.abs(between))))
        image = axis.imshow(between, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        axis.set_yticks(range(len(layers)), layers)
        axis.set_xticks(range(len(steps)), [str(step) for step in steps])
        axis.set_xlabel("training step")
        axis.set_title("layer by layer: mean cosine of a majority and a minority class")
        parts[1].colorbar(image, ax=axis, label="cosine")
    return figure, FigureText(
        "gradient_conflict",
        f"Conflict of the classes' gradients at ratio {ratio:g}",
        "Cosine of the gradients of each pair of classes, the majority's first: "
        "red where a step along one class's gradient raises the other's loss. Below, the mean over "
        "pairs of a majority and a minority class in each layer. "
        + spread_of_classes(setting, ratio, PROBE, shaded=False),
    )


def _layers(run: Run) -> list[str]:
    return [
        name.removeprefix(LAYERS)
        for name in run.probes[PROBE].values
        if name.startswith(LAYERS)
    ]  # fmt: skip


def _between(run: Run, layer: str) -> list[float]:
    groups = run.data["groups"]
    matrices = run.probes[PROBE].values[LAYERS + layer]
    block = matrices[:, groups["majority"]][:, :, groups["minority"]]
    with np.errstate(invalid="ignore"):
        return [float(np.nanmean(matrix)) if np.isfinite(matrix).any() else np.nan
                for matrix in block]  # fmt: skip


def rows(setting: Setting, thresholds: Thresholds) -> Iterator[Row]:
    """A row for each ratio: the minority's gradient at the first and at the last measurement."""
    for ratio, runs in setting.by_ratio(probe=PROBE):
        row: Row = {"ratio": ratio, "seeds": len(runs)}
        for when, place in (("at the start", 0), ("at the end", -1)):
            row[f"minority's share, {when}"] = over_seeds(
                runs, [_share_of_minority(run, place) for run in runs]
            )
            row[f"cosine between groups, {when}"] = over_seeds(
                runs,
                [float(run.probes[PROBE].values["between"][place]) for run in runs],
                DIFFERENCE,
            )
            row[f"norm minority over majority, {when}"] = over_seeds(
                runs, [_norm_ratio(run, place) for run in runs], POSITIVE
            )
        yield row


def _share_of_minority(run: Run, place: int) -> float:
    return float(run.probes[PROBE].values["share"][place, run.data["groups"]["minority"]].sum())


def _norm_ratio(run: Run, place: int) -> float:
    norms, groups = run.probes[PROBE].values["norm"][place], run.data["groups"]
    return float(norms[groups["minority"]].mean() / norms[groups["majority"]].mean())


SECTION = PageSection(
    "gradients",
    "Gradients",
    "Gradients of each class's mean cross-entropy, from one mixed batch in training mode with the "
    "other classes' losses masked, at log-spaced steps. The whole gradient weights classes by "
    "their share of the training set, as training does.",
    figures=(gradients, conflicts),
    tables={"gradients": ("The minority's gradient in numbers", rows)},
    probe=PROBE,
)
