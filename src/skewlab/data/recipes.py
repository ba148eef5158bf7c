"""Transforms of single training images, applied by loader workers, and named recipes of them.

`data.transform` is any callable that takes and gives an image: one of torchvision's `transforms.v2`
takes a uint8 tensor [channels, height, width], one of albumentations an array [height, width,
channels]; a function of your own is called as torchvision's are.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skewlab.config.parts import Part, build, offered
from skewlab.data.sources import Source
from skewlab.errors import ConfigError
from skewlab.seeding import mixed_seed

# Keeps these random numbers apart from others of the same seed.
TRANSFORM = 0x7F0


class PerImage:
    """A transform of single images, random by (seed, batch, place in the batch): the same whichever
    worker does it, and in a run that goes on from a checkpoint.

    Before each image Python's, NumPy's and PyTorch's global streams are seeded, and a transform of
    albumentations by its `set_random_seed`; all are put back afterwards.

    Args:
        transform: what is called.
        seed: of all random numbers.
    """

    def __init__(self, transform: Callable[..., Any], seed: int) -> None:
        self._transform, self._seed = transform, seed
        self._by_array = type(transform).__module__.partition(".")[0] == "albumentations"

    def __call__(self, images: NDArray[np.uint8], number: int, first: int = 0) -> NDArray[np.uint8]:
        """Transformed images, uint8 [batch, height, width, channels].

        Args:
            images: uint8 [batch, height, width, channels].
            number: of the batch.
            first: the place of the first image in the batch.

        Raises:
            ValueError: the transform gives another shape or type.
        """
        states = random.getstate(), np.random.get_state()
        with torch.random.fork_rng(devices=[]):
            found = [
                self._one(image, mixed_seed(self._seed, TRANSFORM, number, first + place))
                for place, image in enumerate(images)
            ]
        random.setstate(states[0])
        np.random.set_state(states[1])
        return np.stack(found)

    def _one(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        if self._by_array:
            self._transform.set_random_seed(seed)  # type: ignore[attr-defined]
            found = self._transform(image=image)["image"]
        else:
            tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
            found = self._transform(tensor)
        array = np.asarray(found)
        if isinstance(found, Tensor) and array.ndim == 3:
            array = np.moveaxis(array, 0, -1)
        elif array.ndim == 2:  # a grey image of Pillow's
            array = array[..., None]
        height, width, channels = image.shape
        if array.shape != image.shape or array.dtype != np.uint8:
            raise ValueError(
                f"gives images of {array.dtype} and shape {list(array.shape)}; must be uint8 of "
                f"shape [{channels}, {height}, {width}] for a tensor, or [{height}, {width}, "
                f"{channels}] for an array: stored images have one size, and are scaled to floats "
                "on the device"
            )
        return array


def build_transform(part: Part | None, source: Source) -> Callable[..., Any] | None:
    """The transform that `data.transform` names, given `input_shape` where it takes one.

    Raises:
        ConfigError: it cannot be built, or the data are no images of 8 bits.
    """
    if part is None:
        return None
    if source.kind != "image":
        raise ConfigError(
            f"data.transform._target_={part['_target_']}: must be null, as this data is "
            f"{source.kind}, and transforms take images of 8 bits"
        )
    given = offered(part, "data.transform", input_shape=source.input_shape)
    transform: Callable[..., Any] = build(part, key="data.transform", **given)
    return transform


class Cutout:
    """A square of the image becomes its mean grey (DeVries and Taylor 2017); it is cut off at the
    image's border.

    Args:
        length: side of the square, in pixels.
    """

    def __init__(self, length: int) -> None:
        self._length = length

    def __call__(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        top, left = (int(torch.randint(side, (1,))) - self._length // 2 for side in (height, width))
        cut = image.clone()
        cut[
            :, max(top, 0) : max(top + self._length, 0), max(left, 0) : max(left + self._length, 0)
        ] = 128
        return cut


def autoaugment_cutout(input_shape: Sequence[int], padding: int = 4, length: int = 16) -> nn.Module:
    """The stronger recipe of long-tailed CIFAR: random crop and flip, AutoAugment's policy for
    CIFAR-10 (Cubuk et al. 2019), Cutout.

    Args:
        input_shape: (height, width, channels) of the stored images.
        padding: largest shift of the crop, in pixels.
        length: side of the square that is cut out, in pixels.
    """
    from torchvision.transforms import v2

    height, width, _ = input_shape
    recipe: nn.Module = v2.Compose(
        [
            v2.RandomCrop((height, width), padding=padding),
            v2.RandomHorizontalFlip(),
            v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
            Cutout(length),
        ]
    )
    return recipe


def imagenet(input_shape: Sequence[int], jitter: float = 0.4) -> nn.Module:
    """The usual recipe of ImageNet-LT, Places-LT and iNaturalist: a crop of 8% to 100% of the
    image, scaled to its size, random flip, and colour jitter for images with colours.

    Args:
        input_shape: (height, width, channels) of the stored images.
        jitter: of brightness, contrast and saturation.
    """
    from torchvision.transforms import v2

    height, width, channels = input_shape
    steps = [v2.RandomResizedCrop((height, width), antialias=True), v2.RandomHorizontalFlip()]
    if channels == 3 and jitter:
        steps.append(v2.ColorJitter(jitter, jitter, jitter))
    recipe: nn.Module = v2.Compose(steps)
    return recipe
