"""The geometry of the classes in feature space: neural collapse, norms, angles, and the distance
between the features of training and test samples."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch

from skewlab.metrics.scores import FloatArray
from skewlab.probes.gradients import mean_cosine
from skewlab.probes.outputs import network_of
from skewlab.probes.probe import (
    Found,
    IntArray,
    Moment,
    Probe,
    RunFacts,
    SplitOutputs,
    by_class,
    check_whole,
)
from skewlab.runs import json_file

FILE = "features.npz"

# Singular values below this share of the largest one are treated as 0.
TOLERANCE = 1e-7
# There is no projection for more classes than this.
PROJECTED_CLASSES = 100


class ClassFeatures(NamedTuple):
    """First and second moments of each class's features.

    Attributes:
        counts: samples of each class, shape [classes].
        means: shape [classes, width].
        spread: trace of each class's covariance (divided by n, not n - 1), shape [classes].
        apart: each sample minus the mean of its class, shape [samples, width].
    """

    counts: IntArray
    means: FloatArray
    spread: FloatArray
    apart: FloatArray

    @classmethod
    def of(cls, features: FloatArray, labels: IntArray, classes: int) -> "ClassFeatures":
        """The moments of features [samples, width] with labels [samples]."""
        means = by_class(labels, features, classes)
        apart = features - means[labels]
        spread = by_class(labels, (apart**2).sum(1), classes)
        return cls(np.bincount(labels, minlength=classes), means, spread, apart)

    @property
    def centred(self) -> FloatArray:
        """Class means minus their mean, in which each class has the same weight."""
        return np.asarray(self.means - self.means.mean(0), dtype=np.float64)

    @property
    def mean_variance(self) -> FloatArray:
        """Unbiased estimate of the squared error of each class's mean: trace of the unbiased
        covariance over the count; NaN for a single sample."""
        with np.errstate(invalid="ignore", divide="ignore"):
            with_spread = np.where(self.counts > 1, self.counts - 1.0, np.nan)
        return np.asarray(self.spread / with_spread, dtype=np.float64)


def within_over_between(of: ClassFeatures, labels: IntArray) -> float:
    """NC1: Tr(Sigma_W Sigma_B^+) / C (Papyan, Han and Donoho 2020). Sigma_W is the mean of the
    classes' covariances, Sigma_B the covariance of the class means, both with the same weight for
    each class."""
    _, values, directions = np.linalg.svd(of.centred, full_matrices=False)
    held = values > TOLERANCE * max(values[0], np.finfo(np.float64).tiny)
    within = by_class(labels, (of.apart @ directions[held].T) ** 2, len(of.means)).mean(0)
    return float((within / values[held] ** 2).sum())


def equinorm(centred: FloatArray) -> float:
    """NC2: standard deviation over mean of the norms of the centred class means; 0 at collapse."""
    norms = np.linalg.norm(centred, axis=1)
    return float(norms.std() / norms.mean())


def cosine_matrix(vectors: FloatArray) -> FloatArray:
    """Cosine of each pair of rows; NaN where one is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T, dtype=np.float64)


def equiangularity(centred: FloatArray) -> tuple[float, float]:
    """NC2: (standard deviation of the cosines between centred class means, mean of |cosine + 1 /
    (C - 1)|); both 0 where the means form a simplex, whose angles are equal and the widest."""
    classes = len(centred)
    others = cosine_matrix(centred)[~np.eye(classes, dtype=bool)]
    return float(others.std()), float(np.abs(others + 1 / (classes - 1)).mean())


def duality(head: FloatArray, centred: FloatArray) -> float:
    """NC3: |W / |W| - M / |M|| in Frobenius norms, with the head's weights W and the centred class
    means M, both of shape [classes, width]; 0 where W is proportional to M."""
    return float(np.linalg.norm(head / np.linalg.norm(head) - centred / np.linalg.norm(centred)))


def nearest_mean(features: FloatArray, means: FloatArray) -> IntArray:
    """The class whose mean is nearest (Euclidean), shape [samples]."""
    scores = features @ means.T - 0.5 * (means**2).sum(1)
    return np.asarray(scores.argmax(1), dtype=np.int64)


