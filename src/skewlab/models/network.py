"""The networks' common form: a body that computes features, and a linear head."""

from torch import Tensor, nn


def has_parts(network: nn.Module) -> bool:
    """Whether a network has a method `features` and a `head`, so that features and logits can be
    computed separately. A submodule named `features` is not enough: torchvision's networks have
    one, and their `forward` computes more between it and the head.
    """
    return hasattr(type(network), "features") and hasattr(network, "head")


class Network(nn.Module):
    """A classifier made of a body and a head.

    Args:
        body: takes images [batch, channels, height, width] to features [batch, width].
        head: takes features to logits [batch, classes].
    """

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body, self.head = body, head

    def features(self, images: Tensor) -> Tensor:
        """The features that the head is given, shape [batch, width]."""
        features: Tensor = self.body(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape [batch, classes]."""
        logits: Tensor = self.head(self.features(images))
        return logits
