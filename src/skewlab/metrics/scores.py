"""What the numbers mean: per class, per group, overall, and gaps. Needs NumPy only, so that the
report computes them from disk with the very same code.

A class without a sample in a split is absent: NaN, never 0, and left out of every mean.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Sums over a split's samples that the metric keeps for each class, in this order.
SUMS = ("n", "correct", "predicted", "loss", "confidence", "margin")
METRICS = ("loss", "recall", "precision", "f1", "confidence", "margin")
# Gaps are taken of these.
GAP_METRICS = ("recall", "loss")


def class_metrics(sums: FloatArray) -> dict[str, FloatArray]:
    """The metrics of each class, arrays of shape [classes], from its sums.

    - loss: mean cross-entropy, not weighted and without the method's changes, in nats.
    - recall: share of the class's samples that are predicted as it.
    - precision: share of the samples predicted as the class that are of it; 0 where it is never
      predicted, as in scikit-learn.
    - f1: harmonic mean of the two, 2 correct / (n + predicted).
    - confidence: mean probability of the true class.
    - margin: mean of the true class's logit minus the largest other one.

    Args:
        sums: shape [classes, 6], columns as `SUMS`.
    """
    n, correct, predicted, loss, confidence, margin = sums.T
    present = n > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "n": n,
            "loss": loss / n,
            "recall": correct / n,
            "precision": np.where(present, correct / np.maximum(predicted, 1), np.nan),
            "f1": np.where(present, 2 * correct / (n + predicted), np.nan),
            "confidence": confidence / n,
            "margin": margin / n,
        }


def mean_of_present(values: FloatArray) -> float:
    """Mean over the classes that are there; NaN if none is."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")


def overall(metrics: Mapping[str, FloatArray]) -> dict[str, float]:
    """Numbers over all classes of a split.

    - balanced_accuracy: mean recall. - g_mean: geometric mean of the recalls.
    - macro_f1: mean F1. - accuracy: share of all samples. - worst_class: lowest recall.
    - loss: mean over all samples.
    """
    present = metrics["n"] > 0
    recall, n = metrics["recall"][present], metrics["n"][present]
    if not len(recall):
        names = ("balanced_accuracy", "g_mean", "macro_f1", "accuracy", "worst_class", "loss")
        return dict.fromkeys(names, float("nan"))
    return {
        "balanced_accuracy": float(recall.mean()),
        "g_mean": float(np.prod(recall ** (1.0 / len(recall)))),
        "macro_f1": float(metrics["f1"][present].mean()),
        "accuracy": float(recall @ n / n.sum()),
        "worst_class": float(recall.min()),
        "loss": float(metrics["loss"][present] @ n / n.sum()),
    }


def scalars(
    splits: Mapping[str, Mapping[str, FloatArray]],
    groups: Mapping[str, Sequence[int]],
    class_names: Sequence[str] = (),
) -> dict[str, float]:
    """Everything said of one evaluation, by the names that loggers and the summary use.

    `<split>/<metric>/<group>`, `<split>/<metric>/class/<name>`, `<split>/<overall>`,
    `gap/generalisation/<metric>/<group>` (train minus test) and `gap/group/<metric>/<split>`
    (majority minus minority).

    Args:
        splits: the metrics of each class, by split.
        groups: the classes of each group.
        class_names: names in label order; empty leaves the single classes out.
    """
    named: dict[str, float] = {}
    for split, metrics in splits.items():
        for metric in METRICS:
            values = metrics[metric]
            for group, members in groups.items():
                named[f"{split}/{metric}/{group}"] = mean_of_present(values[list(members)])
            for label, name in enumerate(class_names):
                named[f"{split}/{metric}/class/{name}"] = float(values[label])
        for name, value in overall(metrics).items():
            named[f"{split}/{name}"] = value
        for metric in GAP_METRICS:
            named[f"gap/group/{metric}/{split}"] = (
                named[f"{split}/{metric}/majority"] - named[f"{split}/{metric}/minority"]
            )
    if "train" in splits and "test" in splits:
        for metric in GAP_METRICS:
            for group in groups:
                named[f"gap/generalisation/{metric}/{group}"] = (
                    named[f"train/{metric}/{group}"] - named[f"test/{metric}/{group}"]
                )
    return named


def probe_scalars(
    probe: str,
    found: Mapping[str, Any],
    groups: Mapping[str, Sequence[int]],
    class_names: Sequence[str] = (),
) -> dict[str, float]:
    """What is streamed of a probe's measurement.

    A number under its name, `<probe>/<name>`; an array over classes as the mean of each group and,
    if named, each class, `<probe>/<name>/<group>` and `<probe>/<name>/class/<class name>`; no array
    of another shape. A group is absent, and its mean NaN, where all its classes are.

    Args:
        probe: its name.
        found: flat, as `runs.curve_file.read_curves` gives it; its own time and name are left out.
        groups: the classes of each group.
        class_names: as of `scalars`.
    """
    classes = len(groups["majority"]) + len(groups["minority"])
    named: dict[str, float] = {}
    for key, value in found.items():
        if key in ("epoch", "step", "probe"):
            continue
        name = f"{probe}/{key}"
        if value is None:
            named[name] = float("nan")
        elif isinstance(value, int | float):
            named[name] = float(value)
        elif isinstance(value, np.ndarray) and value.shape == (classes,):
            for group, members in groups.items():
                named[f"{name}/{group}"] = mean_of_present(value[list(members)])
            for label, class_name in enumerate(class_names):
                named[f"{name}/class/{class_name}"] = float(value[label])
    return named


def evaluations(
    lines: Sequence[Mapping[str, Any]],
    groups: Mapping[str, Sequence[int]],
    class_names: Sequence[str] = (),
) -> Iterator[dict[str, float]]:
    """What was said at each step that is on disk, of splits and by probes.

    Args:
        lines: of `curves.jsonl`, in its order.
        groups: as of `scalars`.
        class_names: as of `scalars`.

    Yields:
        Its `epoch`, its `step` and its scalars.
    """
    for step, group in itertools.groupby(lines, key=lambda line: int(line["step"])):
        of_step = list(group)
        splits = {str(line["split"]): line for line in of_step if "split" in line}
        row = {"epoch": float(of_step[0]["epoch"]), "step": step}
        if splits:
            row |= scalars(splits, groups, class_names)
        for line in of_step:
            if "probe" in line:
                row |= probe_scalars(str(line["probe"]), line, groups, class_names)
        yield row
