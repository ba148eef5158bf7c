"""Training losses. Each is built from the training counts, then called on logits and labels."""

import torch.nn.functional as F
from torch import Tensor, nn


class CrossEntropy(nn.Module):
    """Mean cross-entropy over the batch: nothing is done about imbalance.

    Args:
        counts: training samples of each class, shape [classes]; not used by this loss.
    """

    def __init__(self, counts: Tensor) -> None:
        super().__init__()

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar, of logits [batch, classes] and labels [batch]."""
        return F.cross_entropy(logits, labels)
