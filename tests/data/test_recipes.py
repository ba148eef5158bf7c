"""Transforms of single images, in loader workers."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import refused, save_pictures
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import v2

from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.data.profiles import Profile
from skewlab.data.recipes import Cutout, PerImage, autoaugment_cutout, build_transform, imagenet
from skewlab.data.sources import Source, breast_cancer, image_folder
from skewlab.data.subsets import draw_subset
from skewlab.data.transforms import IMAGENET_MEAN, IMAGENET_STD, mean_and_std


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


IMAGES = noise(6, 12, 10, 3)


def numpy_noise(image: torch.Tensor) -> NDArray[np.uint8]:
    """A function of a user's own, with NumPy's and Python's streams."""
    shifted = (image.numpy().astype(int) + np.random.randint(9) + random.randint(0, 9)) % 256
    return shifted.astype(np.uint8).transpose(1, 2, 0)


def of_pillow(image: torch.Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy()).rotate(180)


TRANSFORMS: dict[str, Any] = {
    "torchvision": v2.ColorJitter(0.5, 0.5),
    "function": numpy_noise,
    "autoaugment_cutout": autoaugment_cutout((12, 10, 3)),
    "imagenet": imagenet((12, 10, 3)),
}


@pytest.mark.parametrize("name", [*TRANSFORMS, "albumentations"])
def test_an_image_is_transformed_by_seed_batch_and_place_alone(name: str) -> None:
    if name == "albumentations":
        library = pytest.importorskip("albumentations")
        transform = library.Compose([library.RandomBrightnessContrast(p=1)])
    else:
        transform = TRANSFORMS[name]
    once = PerImage(transform, seed=3)(IMAGES, 5)
    assert once.shape == IMAGES.shape
    assert once.dtype == np.uint8
    np.random.rand(7), torch.rand(7)
    np.testing.assert_array_equal(PerImage(transform, seed=3)(IMAGES, 5), once)
    # The second half of a batch, in another process.
    np.testing.assert_array_equal(PerImage(transform, seed=3)(IMAGES[3:], 5, first=3), once[3:])
    for other in (PerImage(transform, seed=4)(IMAGES, 5), PerImage(transform, seed=3)(IMAGES, 6)):
        assert not np.array_equal(other, once)


def test_random_streams_of_others_go_on_as_if_nothing_had_been_drawn() -> None:
    def drawn() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(1))]

    def seed() -> None:
        random.seed(1), np.random.seed(1), torch.manual_seed(1)

    seed()
    expected = drawn()
    seed()
    PerImage(TRANSFORMS["autoaugment_cutout"], 0)(IMAGES, 0)
    assert drawn() == expected


def test_what_a_transform_may_give() -> None:
    turned = PerImage(of_pillow, 0)(IMAGES, 0)
    np.testing.assert_array_equal(turned, IMAGES[:, ::-1, ::-1])
    grey = PerImage(lambda image: Image.fromarray(image[0].numpy()), 0)(IMAGES[..., :1], 0)
    np.testing.assert_array_equal(grey, IMAGES[..., :1])
    for wrong in (lambda image: image / 255, lambda image: image[:, :5], v2.Grayscale(1)):
        with pytest.raises(ValueError, match=r"must be uint8 of shape \[3, 12, 10\]"):
            PerImage(wrong, 0)(IMAGES, 0)


def test_cutout_is_a_square_cut_off_at_the_border() -> None:
    image = torch.full((3, 20, 30), 7, dtype=torch.uint8)
    sizes = set()
    for seed in range(200):
        torch.manual_seed(seed)
        cut = (Cutout(6)(image) == 128).all(dim=0)
        rows, columns = cut.any(dim=1), cut.any(dim=0)
        assert cut.sum() == rows.sum() * columns.sum()
        sizes.add((int(rows.sum()), int(columns.sum())))
    assert max(sizes) == (6, 6)
    assert {rows for rows, _ in sizes} == {3, 4, 5, 6}


def test_recipes_keep_size_and_grey() -> None:
    grey = noise(4, 9, 11, 1)
    for recipe in (imagenet((9, 11, 1)), autoaugment_cutout((9, 11, 1), padding=2, length=4)):
        assert PerImage(recipe, 0)(grey, 0).shape == grey.shape


def data_of(source: Source, workers: int, order_seed: int = 0) -> ImbalancedDataModule:
    subset = draw_subset(
        source.train_labels, source.class_names, Profile("exp", 2), data_seed=0, val_per_class=2
    )
    made = ImbalancedDataModule(
        source,
        subset,
        batch_size=5,
        workers=workers,
        order_seed=order_seed,
        transform=v2.RandomHorizontalFlip(),
    )
    made.setup()
    return made


@pytest.mark.parametrize("memory_gib", [0.0, 4.0])
def test_workers_give_what_the_process_itself_gives(memory_gib: float, tmp_path: Path) -> None:
    """Images on disk, and images in memory, which are augmented in workers too."""
    source = image_folder(str(save_pictures(tmp_path / "p")), memory_gib=memory_gib)
    alone, two = (data_of(source, workers) for workers in (0, 2))
    loader = two.train_dataloader()
    assert loader.num_workers == 2
    flipped = 0
    for one, other in zip(alone.train_dataloader(), loader, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.rows, other.rows)
        stored = torch.from_numpy(source.train_images[two.subset.train[one.rows.numpy()]])
        same = (one.images == stored).flatten(1).all(dim=1)
        mirrored = (one.images == stored.flip(2)).flatten(1).all(dim=1)
        assert (same | mirrored).all()
        flipped += int(mirrored.sum())
    assert 5 < flipped < 30
    for batch in two.evaluation_batches("train"):  # not transformed
        stored = torch.from_numpy(source.train_images[two.subset.train[batch.rows.numpy()]])
        assert torch.equal(batch.images, stored)
    assert two.evaluation_batches("train") is two.evaluation_batches("train")  # workers stay
    two.teardown("fit")


def test_transforms_are_for_images_of_8_bits() -> None:
    part = {"_target_": "skewlab.data.recipes.imagenet"}
    message = refused(lambda: build_transform(part, breast_cancer()))
    assert message.endswith("as this data is table, and transforms take images of 8 bits")


# Normalisation.


def test_by_what_images_are_scaled() -> None:
    labels = np.arange(6) % 2
    source = Source(("a", "b"), IMAGES, labels, IMAGES, labels)
    assert mean_and_std("pool", source) == source.mean_and_std
    assert mean_and_std("imagenet", source) == (IMAGENET_MEAN, IMAGENET_STD)
    assert mean_and_std([0.5, [1, 2, 3]], source) == ([0.5] * 3, [1.0, 2.0, 3.0])
    for wrong in ([0.5], [0.5, 0], [[1, 2], 1], [0.5, 0.5, 0.5]):
        message = refused(lambda: mean_and_std(wrong, source))  # noqa: B023
        assert message.startswith(f"data.normalise={wrong}: must be pool, imagenet, or [mean, std]")
