"""From stored pixels to a network's input, as whole-batch tensor operations on the device."""

import torch
from torch import Tensor, nn

from skewlab.seeding import mixed_seed


class Normalise(nn.Module):
    """Images [batch, height, width, channels] to float32 [batch, channels, height, width] with mean
    0 and standard deviation 1 over the training pool.

    The result's memory stays channels-last, the layout convolutions run fastest in.

    Args:
        mean, std: of each channel, in units of 1/255.
    """

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        # One multiplication and one addition a pixel: (x / 255 - mean) / std.
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", torch.tensor([1.0 / (255.0 * s) for s in std]))
        self.register_buffer(
            "shift", torch.tensor([-m / s for m, s in zip(mean, std, strict=True)])
        )

    def scaled(self, images: Tensor) -> Tensor:
        """float32 of the same shape, [batch, height, width, channels]."""
        # A row of pixels at a time: many times as fast as channel by channel.
        rows = images.flatten(2).float()
        width = images.shape[2]
        torch.addcmul(self.shift.repeat(width), rows, self.scale.repeat(width), out=rows)
        return rows.view(images.shape)

    def forward(self, images: Tensor) -> Tensor:
        """Of uint8 images, or of float32 ones that `scaled` has made."""
        pixels = images if images.is_floating_point() else self.scaled(images)
        return pixels.permute(0, 3, 1, 2)


class CropAndFlip(nn.Module):
    """Shift each image by its own random offset, padded with black, and mirror half of them.

    The crop of CIFAR training (pad by 4, cut at random: He et al. 2016), for each sample on its
    own and for the whole batch at once. The offsets are drawn on the CPU from (seed, step), so a
    batch is augmented the same way on every device and after a resume.

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
        self, images: Tensor, step: int, first: int = 0, whole: int | None = None
    ) -> Tensor:
        """Augmented copies of uint8 images, shape [batch, height, width, channels].

        Args:
            images: as stored.
            step: the training step, which with the seed fixes the offsets.
            first, whole: the place of the first image in a batch of so many that several processes
                share; an image is augmented the same way whoever has it.
        """
        if not self._padding and not self._flip:
            return images
        batch, height, width, _ = images.shape
        pad, device = self._padding, images.device
        self._generator.manual_seed(mixed_seed(self._seed, step))
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
