"""From stored inputs to a network's, as whole-batch tensor operations on the device."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from skewlab.data.sources import Source
from skewlab.errors import ConfigError
from skewlab.seeding import mixed_seed

# Of ImageNet's training images, in units of 1/255: what most published weights were trained with.
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def mean_and_std(
    normalise: str | Sequence[float | Sequence[float]], source: Source
) -> tuple[list[float], list[float]]:
    """By what inputs are scaled.

    Args:
        normalise: `pool`, `imagenet`, or a mean and a standard deviation: a number each, or one for
            each channel or feature; of uint8 images in units of 1/255.
        source: what is scaled.

    Raises:
        ConfigError: there are not as many numbers as channels, or inputs have no scale.
    """
    if normalise == "pool":
        return source.mean_and_std
    said = f"data.normalise={normalise if isinstance(normalise, str) else list(normalise)}"
    channels = source.input_shape[-1]
    if source.kind == "tokens":
        raise ConfigError(f"{said}: must be pool with tokens, which have no scale")
    if normalise == "imagenet":
        if source.kind != "image" or channels != 3:
            raise ConfigError(
                f"{said}: must be pool, or a mean and a standard deviation, but for colour images "
                f"of 8 bits; this data is {source.kind} of shape {list(source.input_shape)}"
            )
        return IMAGENET_MEAN, IMAGENET_STD
    found = [
        [float(one)] * channels if isinstance(one, int | float) else [float(v) for v in one]
        for one in normalise
        if not isinstance(one, str)
    ]
    if len(found) != 2 or any(len(one) != channels for one in found) or min(found[1]) <= 0:
        raise ConfigError(
            f"{said}: must be pool, imagenet, or [mean, std], each a number or one for each of the "
            f"{channels} channels or features, std above 0"
        )
    return found[0], found[1]


def input_scaling(
    kind: str, shape: Sequence[int], mean: Sequence[float], std: Sequence[float]
) -> nn.Module:
    """What makes a network's input of a batch as it is stored.

    Args:
        kind: of the inputs, see `skewlab.data.sources.Source`.
        shape: of one input as it is stored.
        mean, std: of each channel or feature; of uint8 images in units of 1/255.
    """
    if kind == "tokens":
        return TokenIds(shape)
    if kind == "image":
        height, width, channels = shape
        return Normalise((height, width, channels), list(mean), list(std))
    return Standardise(shape, mean, std)


def first_inputs(
    normalise: str | Sequence[float | Sequence[float]], source: Source, samples: int
) -> Tensor:
    """The first training samples as a network gets them, on the CPU.

    Args:
        normalise: as of `mean_and_std`.
        source: whose samples.
        samples: how many, at most.
    """
    stored = source.train_images[np.arange(min(samples, len(source.train_labels)))]
    mean, std = mean_and_std(normalise, source)
    scaling = input_scaling(source.kind, source.input_shape, mean, std)
    inputs: Tensor = scaling(torch.from_numpy(stored))
    return inputs


class TokenIds(nn.Module):
    """Token ids as they are: int64 [batch, length].

    Args:
        shape: (length,).
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self._shape = tuple(shape)

    def forward(self, tokens: Tensor) -> Tensor:
        """The same tokens.

        Raises:
            ValueError: tokens of another shape, or no whole numbers.
        """
        if tuple(tokens.shape[1:]) != self._shape or tokens.is_floating_point():
            raise ValueError(
                f"tokens of {str(tokens.dtype).removeprefix('torch.')} and shape "
                f"{list(tokens.shape)}: must be whole numbers of shape [batch, {self._shape[0]}]"
            )
        return tokens.long()


class Standardise(nn.Module):
    """Floats to a network's input: float32 with mean 0 and standard deviation 1 over the training
    pool; a missing value (NaN) is 0, the mean.

    Images [batch, height, width, channels] and series [batch, time, channels] become channels
    first, as PyTorch's convolutions take them; images in either layout are taken.

    Args:
        shape: of one input as it is stored.
        mean, std: of each channel or feature, in the units of the data.
    """

    def __init__(self, shape: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self._shape = tuple(shape)
        self._channels_first = (self._shape[-1], *self._shape[:-1])
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, inputs: Tensor) -> Tensor:
        """Scale a batch.

        Args:
            inputs: floats as they are stored, [batch, *shape].

        Raises:
            ValueError: inputs of another shape.
        """
        shape = tuple(inputs.shape[1:])
        if len(shape) == 3 and shape == self._channels_first != self._shape:
            inputs = inputs.permute(0, 2, 3, 1)
        elif shape != self._shape:
            raise ValueError(
                f"inputs of shape {list(inputs.shape)}: must be [batch, "
                f"{', '.join(map(str, self._shape))}]"
            )
        scaled = (inputs.float() - self.mean) / self.std
        scaled = torch.where(scaled.isnan(), 0.0, scaled)
        return scaled.movedim(-1, 1)


