"""Heads that a method puts in the place of the network's linear one.

Each is built as `target(linear, **keys)` from the head that it replaces.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class CosineHead(nn.Linear):
    """scale * cos(feature, class weight): every class's weight counts by its direction alone.

    The normalised classifier that the code of LDAM-DRW uses (Cao et al., NeurIPS 2019); there the
    scale is the loss's, here it belongs to the logits, so that their cross-entropy has a meaning.

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
