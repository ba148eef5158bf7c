"""Calibration of the network's probabilities for each class, and its prior over the classes."""

from collections.abc import Mapping

import numpy as np
import pytorch_lightning as pl

from skewlab.metrics.scores import FloatArray
from skewlab.probes.probe import (
    Found,
    IntArray,
    Moment,
    Probe,
    RunFacts,
    SplitOutputs,
    by_class,
    check_whole,
    probabilities,
)


def calibration_error(
    confidence: FloatArray, correct: FloatArray, groups: IntArray, number: int, bins: int
) -> FloatArray:
    """The expected calibration error (Naeini et al. 2015; Guo et al. 2017) of groups of samples,
    shape [number]. The confidence is divided into bins of equal width; the error is the mean over
    the bins of |accuracy - mean confidence|, weighted by their numbers of samples. NaN for a group
    without samples.

    Args:
        confidence: the largest probability, shape [samples].
        correct: 1 where the prediction is right, else 0, shape [samples].
        groups: the group of each sample, shape [samples].
        number: number of groups.
        bins: number of bins.
    """
    sums = reliability(confidence, correct, groups, number, bins)
    gaps = sums["right"] - sums["confidence"]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(gaps).sum(1) / sums["samples"].sum(1), dtype=np.float64)


def reliability(
    confidence: FloatArray, correct: FloatArray, groups: IntArray, number: int, bins: int
) -> dict[str, FloatArray]:
    """What a reliability diagram shows (DeGroot and Fienberg 1983): of each group and bin the
    number of its samples, the sum of their confidences, and how many are right; each of shape
    [number, bins]. The arguments are those of `calibration_error`."""
    # A bin includes its upper end, as in Guo et al. A confidence of 0 belongs to the first bin.
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    sums = {}
    for name, each in (
        ("samples", np.ones_like(confidence)),
        ("confidence", confidence),
        ("right", correct),
    ):
        sums[name] = np.zeros((number, bins))
        np.add.at(sums[name], (groups, bin_of), each)
    return sums


def divergence(p: FloatArray, q: FloatArray) -> float:
    """KL(p || q) in nats."""
    held = p > 0
    return float((p[held] * np.log(p[held] / q[held])).sum())


class Calibration(Probe):
    """Calibration error, Brier score and the network's prior on the balanced test set.

    A line has, arrays over classes:

    - error/true, error/predicted: expected calibration error of the samples of a class, and of the
      samples that are predicted as the class.
    - brier/true, brier/predicted: for the same samples the mean squared distance between the
      probabilities and the one-hot label, from 0 to 2 (Brier 1950).
    - mean_prediction: q_c, the mean probability of each class over the test set, where each true
      class has the same weight. A network without a prior has 1 / classes.
    - prior: pi, the shares of the classes in the training set, for comparison.

    and the numbers from_prior = KL(q || pi), which is 0 where the network's prior is that of the
    training set, from_uniform = KL(q || uniform), both in nats, and error/all, brier/all. The last
    line has the sums of a reliability diagram as well, shape [classes, bins]: see `reliability`.

    Args:
        about: the run.
        bins: number of bins of the calibration error.
    """

    def __init__(self, about: RunFacts, bins: int = 15) -> None:
        super().__init__(about)
        check_whole("calibration", bins=bins)
        self._bins = bins

    def wants(self, moment: Moment) -> tuple[str, ...]:
        return ("test",)

    def measure(
        self, moment: Moment, outputs: Mapping[str, SplitOutputs], module: pl.LightningModule
    ) -> Found | None:
        seen, classes = outputs["test"], self.about.classes
        probability = probabilities(seen.logits)
        predicted = probability.argmax(1)
        confidence = probability.max(1)
        correct = (predicted == seen.labels).astype(np.float64)
        apart = probability - np.eye(classes)[seen.labels]
        brier = (apart**2).sum(1)
        q = np.nanmean(by_class(seen.labels, probability, classes), axis=0)
        prior = self.about.counts / self.about.counts.sum()
        together = np.zeros_like(seen.labels)
        diagram = {
            name: reliability(confidence, correct, groups, classes, self._bins)
            for name, groups in (("true", seen.labels), ("predicted", predicted))
        }
        return {
            **({"reliability": diagram} if moment.last else {}),
            "error": {
                "true": self._error(confidence, correct, seen.labels, classes),
                "predicted": self._error(confidence, correct, predicted, classes),
                "all": float(self._error(confidence, correct, together, 1)[0]),
            },
            "brier": {
                "true": by_class(seen.labels, brier, classes),
                "predicted": by_class(predicted, brier, classes),
                "all": float(brier.mean()),
            },
            "mean_prediction": q,
            "prior": prior,
            "from_prior": divergence(q, prior),
            "from_uniform": divergence(q, np.full(classes, 1 / classes)),
        }

    def _error(
        self, confidence: FloatArray, correct: FloatArray, groups: IntArray, number: int
    ) -> FloatArray:
        return calibration_error(confidence, correct, groups, number, self._bins)