class Normalise(nn.Module):
    """Images to a network's input: float32 [batch, channels, height, width] with mean 0 and
    standard deviation 1 over the training pool, in the channels-last memory that convolutions are
    fastest in.

    Args:
        image_shape: (height, width, channels) of an image.
        mean, std: of each channel, in units of 1/255.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], mean: list[float], std: list[float]
    ) -> None:
        super().__init__()
        height, width, channels = self._shape = image_shape
        self._channels_first = (channels, height, width)
        # (x / 255 - mean) / std as one multiplication and one addition, for a row of pixels at a
        # time: many times as fast as channel by channel.
        scale = torch.tensor([1.0 / (255.0 * s) for s in std])
        shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)])
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", scale.repeat(width))
        self.register_buffer("shift", shift.repeat(width))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise a batch of images.

        Args:
            images: uint8, [batch, height, width, channels] or [batch, channels, height, width]; or
                floats between 0 and 1, as torchvision's `ToTensor` makes them, in both layouts.

        Raises:
            ValueError: images of another shape, type or range.
        """
        shape = tuple(images.shape[1:])
        if shape == self._shape and (images.dtype == torch.uint8 or shape != self._channels_first):
            pass
        elif shape == self._channels_first:
            images = images.permute(0, 2, 3, 1)
        else:
            raise ValueError(
                f"images of shape {list(images.shape)}: must be [batch, "
                f"{', '.join(map(str, self._shape))}] (height, width, channels) or [batch, "
                f"{', '.join(map(str, self._channels_first))}] (channels first)"
            )
        if images.is_floating_point():
            low, high = (float(end) for end in images.aminmax()) if images.numel() else (0.0, 1.0)
            if not (low >= 0 and high <= 1):
                raise ValueError(
                    f"images from {low:g} to {high:g}: floats must be between 0 and 1, as "
                    "torchvision's ToTensor makes them; they are normalised here"
                )
            images = images * 255
        elif images.dtype != torch.uint8:
            raise ValueError(
                f"images of {str(images.dtype).removeprefix('torch.')}: must be uint8, or floats "
                "between 0 and 1"
            )
        normalised = torch.addcmul(self.shift, images.flatten(2).float(), self.scale)
        return normalised.view(len(images), *self._shape).permute(0, 3, 1, 2)


class CropAndFlip(nn.Module):
    """Shift each image by its own random offset, padded with black, and mirror half of them.

    The crop of CIFAR training (pad by 4, cut at random: He et al. 2016), for each sample on its
    own and for the whole batch at once. The offsets are drawn on the CPU from the seed and the
    batch's number, so a batch is augmented the same way on every device and after a resume.

    Args:
        padding: largest offset in pixels, in both directions; 0 for no shift.
        flip: whether to mirror left and right with probability 1/2.
        seed: of the offsets.
    """

    def __init__(self, padding: int, flip: bool, seed: int) -> None:
        super().__init__()
        self._padding, self._flip, self._seed = padding, flip, seed
        self._generator = torch.Generator()

    def forward(
        self, images: Tensor, number: int, first: int = 0, whole: int | None = None
    ) -> Tensor:
        """Augmented copies of uint8 images, shape [batch, height, width, channels].

        Args:
            images: as stored.
            number: of the batch, which with the seed fixes the offsets.
            first, whole: the place of the first image in a batch of so many that several processes
                share; an image is augmented the same way whoever has it.
        """
        if not self._padding and not self._flip:
            return images
        batch, height, width, _ = images.shape
        pad, device = self._padding, images.device
        self._generator.manual_seed(mixed_seed(self._seed, number))
        drawn, own = whole or batch, slice(first, first + batch)
        offsets = torch.randint(0, 2 * pad + 1, (2, drawn, 1), generator=self._generator)
        top, left = offsets[:, own]
        mirrored = torch.rand(drawn, 1, generator=self._generator)[own] < 0.5
        rows = top + torch.arange(height)
        columns = torch.arange(width).expand(batch, width)
        if self._flip:
            columns = torch.where(mirrored, columns.flip(1), columns)
        columns = left + columns
        padded = nn.functional.pad(images, (0, 0, pad, pad, pad, pad))
        sample = torch.arange(batch, device=device)[:, None, None]
        return padded[
            sample,
            rows.to(device, non_blocking=True)[:, :, None],
            columns.to(device, non_blocking=True)[:, None, :],
        ]
