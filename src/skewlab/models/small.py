"""Small networks for small images, fast enough for a laptop."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from skewlab.errors import ConfigError
from skewlab.models.network import Network, expect_images


def mlp(input_shape: tuple[int, ...], classes: int, hidden: Sequence[int] = (256, 128)) -> Network:
    """Fully connected layers with ReLU between them.

    Args:
        input_shape: of one input: an image, a row of a table, or a series.
        classes: number of logits.
        hidden: width of each hidden layer.
    """
    sizes = [math.prod(input_shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return Network(nn.Sequential(*layers), nn.Linear(sizes[-1], classes))


def small_cnn(
    image_shape: tuple[int, int, int], classes: int, widths: Sequence[int] = (16, 32, 64)
) -> Network:
    """Blocks of 3 x 3 convolution, batch normalisation, ReLU and 2 x 2 max pooling.

    Args:
        image_shape: (height, width, channels) of the input.
        classes: number of logits.
        widths: channels of each block; each block halves the image's sides.

    Raises:
        ConfigError: the image is too small for so many blocks.
    """
    expect_images(image_shape, "small_cnn")
    height, width, channels = image_shape
    shrink = 2 ** len(widths)
    if not widths:
        raise ConfigError("model.widths=[]: must be the channels of at least one block")
    if min(height, width) < shrink:
        raise ConfigError(
            f"model.widths={list(widths)}: {len(widths)} blocks need images of at least {shrink} "
            f"pixels a side, not {height} x {width}"
        )
    layers: list[nn.Module] = []
    for before, after in pairwise([channels, *widths]):
        layers += [
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    features = widths[-1] * (height // shrink) * (width // shrink)
    return Network(nn.Sequential(*layers, nn.Flatten()), nn.Linear(features, classes))
