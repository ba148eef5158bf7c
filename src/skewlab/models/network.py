"""What every network here is: a body that makes features, and a linear head."""

from torch import Tensor, nn


def has_parts(network: nn.Module) -> bool:
    """Whether features and classifier can be told apart: `features` is a method, not just a part of
    that name as torchvision's networks have it, whose `forward` does more; and there is a `head`.
    """
    return hasattr(type(network), "features") and hasattr(network, "head")


class Network(nn.Module):
    """A classifier as a body and a head, so that features and classifier can be told apart.

    Args:
        body: images [batch, channels, height, width] to features [batch, width].
        head: features to logits [batch, classes].
    """

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body, self.head = body, head

    def features(self, images: Tensor) -> Tensor:
        """The penultimate features, shape [batch, width]."""
        features: Tensor = self.body(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape [batch, classes]."""
        logits: Tensor = self.head(self.features(images))
        return logits
