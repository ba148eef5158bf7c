"""The CIFAR variant of ResNet (He et al. 2016, section 4.2) with option-A shortcuts."""

import torch.nn.functional as F
from torch import Tensor, nn

from skewlab.errors import ConfigError
from skewlab.models.network import Network, expect_images


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut without parameters.

    Option A: where the block halves the image, the shortcut takes every second pixel. The channels
    that the block adds are zeros, half of them before and half after the others.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.convolution2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self._stride, self._added = stride, channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.convolution1(x)))
        y = self.norm2(self.convolution2(y))
        if self._stride != 1 or self._added:
            side = self._added // 2
            x = F.pad(
                x[:, :, :: self._stride, :: self._stride], (0, 0, 0, 0, side, self._added - side)
            )
        return F.relu(x + y)


def resnet(image_shape: tuple[int, int, int], classes: int, depth: int = 32) -> Network:
    """ResNet-20, 32, 44, 56, ... for small images: depth = 6 n + 2, with n blocks of each width 16,
    32 and 64.

    ResNet-32 has 0.46 million parameters for 10 classes. Convolutions start from He's normal
    initialisation, as in the long-tail code bases.

    Raises:
        ConfigError: the depth is not 6 n + 2, or the inputs are no images.
    """
    expect_images(image_shape, "resnet")
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ConfigError(f"model.depth={depth}: must be 6 n + 2: 8, 14, 20, 32, 44, 56, 110, ...")
    layers: list[nn.Module] = [
        nn.Conv2d(image_shape[2], 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    ]
    channels = 16
    for width in (16, 32, 64):
        for block in range(blocks):
            stride = 2 if block == 0 and width != 16 else 1
            layers.append(BasicBlock(channels, width, stride))
            channels = width
    network = Network(
        nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(64, classes)
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    return network
