"""The torchmetrics metric from which the curves are made."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

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