def slope(counts: IntArray, values: FloatArray) -> float:
    """Least-squares slope of values over classes against log n_c; NaN for equal counts."""
    x = np.log(counts)
    x = x - x.mean()
    return float(x @ values / (x @ x)) if (x @ x) > 1e-12 else float("nan")


def feature_deviation(train: ClassFeatures, test: ClassFeatures) -> FloatArray:
    """The distance between each class's training and test features, shape [classes]: the squared
    distance of the two means over the class's spread on test (Ye et al. 2020).

    Each mean of n samples has an error of tr Sigma / n in expectation. Both errors are subtracted,
    so that the expectation is 0 where training and test features have the same distribution; a
    single value can be below 0. The spread is that of the test samples, because training features
    that have collapsed have no spread.
    """
    squared = ((train.means - test.means) ** 2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = test.mean_variance * test.counts
        unbiased = squared - train.mean_variance - test.mean_variance
        return np.asarray(unbiased / spread, dtype=np.float64)


def plane(of: ClassFeatures) -> FloatArray:
    """The two directions in which the class means vary most, shape [2, width]. The means of two
    classes have only one; the second is then the direction orthogonal to it in which samples vary
    most within their classes."""
    directions = np.linalg.svd(of.centred, full_matrices=False)[2]
    if len(of.means) > 2:
        return np.asarray(directions[:2])
    across = of.apart - np.outer(of.apart @ directions[0], directions[0])
    return np.stack([directions[0], np.linalg.svd(across, full_matrices=False)[2][0]])


def turned(points: FloatArray, before: FloatArray) -> FloatArray:
    """The rotation or reflection, shape [2, 2], that brings points closest to their earlier places
    (orthogonal Procrustes), because the axes of a plane are arbitrary."""
    u, _, v = np.linalg.svd(points.T @ before)
    return np.asarray(u @ v)


class Geometry(Probe):
    """The geometry of features and head, from the training and test features of one evaluation.

    A line has the numbers nc1, nc2_equinorm, nc2_equiangularity, nc2_widest_angles, nc3, and
    nc4/train, nc4/test, the share of samples whose prediction is the nearest class mean of the
    training features; head_cosine/minority and /majority, the mean cosine between head vectors of
    the group (1 is the minority collapse of Fang et al. 2021), mean_cosine/... the same of centred
    class means; head_norm_slope and head_bias_slope against log n_c. Arrays over classes:
    mean_norm, head_norm, head_bias, deviation (see `feature_deviation`), spread/train and
    spread/test. `angles`: cosines between centred class means, shape [classes, classes].

    `projection` has points of samples of each class, [points, 2], in the plane in which the class
    means vary most. The unit is the root mean square distance of the class means from their centre.
    Each projection is rotated to match the one before, so that it can be watched over time.

    At the last evaluation it writes `features.npz`, with the whole features of the projected
    samples, which the report draws by t-SNE: `train` and `test`, float32 [points, width]; their
    labels, `train_labels` and `test_labels`; and which samples of the split they are, `train_rows`
    and `test_rows`.

    Args:
        about: the run.
        projected: about how many samples of each split are projected; 0 for no projection.
    """

    splits_network = True

    def __init__(self, about: RunFacts, projected: int = 200) -> None:
        super().__init__(about)
        check_whole("geometry", least=0, projected=projected)
        self._projected = projected if about.classes <= PROJECTED_CLASSES else 0
        self._before: FloatArray | None = None

    def wants(self, moment: Moment) -> tuple[str, ...]:
        return ("train", "test")

    def measure(
        self, moment: Moment, outputs: Mapping[str, SplitOutputs], module: pl.LightningModule
    ) -> Found | None:
        train, test = outputs["train"], outputs["test"]
        features = {
            split: outputs[split].features.astype(np.float64) for split in ("train", "test")
        }
        classes, about = self.about.classes, self.about
        of_train = ClassFeatures.of(features["train"], train.labels, classes)
        of_test = ClassFeatures.of(features["test"], test.labels, classes)
        head, biases = _head(module)
        centred = of_train.centred
        angles, head_angles = cosine_matrix(centred), cosine_matrix(head)
        norms = np.linalg.norm(head, axis=1)
        spread_of_angles, from_widest = equiangularity(centred)
        groups = {"minority": about.minority, "majority": about.majority}
        if moment.last and self._projected:
            self._keep(outputs)
        return {
            "nc1": within_over_between(of_train, train.labels),
            "nc2_equinorm": equinorm(centred),
            "nc2_equiangularity": spread_of_angles,
            "nc2_widest_angles": from_widest,
            "nc3": duality(head, centred),
            "nc4": {
                split: float(
                    (
                        nearest_mean(features[split], of_train.means)
                        == outputs[split].logits.argmax(1)
                    ).mean()
                )
                for split in ("train", "test")
            },
            "head_cosine": {k: mean_cosine(head_angles, v, v) for k, v in groups.items()},
            "mean_cosine": {k: mean_cosine(angles, v, v) for k, v in groups.items()},
            "mean_norm": np.linalg.norm(centred, axis=1),
            "head_norm": norms,
            "head_bias": biases,
            "head_norm_slope": slope(about.counts, norms),
            "head_bias_slope": slope(about.counts, biases),
            "deviation": feature_deviation(of_train, of_test),
            "spread": {"train": of_train.spread, "test": of_test.spread},
            "angles": angles.round(4),
            **self._projection(of_train, features, {"train": train.labels, "test": test.labels}),
        }

    def _projection(
        self,
        of_train: ClassFeatures,
        features: Mapping[str, FloatArray],
        labels: Mapping[str, IntArray],
    ) -> Found:
        if not self._projected:
            return {}
        centre = of_train.means.mean(0)
        axes = plane(of_train)
        unit = np.sqrt((of_train.centred**2).sum(1).mean())
        means = of_train.centred @ axes.T / unit
        shown = {split: self._shown(labels[split]) for split in ("train", "test")}
        points = {
            split: (features[split][rows] - centre) @ axes.T / unit for split, rows in shown.items()
        }
        # The means of two classes lie on a line and do not determine a reflection; samples do.
        held = means if len(means) > 2 else np.concatenate([means, points["train"]])
        turn = np.eye(2)
        if self._before is not None and self._before.shape == held.shape:
            turn = turned(held, self._before)
        self._before = held @ turn
        return {
            "projection": {
                "means": (means @ turn).round(3),
                **{split: (of_split @ turn).round(3) for split, of_split in points.items()},
                **{f"{split}_labels": labels[split][rows] for split, rows in shown.items()},
            }
        }

    def _keep(self, outputs: Mapping[str, SplitOutputs]) -> None:
        arrays: dict[str, Any] = {}
        for split in ("train", "test"):
            seen = outputs[split]
            shown = self._shown(seen.labels)
            arrays[split] = seen.features[shown]
            arrays[f"{split}_labels"], arrays[f"{split}_rows"] = (
                seen.labels[shown],
                seen.rows[shown],
            )
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        json_file.write_bytes(self.about.folder / FILE, buffer.getvalue())

    def _shown(self, labels: IntArray) -> Sequence[int]:
        """The first samples of each class, at least 2: the same ones at each evaluation."""
        each = max(2, self._projected // self.about.classes)
        return [
            int(row)
            for label in range(self.about.classes)
            for row in np.flatnonzero(labels == label)[:each]
        ]

    def state_dict(self) -> dict[str, Any]:
        return {} if self._before is None else {"before": torch.from_numpy(self._before)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if "before" in state:
            self._before = state["before"].numpy()


def _head(module: pl.LightningModule) -> tuple[FloatArray, FloatArray]:
    """The head's weights [classes, width] and biases [classes], 0 where it has none."""
    head: Any = network_of(module).head
    weights = np.asarray(head.weight.detach().cpu().numpy(), dtype=np.float64)
    if head.bias is None:
        return weights, np.zeros(len(weights))
    return weights, np.asarray(head.bias.detach().cpu().numpy(), dtype=np.float64)
