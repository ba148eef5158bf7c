"""Heads that replace the network's linear head.

Each is built as `target(linear, **keys)` from the head that it replaces.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class CosineHead(nn.Linear):
    """scale * cos(feature, class weight): the length of a class's weight vector has no effect.

    This is the normalised classifier in the code of LDAM-DRW (Cao et al., NeurIPS 2019). There the
    loss applies the scale; here the head does, so that the cross-entropy of the logits is that of
    the classifier.

    Args:
        linear: the head that it replaces; its initial directions are kept.
        scale: of the cosines.
    """

    def __init__(self, linear: nn.Linear, scale: float = 30.0) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False)
        self.scale = scale
        self.weight.data.copy_(F.normalize(linear.weight.data, dim=1))

    def reset_parameters(self) -> None:
        """New random directions."""
        super().reset_parameters()
        self.weight.data.copy_(F.normalize(self.weight.data, dim=1))

    def forward(self, features: Tensor) -> Tensor:
        """Logits, shape [batch, classes], of features [batch, width]."""
        cosines = F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))
        return self.scale * cosines
