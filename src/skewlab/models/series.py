"""A network for series."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from skewlab.errors import ConfigError
from skewlab.models.network import Network


def cnn_1d(
    input_shape: tuple[int, ...],
    classes: int,
    widths: Sequence[int] = (128, 256, 128),
    kernels: Sequence[int] = (8, 5, 3),
) -> Network:
    """The fully convolutional network of Wang, Yan and Oates (2017), a strong baseline for series:
    blocks of 1-D convolution, batch normalisation and ReLU, then the mean over time.

    Args:
        input_shape: (time, channels).
        classes: number of logits.
        widths: channels of each block.
        kernels: time steps that each block's convolution sees.

    Raises:
        ConfigError: the inputs are no series, or widths and kernels do not belong together.
    """
    if len(input_shape) != 2:
        raise ConfigError(
            f"model=cnn_1d: needs series, [time, channels], not inputs of {list(input_shape)}"
        )
    if len(widths) != len(kernels) or not widths:
        raise ConfigError(
            f"model.kernels={list(kernels)}: must have one for each of model.widths={list(widths)}"
        )
    layers: list[nn.Module] = []
    for (before, after), kernel in zip(pairwise([input_shape[1], *widths]), kernels, strict=True):
        layers += [
            nn.ConstantPad1d(((kernel - 1) // 2, kernel // 2), 0.0),  # the length stays
            nn.Conv1d(before, after, kernel, bias=False),
            nn.BatchNorm1d(after),
            nn.ReLU(),
        ]
    body = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten())
    return Network(body, nn.Linear(widths[-1], classes))
