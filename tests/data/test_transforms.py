import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import ToTensor

from skewlab.data.transforms import CropAndFlip, Normalise

Draw = tuple[int, int, bool]


def noise(*shape: int) -> Tensor:
    """Random pixels: no shift of an image looks like another."""
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def shifted(image: NDArray[np.uint8], padding: int, draw: Draw) -> NDArray[np.uint8]:
    top, left, flip = draw
    height, width, _ = image.shape
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    cut = padded[top : top + height, left : left + width]
    return cut[:, ::-1] if flip else cut


def draws(augment: CropAndFlip, images: Tensor, step: int, padding: int) -> list[Draw]:
    """What was drawn for each image, found by trying all: exactly one shift explains it."""
    offsets = range(2 * padding + 1)
    found = []
    for before, after in zip(images.numpy(), augment(images, step).numpy(), strict=True):
        matches = [
            (top, left, flip)
            for top in offsets
            for left in offsets
            for flip in (False, True)
            if np.array_equal(shifted(before, padding, (top, left, flip)), after)
        ]
        assert len(matches) == 1
        found += matches
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_is_numpys(channels: int) -> None:
    images = noise(5, 6, 7, channels)
    mean, std = [0.5, 0.2, 0.9][:channels], [0.3, 0.1, 1.5][:channels]
    result = Normalise((6, 7, channels), mean, std)(images)
    expected = ((images.numpy() / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_normalised_images_have_mean_0_and_std_1() -> None:
    images = noise(20, 8, 8, 3)
    pixels = images.numpy() / 255
    mean, std = pixels.mean((0, 1, 2)).tolist(), pixels.std((0, 1, 2)).tolist()
    result = Normalise((8, 8, 3), mean, std)(images).numpy()
    np.testing.assert_allclose(result.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(result.std((0, 2, 3)), 1, atol=1e-5)


def normaliser(*shape: int) -> Normalise:
    height, width, channels = shape
    mean, std = [0.5, 0.2, 0.9][:channels], [0.3, 0.1, 1.5][:channels]
    return Normalise((height, width, channels), mean, std)


# Of the last three, more than one axis could be the channels.
@pytest.mark.parametrize("shape", [(6, 7, 1), (6, 7, 3), (3, 5, 3), (1, 1, 1), (3, 3, 3)])
def test_both_layouts_and_torchvisions_floats_are_the_same_input(shape: tuple[int, ...]) -> None:
    normalise, images = normaliser(*shape), noise(5, *shape)
    floats = torch.stack([ToTensor()(image) for image in images.numpy()])
    given = [floats, floats.double()]
    if len(set(shape)) > 1:  # otherwise channels are last in bytes and first in floats
        given += [images.permute(0, 3, 1, 2), floats.permute(0, 2, 3, 1)]
    expected = normalise(images)
    assert expected.std() > 0
    for other in given:
        found = normalise(other)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_black_and_white_floats_and_no_images_at_all_are_taken() -> None:
    normalise = normaliser(2, 2, 1)
    assert normalise(torch.zeros(1, 1, 2, 2)).unique().tolist() == pytest.approx([-0.5 / 0.3])
    assert normalise(torch.ones(1, 1, 2, 2)).unique().tolist() == pytest.approx([0.5 / 0.3])
    assert normalise(torch.zeros(0, 1, 2, 2)).shape == (0, 1, 2, 2)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (
            torch.zeros(4, 8, 8, 3, dtype=torch.uint8),
            "images of shape [4, 8, 8, 3]: must be [batch, 6, 7, 3] (height, width, channels) or "
            "[batch, 3, 6, 7] (channels first)",
        ),
        (torch.zeros(6, 7, 3, dtype=torch.uint8), "images of shape [6, 7, 3]: must be"),
        (torch.zeros(4, 7, 6, 3), "images of shape [4, 7, 6, 3]: must be"),
        (torch.zeros(4, 6, 7, 1), "images of shape [4, 6, 7, 1]: must be"),
        (torch.zeros(4, 126), "images of shape [4, 126]: must be"),
        (torch.full((4, 3, 6, 7), 255.0), "images from 255 to 255: floats must be between 0 and 1"),
        (torch.linspace(-1, 1, 126).view(1, 3, 6, 7), "images from -1 to 1: floats must be"),
        (torch.full((4, 3, 6, 7), torch.nan), "images from nan to nan: floats must be between"),
        (torch.zeros(4, 6, 7, 3, dtype=torch.int64), "images of int64: must be uint8, or floats"),
        (torch.zeros(4, 6, 7, 3, dtype=torch.int8), "images of int8: must be uint8, or floats"),
    ],
)
def test_other_images_are_refused_in_one_line(images: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match="must be") as refusal:
        normaliser(6, 7, 3)(images)
    assert str(refusal.value).startswith(said)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("shape", [(40, 8, 8, 1), (40, 6, 9, 3)])
def test_every_image_is_padded_with_black_cut_and_mirrored_on_its_own(
    shape: tuple[int, ...],
) -> None:
    images = noise(*shape)
    found = draws(CropAndFlip(2, flip=True, seed=0), images, 0, padding=2)
    assert len(set(found)) > 15  # 40 draws out of 50


def test_images_given_stay_as_they_are() -> None:
    images = noise(10, 8, 8, 1)
    before = images.clone()
    CropAndFlip(2, flip=True, seed=0)(images, 0)
    assert torch.equal(images, before)


def test_all_offsets_occur_about_as_often_and_half_are_mirrored() -> None:
    images = noise(2000, 4, 4, 1)
    top, left, flip = zip(*draws(CropAndFlip(1, True, seed=0), images, 0, padding=1), strict=True)
    # Four standard deviations: of 2000 draws at 1/3, 84; at 1/2, 90.
    for offsets in (top, left):
        counts = np.bincount(offsets)
        assert len(counts) == 3
        assert abs(counts - 2000 / 3).max() < 84
    assert abs(sum(flip) - 1000) < 90
    # Independent of each other: 18 combinations of 111 each, standard deviation 10.
    _, together = np.unique(np.array([top, left, flip]), axis=1, return_counts=True)
    assert len(together) == 18
    assert abs(together - 2000 / 18).max() < 45


def test_without_flip_nothing_is_mirrored() -> None:
    found = draws(CropAndFlip(2, flip=False, seed=0), noise(30, 8, 8, 1), 0, padding=2)
    assert not any(flip for _, _, flip in found)
    assert len(set(found)) > 10


def test_without_padding_nothing_is_shifted() -> None:
    found = draws(CropAndFlip(0, flip=True, seed=0), noise(30, 8, 8, 1), 0, padding=0)
    assert set(found) == {(0, 0, False), (0, 0, True)}


def test_without_both_images_stay_the_same() -> None:
    images = noise(10, 8, 8, 3)
    assert torch.equal(CropAndFlip(0, flip=False, seed=0)(images, 3), images)


def test_seed_and_step_fix_the_draw() -> None:
    images = noise(30, 8, 8, 1)
    used = CropAndFlip(2, True, seed=7)
    used(images, 0)
    resumed = CropAndFlip(2, True, seed=7)
    assert torch.equal(used(images, 5), resumed(images, 5))


def test_another_seed_or_step_is_another_draw() -> None:
    images = noise(30, 8, 8, 1)
    results = [
        CropAndFlip(2, True, seed)(images, step)
        for seed, step in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0))
    ]
    assert not any(
        torch.equal(one, other)
        for place, one in enumerate(results)
        for other in results[place + 1 :]
    )


def test_draw_leaves_torchs_random_state_alone() -> None:
    before = torch.get_rng_state()
    CropAndFlip(2, True, seed=0)(noise(10, 8, 8, 1), 0)
    assert torch.equal(torch.get_rng_state(), before)
