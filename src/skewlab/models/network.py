"""The networks' common form: a body that computes features, and a linear head."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from skewlab.config.parts import build, offered
from skewlab.errors import ConfigError


def build_network(
    model: Mapping[str, Any], input_shape: Sequence[int], classes: int, vocabulary: int | None
) -> nn.Module:
    """The network that `model` names.

    Args:
        model: `_target_` and arguments; it is called as `target(input_shape, classes, **keys)`.
        input_shape: of one input as it is stored.
        classes: number of logits.
        vocabulary: number of tokens, given to networks whose signature names it.
    """
    given = network_offers(model, vocabulary)
    network: nn.Module = build(model, tuple(input_shape), classes, key="model", **given)
    return network


def network_offers(model: Mapping[str, Any], vocabulary: int | None) -> dict[str, Any]:
    """What the program gives to a network by name: the number of tokens, if it takes one.

    Raises:
        ConfigError: it takes one, and the data are no tokens.
    """
    given = offered(model, "model", vocabulary=vocabulary)
    if given and vocabulary is None:
        raise ConfigError(
            f"model={model.get('name', model['_target_'])}: takes tokens, and this data has none"
        )
    return given


def expect_images(shape: Sequence[int], model: str) -> None:
    """Refuse inputs that are no images.

    Raises:
        ConfigError: the shape is not (height, width, channels).
    """
    if len(shape) != 3:
        fitting = {
            1: "; for tables: mlp, tabular_resnet; for texts: embedding_bag, token_transformer",
            2: "; for series: cnn_1d",
        }
        raise ConfigError(
            f"model={model}: needs images, [height, width, channels], not inputs of {list(shape)}"
            + fitting.get(len(shape), "")
        )


def trained_parameters(
    module: nn.Module,
    network: nn.Module,
    optimizer: Mapping[str, Any],
    later: Iterable[nn.Parameter] = (),
) -> list[Any]:
    """What an optimiser is given: the parameters that are trained, and in groups where the body of
    a network has a learning rate of its own, `body_rate` times the others'.

    Args:
        module: what is trained, the network and perhaps more.
        network: whose `body_rate` counts.
        optimizer: `_target_` and arguments.
        later: parameters that are frozen now and trained in a second stage.

    Raises:
        ConfigError: there is a `body_rate`, and the optimiser has no `lr`.
    """
    of_later = {id(parameter) for parameter in later}
    trained = [p for p in module.parameters() if p.requires_grad or id(p) in of_later]
    rate = float(getattr(network, "body_rate", 1.0))
    if rate == 1.0:
        return trained
    if "lr" not in optimizer:
        raise ConfigError(f"model.body_rate={rate:g}: needs optimizer.lr, which it multiplies")
    of_body = {id(parameter) for parameter in network.body.parameters()}  # type: ignore[union-attr]
    return [
        {"params": [p for p in trained if id(p) not in of_body]},
        {
            "params": [p for p in trained if id(p) in of_body],
            "lr": rate * float(optimizer["lr"]),
        },
    ]


def has_parts(network: nn.Module) -> bool:
    """Whether a network has a method `features` and a `head`, so that features and logits can be
    computed separately. A submodule named `features` is not enough: torchvision's networks have
    one, and their `forward` computes more between it and the head.
    """
    return hasattr(type(network), "features") and hasattr(network, "head")


class Network(nn.Module):
    """A classifier made of a body and a head.

    Args:
        body: takes inputs to features [batch, width]; images are [batch, channels, height, width],
            series [batch, channels, time], rows of a table [batch, features].
        head: takes features to logits [batch, classes].

    Attributes:
        body_rate: factor of the body's learning rate.
        weights_want: what pre-trained weights were trained with, a
            `skewlab.models.pretrained.Wants`; None where there are none.
    """

    body_rate: float = 1.0
    weights_want: Any = None

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body, self.head = body, head
        self._frozen = False

    def freeze_body(self) -> None:
        """Let the body's parameters and running means stay as they are."""
        self._frozen = True
        self.body.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Network":
        """Training or eval mode; a frozen body stays in eval mode."""
        super().train(mode)
        if self._frozen:
            self.body.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """The features that the head is given, shape [batch, width]."""
        features: Tensor = self.body(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape [batch, classes]."""
        logits: Tensor = self.head(self.features(images))
        return logits
