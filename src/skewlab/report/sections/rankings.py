"""How well each class is ranked above the rest: AUROC, average precision, and their curves."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from skewlab.metrics.rankings import RANKINGS
from skewlab.metrics.scores import FloatArray, binary, mean_of_present
from skewlab.report.drawing import (
    COLOURS,
    RATIO_COLOURS,
    STYLES,
    FigureText,
    as_recall,
    counts_title,
    legend,
    panels,
    spread,
)
from skewlab.report.measures import DIFFERENCE, SHARE
from skewlab.report.read import Run
from skewlab.report.sections.section import PageSection
from skewlab.report.settings import Setting, same_roles
from skewlab.report.statistics import Estimate, estimate
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds

TITLES = dict(zip(RANKINGS, ("AUROC", "average precision"), strict=True))
# Where the mean curves of several seeds and classes are read off.
STEPS = np.linspace(0, 1, 101)
# With more classes than these, tables have the minority's classes only, the least frequent first.
MOST_CLASSES = 30


def _ranked(setting: Setting) -> list[tuple[float, list[Run]]]:
    """The ratios whose runs have rankings."""
    found = [
        (ratio, [run for run in runs if "auroc" in run.curves["test"].values])
        for ratio, runs in setting.by_ratio()
    ]
    return [(ratio, runs) for ratio, runs in found if runs]


def _over_seeds(
    runs: Sequence[Run], numbers: Iterable[float], within: tuple[float, float] = SHARE
) -> Estimate | str:
    """The mean over seeds of a number of each run; an empty cell where no run has it."""
    by_seeds = {run.seed_key: value for run, value in zip(runs, numbers, strict=True)}
    found = estimate(by_seeds, within=within)
    return found if found.n else ""


def over_time(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText] | None:
    """Both measures of both groups on train and test over epochs, at the largest ratio."""
    if not (ranked := _ranked(setting)):
        return None
    ratio, runs = ranked[-1]
    figure, axes = panels(len(RANKINGS))
    for axis, metric in zip(axes, RANKINGS, strict=True):
        for group, colour in COLOURS.items():
            for split, style in STYLES.items():
                curves = [run.group(split, metric, group) for run in runs]
                length = min(len(values) for _, values in curves)
                values = np.stack([values[:length] for _, values in curves])
                mean = [mean_of_present(column) for column in values.T]
                label = f"{group}, {split}"
                axis.plot(curves[0][0][:length], mean, style, color=colour, label=label)
        axis.set_title(TITLES[metric])
        axis.set_xlabel("epoch")
        as_recall(axis)
    legend(figure, axes[0])
    return figure, FigureText(
        "rankings_over_time",
        f"AUROC and average precision over epochs at ratio {ratio:g}",
        "Each class against the rest, mean over the group's classes, "
        f"{counts_title(ratio, runs)}. " + spread(setting, shaded=False),
    )


def final_curves(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText] | None:
    """Precision-recall and ROC curves of the minority on test, a line for each ratio."""
    found = [(ratio, _mean_curves(runs, "minority")) for ratio, runs in _ranked(setting)]
    found = [(ratio, curves) for ratio, curves in found if curves]
    if not found:
        return None
    figure, (left, right) = panels(2)
    for place, (ratio, curves) in enumerate(found):
        colour = RATIO_COLOURS[place % len(RATIO_COLOURS)]
        left.plot(STEPS, curves["precision"], color=colour, label=f"ratio {ratio:g}")
        right.plot(STEPS, curves["recall"], color=colour, label=f"ratio {ratio:g}")
        left.axhline(curves["prevalence"][0], color="gray", lw=0.8, ls=":")
    right.plot([0, 1], [0, 1], color="gray", lw=0.8, ls=":")
    for axis, across, up in (
        (left, "recall", "precision"),
        (right, "false positive rate", "recall"),
    ):
        axis.set_xlabel(across)
        axis.set_title(f"{up} against {across}")
        as_recall(axis)
    legend(figure, left)
    return figure, FigureText(
        "precision_recall_and_roc",
        "Precision-recall and ROC curves of the minority",
        "On test after training, each class of the minority against the rest, mean over classes "
        "and seeds. Dotted: scores that know nothing; in precision that is the share of positives "
        "on test, which the precision depends on.",
    )


def _mean_curves(runs: Sequence[Run], among: str | Sequence[int]) -> dict[str, FloatArray]:
    """Precision at each recall, and recall at each false positive rate, of `STEPS`; mean over
    classes, those of a group or these labels, and over seeds. Empty where no run has curves."""
    each = [
        (curve, positives / (positives + negatives))
        for run in runs
        for curve, positives, negatives in _curves(
            run, run.groups[among] if isinstance(among, str) else among
        )
    ]
    if not each:
        return {}
    return {
        "precision": np.mean([_precision_at(curve) for curve, _ in each], axis=0),
        "recall": np.mean([_recall_at(curve) for curve, _ in each], axis=0),
        "prevalence": np.asarray([np.mean([share for _, share in each])]),
    }


def _curves(run: Run, members: Sequence[int]) -> Iterator[tuple[dict[str, Any], int, int]]:
    test = run.rankings.get("test", {})
    for label in members if "curves" in test else ():
        if test["curves"][label] is not None:
            yield test["curves"][label], test["positives"][label], test["negatives"][label]


def _precision_at(curve: dict[str, Any]) -> FloatArray:
    """The precision at the highest kept threshold that has at least each recall."""
    recall, precision = (np.asarray(curve[name])[::-1] for name in ("recall", "precision"))
    return np.asarray(precision[np.minimum(recall.searchsorted(STEPS), len(recall) - 1)])


def _recall_at(curve: dict[str, Any]) -> FloatArray:
    """The recall of the last kept threshold with at most each false positive rate."""
    rate, recall = (np.asarray(curve[name])[::-1] for name in ("false_positive_rate", "recall"))
    place = rate.searchsorted(STEPS, "right") - 1
    return np.where(place < 0, 0.0, recall[place])


def by_group(setting: Setting, thresholds: Thresholds) -> Iterator[Row]:
    """A row for each ratio and group, many, medium and few among them, at the last evaluation.
    Groups of the same classes share a row."""
    for ratio, runs in _ranked(setting):
        found: dict[tuple[tuple[int, ...], ...], list[str]] = {}
        for group in ("majority", "minority", "many", "medium", "few"):
            members = tuple(tuple(run.groups.get(group, ())) for run in runs)
            if any(members):
                found.setdefault(members, []).append(group)
        for group, *same in found.values():
            of_group = [run for run in runs if group in run.groups]
            row: Row = {"ratio": ratio, "group": ", ".join([group, *same]), "seeds": len(of_group)}
            row["classes"] = len(of_group[0].groups[group])
            for metric in RANKINGS:
                for split in ("train", "test"):
                    row[f"{split} {TITLES[metric]}"] = _over_seeds(
                        of_group, [run.final(split, metric, group) for run in of_group]
                    )
            yield row


def by_class(setting: Setting, thresholds: Thresholds) -> Iterator[Row]:
    """A row for each ratio and class: what test samples get at thresholds, chosen on val or best on
    test. Over the seeds in which the classes have the same roles."""
    for ratio, runs in _ranked(setting):
        with_curves = [run for run in same_roles(runs) if "test" in run.rankings]
        if not with_curves:
            continue
        first = with_curves[0]
        for label in _shown(first):
            row: Row = {"ratio": ratio, "class": first.data["class_names"][label]}
            row["seeds"] = len(with_curves)
            row["training samples"] = first.counts[label]
            for metric in RANKINGS:
                row[TITLES[metric]] = _over_seeds(
                    with_curves,
                    [float(run.curves["test"].values[metric][-1, label]) for run in with_curves],
                )
            row |= _at_thresholds(with_curves, label)
            yield row


def _at_thresholds(runs: Sequence[Run], label: int) -> Row:
    """Recall and precision of a class on test, at each kind of threshold."""

    def number(run: Run, *keys: str) -> float:
        found: Any = run.rankings
        for key in keys:
            found = found.get(key, {})
        return float("nan") if not found or found[label] is None else float(found[label])

    row: Row = {}
    precision, recall = (f"{runs[0].rankings[f'at_{of}']:g}" for of in ("precision", "recall"))
    best = {
        f"recall at precision {precision}": ("test", "recall_at_precision"),
        f"precision at recall {recall}": ("test", "precision_at_recall"),
    }
    by_val = {
        f"precision {precision} on val": "recall_at_precision",
        f"recall {recall} on val": "precision_at_recall",
        "best F1 on val": "f1",
    }
    for title, keys in best.items():
        row[title] = _over_seeds(runs, [number(run, *keys) for run in runs])
    for title, choice in by_val.items():
        for name in ("recall", "precision"):
            row[f"{name} at the threshold of {title}"] = _over_seeds(
                runs, [number(run, "at_thresholds_of_val", choice, name) for run in runs]
            )
    return row


def _shown(run: Run) -> list[int]:
    """The classes that have rows of their own."""
    order = sorted(range(len(run.counts)), key=lambda label: run.counts[label])
    if len(order) <= MOST_CLASSES:
        return order
    minority = set(run.groups["minority"])
    return [label for label in order if label in minority][:MOST_CLASSES]


def of_two_classes(setting: Setting, thresholds: Thresholds) -> Iterator[Row]:
    """Data with two classes as positives and negatives, a row for each ratio."""
    for ratio, runs in _ranked(setting):
        if len(runs[0].counts) != 2:
            continue
        (positive,) = runs[0].groups["minority"]
        counts = runs[0].counts
        row: Row = {"ratio": ratio, "seeds": len(runs)}
        row["positive class"] = runs[0].data["class_names"][positive]
        row["prevalence in training"] = round(counts[positive] / sum(counts), 4)
        for name in ("prevalence", "f1", "matthews_correlation"):
            row[f"test {name.replace('_', ' ')}"] = _over_seeds(
                runs,
                [_binary(run)[name] for run in runs],
                DIFFERENCE if name == "matthews_correlation" else SHARE,
            )
        row["test balanced accuracy"] = _over_seeds(
            runs, [mean_of_present(run.curves["test"].values["recall"][-1]) for run in runs]
        )
        for metric in RANKINGS:
            row[f"test {TITLES[metric]}"] = _over_seeds(
                runs, [run.final("test", metric, "minority") for run in runs]
            )
        yield row


def _binary(run: Run) -> dict[str, float]:
    last = {name: values[-1] for name, values in run.curves["test"].values.items()}
    return binary(last, run.groups["minority"][0])


def curve_points(setting: Setting, thresholds: Thresholds) -> Iterator[Row]:
    """The curves of each class, mean over the seeds in which the classes have the same roles, for
    the CSV file. `rankings.json` of each run has its own."""
    for ratio, runs in _ranked(setting):
        alike = same_roles(runs)
        for label in _shown(alike[0]):
            if curves := _mean_curves(alike, [label]):
                about: Row = {"ratio": ratio, "class": alike[0].data["class_names"][label]}
                about["seeds"] = len(alike)
                for at, precision, recall in zip(
                    STEPS, curves["precision"], curves["recall"], strict=True
                ):
                    yield about | {
                        "at": round(at, 2),
                        "precision at this recall": round(precision, 6),
                        "recall at this false positive rate": round(recall, 6),
                    }


SECTION = PageSection(
    "rankings",
    "Rankings: AUROC and average precision",
    "How well the network's scores rank the samples of a class above all others, whatever "
    "threshold decides. A network that never predicts a rare class can rank it well: then claim "
    "4a is about its decisions, and claim 4b asks about its features. AUROC does not depend on how "
    "frequent the class is on test, average precision does. The table by class has the best recall "
    "at a precision and the best precision at a recall that test allows, and what test gets at "
    "three thresholds that were chosen on val. A number without an interval is of one seed: in the "
    "others no threshold reaches that precision or recall.",
    figures=(over_time, final_curves),
    tables={
        "binary": ("Two classes, the minority as the positive one", of_two_classes),
        "rankings": ("By group, at the last evaluation", by_group),
        "operating_points": ("By class on test, after training", by_class),
        # Without a title: as files only.
        "ranking_curves": ("", curve_points),
    },
)
