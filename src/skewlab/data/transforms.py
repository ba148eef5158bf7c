"""From stored pixels to a network's input, as whole-batch tensor operations on the device."""

import torch
from torch import Tensor, nn

from skewlab.seeding import mixed_seed


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
