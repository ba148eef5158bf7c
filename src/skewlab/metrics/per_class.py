"""The metrics from which the curves are made."""

from typing import Any

import numpy as np
import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from skewlab.metrics.rankings import IntArray, Scores, one_versus_rest
from skewlab.metrics.scores import SUMS, FloatArray, class_metrics


class PerClassMetric(Metric):
    """Per-class count, loss, recall, precision, F1, confidence and margin in one pass.

    Sums are kept on the device, in float64, so that counts are exact. Only `compute` waits for the
    device. Where several processes evaluate, their sums are added.

    Args:
        classes: number of classes.
        confusion: whether to count the confusion matrix as well, shape [classes, classes].

    Example:
        >>> metric = PerClassMetric(classes=2)
        >>> metric.update(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
        >>> metric.compute()["recall"].tolist()
        [1.0, 0.0]
    """

    full_state_update = False
    sums: Tensor
    confusion: Tensor

    def __init__(self, classes: int, confusion: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes, self._with_confusion = classes, confusion
        zeros = torch.zeros(classes, len(SUMS), dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")
        if confusion:
            counts = torch.zeros(classes, classes, dtype=torch.int64)
            self.add_state("confusion", counts, dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add one batch.

        Args:
            logits: shape [batch, classes], of the network, without a method's changes.
            labels: int64, shape [batch].
        """
        logits = logits.float()
        true = labels[:, None]
        log_probability = F.log_softmax(logits, dim=1).gather(1, true).squeeze(1)
        other = logits.scatter(1, true, float("-inf")).amax(dim=1)
        predicted = logits.argmax(dim=1)
        one = torch.ones_like(log_probability)
        rows = torch.stack(
            [
                one,
                (predicted == labels).float(),
                torch.zeros_like(one),  # filled by predicted class below
                -log_probability,
                log_probability.exp(),
                logits.gather(1, true).squeeze(1) - other,
            ],
            dim=1,
        )
        self.sums.index_add_(0, labels, rows.double())
        self.sums[:, SUMS.index("predicted")].index_add_(0, predicted, one.double())
        if self._with_confusion:
            cell = labels * self.classes + predicted
            self.confusion.view(-1).index_add_(0, cell, torch.ones_like(cell))

    def compute(self) -> dict[str, FloatArray]:
        """Arrays of shape [classes], see `scores.class_metrics`. With `confusion=True` also
        `confusion`, whose rows are the true and whose columns are the predicted classes."""
        metrics = class_metrics(self.sums.cpu().numpy())
        if self._with_confusion:
            metrics["confusion"] = self.confusion.cpu().numpy()
        return metrics


class Rankings:
    """One-versus-rest AUROC and average precision of each class, exact.

    A sample's score for a class is the log-odds of the class's probability. They are kept in main
    memory as float32, 4 bytes for each sample and class, until the next `reset`. Where several
    processes evaluate, the first one has the scores of all, and tells the others what it finds.

    Example:
        >>> rankings = Rankings()
        >>> rankings.update(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
        >>> rankings.compute()["auroc"].tolist()
        [1.0, 1.0]
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._parts: list[tuple[Scores, IntArray]] = []

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add one batch; arguments as of `PerClassMetric`."""
        self._parts.append((log_odds(logits.float()).cpu().numpy(), labels.cpu().numpy()))

    def compute(self) -> dict[str, FloatArray]:
        """`auroc` and `average_precision`, arrays of shape [classes]; NaN for a class without
        positives or negatives."""
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        if not together or torch.distributed.get_world_size() == 1:
            return one_versus_rest(*self.scores_and_labels())
        first = torch.distributed.get_rank() == 0
        parts: list[Any] | None = [None] * torch.distributed.get_world_size() if first else None
        torch.distributed.gather_object(self._parts, parts, dst=0)
        found: list[dict[str, FloatArray] | None] = [None]
        if parts is not None:
            self._parts = [one for some in parts for one in some]
            found = [one_versus_rest(*self.scores_and_labels())]
        torch.distributed.broadcast_object_list(found, src=0)
        assert found[0] is not None
        return found[0]

    def scores_and_labels(self) -> tuple[list[Scores], IntArray]:
        """The scores in parts, each of shape [samples, classes], and the labels of all parts."""
        scores, labels = zip(*self._parts, strict=True)
        return list(scores), np.concatenate(labels)


def log_odds(logits: Tensor) -> Tensor:
    """log p_c / (1 - p_c) of the softmax of logits, shape [batch, classes].

    It has the order of p_c also where p_c is rounded to 1: the largest logit's is computed from the
    sum of the others.
    """
    top, place = logits.max(dim=1, keepdim=True)
    others = logits.scatter(1, place, float("-inf")).logsumexp(dim=1, keepdim=True)
    log_probability = logits - torch.logaddexp(top, others)
    rest = log_probability - torch.log1p(-log_probability.exp())
    return rest.scatter(1, place, top - others)
