"""How far the network's probabilities can be believed, by class, and which classes it expects."""

from collections.abc import Mapping

import numpy as np

from skewlab.metrics.scores import FloatArray
from skewlab.probes.probe import (
    Found,
    IntArray,
    Moment,
    Outputs,
    Probe,
    RunFacts,
    by_class,
    check_whole,
    probabilities,
)
from skewlab.training.module import ImbalanceClassifier


def calibration_error(
    confidence: FloatArray, correct: FloatArray, groups: IntArray, number: int, bins: int
) -> FloatArray:
    """The expected calibration error (Naeini et al. 2015; Guo et al. 2017) of some groups of
    samples, shape [number]: over bins of equal width of the confidence, the mean of |accuracy -
    mean confidence|, weighted by the samples in each; NaN for a group without any.

    Args:
        confidence: the largest probability, shape [samples].
        correct: 1 where the prediction is right, else 0, shape [samples].
        groups: the group of each sample, shape [samples].
        number: of groups.
        bins: of the confidence.
    """
    # Bins are closed above, as in Guo et al.; only a confidence of 0 would be below the first.
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.zeros((number, bins))
    np.add.at(gaps, (groups, bin_of), correct - confidence)
    counts = np.bincount(groups, minlength=number)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(gaps).sum(1) / counts, dtype=np.float64)


def divergence(p: FloatArray, q: FloatArray) -> float:
    """KL(p || q) in nats."""
    held = p > 0
    return float((p[held] * np.log(p[held] / q[held])).sum())


class Calibration(Probe):
    """Calibration error, Brier score and the network's prior on the balanced test set.

    A line has, arrays over classes:

    - error/true, error/predicted: expected calibration error of the samples of a class, and of
      those that are predicted as it.
    - brier/true, brier/predicted: mean over the same samples of the squared distance of the
      probabilities from the one-hot label, from 0 to 2 (Brier 1950).
    - mean_prediction: q_c, the mean probability of each class over the test set, in which each true
      class counts once: a network without a prior has 1 / classes.
    - prior: pi, the training set's shares, for comparison.

    and the numbers from_prior = KL(q || pi), 0 where the network expects the training set's prior,
    from_uniform = KL(q || uniform), both in nats, and error/all, brier/all.

    Args:
        about: the run.
        bins: of the calibration error.
    """

    def __init__(self, about: RunFacts, bins: int = 15) -> None:
        super().__init__(about)
        check_whole("calibration", bins=bins)
        self._bins = bins

    def wants(self, moment: Moment) -> tuple[str, ...]:
        return ("test",)

    def measure(
        self, moment: Moment, outputs: Mapping[str, Outputs], module: ImbalanceClassifier
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
        return {
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
