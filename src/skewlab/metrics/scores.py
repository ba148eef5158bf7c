"""How metrics are computed: for each class, for each group, overall, and gaps. Needs NumPy only, so
that the report computes them from disk with the same code.

A class without a sample in a split is absent: its metrics are NaN, and every mean leaves it out.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.metrics.rankings import RANKINGS, matthews_correlation

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Sums over a split's samples that the metric keeps for each class, in this order.
SUMS = ("n", "correct", "predicted", "loss", "confidence", "margin")
METRICS = ("loss", "recall", "precision", "f1", "confidence", "margin")
# The metrics whose gaps are computed.
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


def per_class_names(metrics: Mapping[str, Any]) -> list[str]:
    """The metrics that have a number for each class: skewlab's, then those of one's own."""
    own = [
        name
        for name, values in metrics.items()
        if name not in ("n", *METRICS) and np.ndim(values) == 1
    ]
    return [*METRICS, *own]


def recall_per_class(predicted: IntArray, labels: IntArray, classes: int) -> FloatArray:
    """Recall of each class, shape [classes]; NaN for a class without a sample.

    Args:
        predicted: the predicted class of each sample, shape [samples].
        labels: the true class of each sample, shape [samples].
        classes: number of classes.

    Example:
        >>> recall_per_class(np.array([0, 1, 1]), np.array([0, 0, 1]), classes=3).tolist()
        [0.5, 1.0, nan]
    """
    correct = np.bincount(labels[predicted == labels], minlength=classes)
    with np.errstate(invalid="ignore"):
        return np.asarray(correct / np.bincount(labels, minlength=classes), dtype=np.float64)


def mean_of_present(values: FloatArray) -> float:
    """Mean over the classes that are present; NaN where none is."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")


def overall(metrics: Mapping[str, FloatArray]) -> dict[str, float]:
    """Numbers over all classes of a split.

    - balanced_accuracy: mean recall. - g_mean: geometric mean of the recalls.
    - macro_f1: mean F1. - accuracy: share of all samples. - worst_class: lowest recall.
    - loss: mean over all samples. - auroc, average_precision: means of those of the classes, where
    they are measured.
    """
    present = metrics["n"] > 0
    recall, n = metrics["recall"][present], metrics["n"][present]
    rankings = {name: mean_of_present(metrics[name]) for name in RANKINGS if name in metrics}
    if not len(recall):
        names = ("balanced_accuracy", "g_mean", "macro_f1", "accuracy", "worst_class", "loss")
        return {**dict.fromkeys(names, float("nan")), **rankings}
    return {
        **rankings,
        "balanced_accuracy": float(recall.mean()),
        "g_mean": float(np.prod(recall ** (1.0 / len(recall)))),
        "macro_f1": float(metrics["f1"][present].mean()),
        "accuracy": float(recall @ n / n.sum()),
        "worst_class": float(recall.min()),
        "loss": float(metrics["loss"][present] @ n / n.sum()),
    }


def binary(metrics: Mapping[str, FloatArray], positive: int) -> dict[str, float]:
    """Numbers of a split with two classes, one of them the positive one.

    - prevalence: share of the positives. - f1: of the positive class. - matthews_correlation: of
    predicted and true classes.
    """
    n, recall = metrics["n"], metrics["recall"]
    if not n.all():
        return dict.fromkeys(("prevalence", "f1", "matthews_correlation"), float("nan"))
    true, rest = (float(n[c] * recall[c]) for c in (positive, 1 - positive))
    missed, false = float(n[positive]) - true, float(n[1 - positive]) - rest
    return {
        "prevalence": float(n[positive] / n.sum()),
        "f1": float(metrics["f1"][positive]),
        "matthews_correlation": matthews_correlation(true, false, missed, rest),
    }


def scalars(
    splits: Mapping[str, Mapping[str, FloatArray]],
    groups: Mapping[str, Sequence[int]],
    class_names: Sequence[str] = (),
) -> dict[str, float]:
    """All numbers of one evaluation, by the names that loggers and the summary use.

    `<split>/<metric>/<group>`, `<split>/<metric>/class/<name>`, `<split>/<overall>`, of two classes
    `<split>/<binary>` with the minority as the positive class,
    `gap/generalisation/<metric>/<group>` (train minus test) and `gap/group/<metric>/<split>`
    (majority minus minority).

    Args:
        splits: the metrics of each class, by split.
        groups: the classes of each group.
        class_names: names in label order; without names there are no numbers of single classes.
    """
    named: dict[str, float] = {}
    for split, metrics in splits.items():
        for metric in per_class_names(metrics):
            values = metrics[metric]
            for group, members in groups.items():
                named[f"{split}/{metric}/{group}"] = mean_of_present(values[list(members)])
            for label, name in enumerate(class_names):
                named[f"{split}/{metric}/class/{name}"] = float(values[label])
        for name, value in overall(metrics).items():
            named[f"{split}/{name}"] = value
        if len(metrics["n"]) == 2 and len(groups["minority"]) == 1:
            for name, value in binary(metrics, groups["minority"][0]).items():
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
    """The numbers of a probe's measurement that are streamed to the loggers.

    A number has the name `<probe>/<name>`. An array over classes gives the mean of each group,
    `<probe>/<name>/<group>`, and with class names each class, `<probe>/<name>/class/<class name>`.
    Arrays of other shapes are not streamed. The mean of a group without a present class is NaN.

    Args:
        probe: its name.
        found: flat, as `runs.curve_file.read_curves` gives it; `epoch`, `step` and `probe` are left
            out.
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


def of_streamed_classes(
    row: Mapping[str, float], classes: bool, metrics: Collection[str]
) -> dict[str, float]:
    """What loggers are told of a row of numbers: those of single classes would be most of it.

    Args:
        row: as of `evaluations`.
        classes: whether single classes are told at all.
        metrics: those of which single classes are told. What probes find is told of all.
    """

    def told(name: str) -> bool:
        split, _, rest = name.removeprefix("val_best/").partition("/")
        return split not in ("train", "val", "test") or rest.partition("/")[0] in metrics

    return {
        name: value
        for name, value in row.items()
        if "/class/" not in name or (classes and told(name))
    }


def evaluations(
    lines: Sequence[Mapping[str, Any]],
    groups: Mapping[str, Sequence[int]],
    class_names: Sequence[str] = (),
) -> Iterator[dict[str, float]]:
    """The streamed numbers of each evaluated step, from the lines of `curves.jsonl`.

    Args:
        lines: of `curves.jsonl`, in its order.
        groups: as of `scalars`.
        class_names: as of `scalars`.

    Yields:
        For each step its `epoch`, its `step` and all its numbers, of splits and of probes.
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
