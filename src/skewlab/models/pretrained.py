"""What networks with pre-trained weights have in common."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skewlab.errors import ConfigError
from skewlab.models.network import Network


class Wants(NamedTuple):
    """What pre-trained weights were trained with.

    Attributes:
        size: side of the images, in pixels.
        mean, std: by which each channel was normalised, in units of 1/255.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def fine_tuned(
    network: Network, freeze: str | None, body_rate: float, wants: Wants | None
) -> Network:
    """Say of a network what is trained of it, and with which images its weights were.

    Args:
        network: what is fine-tuned.
        freeze: `body`, whose parameters and running means then stay; or None.
        body_rate: factor of the body's learning rate; the head has the optimiser's.
        wants: held against the data before training; None for nothing.

    Raises:
        ConfigError: another word for `freeze`, or a rate that is not above 0.
    """
    if freeze not in (None, "body"):
        raise ConfigError(f"model.freeze={freeze}: must be body, or null")
    if not body_rate > 0:
        raise ConfigError(f"model.body_rate={body_rate}: must be a number above 0")
    if freeze:
        network.freeze_body()
    network.body_rate = body_rate
    network.weights_want = wants
    return network


def weights_file(path: str) -> dict[str, Tensor]:
    """The state of a network in a file: of `torch.save`, by itself or as `state_dict` or `model`.

    Raises:
        ConfigError: it cannot be read, or holds something else than tensors.
    """
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(
            f"model.weights={path}: must be a file of weights that torch.load reads with "
            f"weights_only=True ({reason})"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ConfigError(f"model.weights={path}: must hold tensors by their names")
    return {name.removeprefix("module."): value for name, value in found.items()}


def is_file(weights: str) -> bool:
    """Whether weights are named by a file, and not by what they are called."""
    return Path(weights).is_file() or "/" in weights or weights.endswith((".pt", ".pth"))


def without_weights(model: dict[str, Any]) -> dict[str, Any]:
    """The same network without reading weights that a checkpoint replaces."""
    if not model.get("weights"):
        return model
    published = {"stem": "published"} if "stem" in model else {}
    return {**model, "weights": None, "as_trained": False, **published}


def in_channels(stem: nn.Conv2d, weight: Tensor) -> Tensor:
    """A first convolution's weights for grey images: summed over colours, so that three equal
    channels and one give the same."""
    return weight.sum(dim=1, keepdim=True) if stem.in_channels == 1 else weight
