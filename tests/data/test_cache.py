"""Decoded images that are kept in a folder."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers import refused, save_pictures
from PIL import Image

from skewlab.data.cache import CachedImages
from skewlab.data.image_files import ImageFiles
from skewlab.data.sources import image_folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "pictures")


def cached(pictures: Path, memory_gib: float = 0, size: int | None = None) -> CachedImages:
    source = image_folder(
        str(pictures), size, memory_gib=memory_gib, cache=str(pictures.parent / "cache")
    )
    assert isinstance(source.train_images, CachedImages)
    return source.train_images


def test_a_row_is_decoded_once_and_then_read_without_its_file(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = image_folder(str(pictures)).train_images
    images = cached(pictures)
    rows = np.array([49, 3, 3, 30])
    np.testing.assert_array_equal(images[rows], plain[rows])
    read: list[Path] = []
    original = ImageFiles._read
    monkeypatch.setattr(
        ImageFiles, "_read", lambda self, file: (read.append(file), original(self, file))[1]
    )
    again = CachedImages(images._images, pictures.parent / "cache")
    np.testing.assert_array_equal(again[rows], plain[rows])
    assert read == []
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(again))[rows], plain[rows])


def test_only_rows_that_are_used_are_decoded(pictures: Path) -> None:
    files = ImageFiles(sorted((pictures / "train").glob("*/*.png")), (8, 8), None, "colour", None)
    images = CachedImages(files, pictures.parent / "cache")
    assert images._there.sum() == 0
    images[np.array([4, 7])]
    assert np.flatnonzero(images._there).tolist() == [4, 7]


def test_a_file_that_has_changed_is_decoded_anew(pictures: Path) -> None:
    before = cached(pictures)[np.array([0])]
    (first,) = sorted((pictures / "train" / "cat").iterdir())[:1]
    Image.fromarray(255 - before[0]).save(first)
    os.utime(first, (1, 1))
    np.testing.assert_array_equal(cached(pictures)[np.array([0])], 255 - before)
    assert cached(pictures, size=4).shape == (50, 4, 4, 3)


def test_a_cache_makes_no_other_data(pictures: Path, tmp_path: Path) -> None:
    plain = image_folder(str(pictures), memory_gib=0)
    kept = image_folder(str(pictures), memory_gib=0, cache=str(tmp_path / "cache"))
    small = image_folder(str(pictures), cache=str(tmp_path / "cache"))
    assert plain.fingerprint == kept.fingerprint
    assert plain.mean_and_std == kept.mean_and_std == small.mean_and_std
    assert isinstance(small.train_images, np.ndarray)  # few enough for memory


def test_a_folder_that_cannot_be_written_to_is_named(pictures: Path) -> None:
    (pictures.parent / "file").touch()
    message = refused(lambda: image_folder(str(pictures), cache=str(pictures.parent / "file")))
    assert message.startswith(f"data.cache={pictures.parent / 'file'}: must be a folder that can")


def test_a_full_disk_is_said_before_anything_is_written(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})())
    cache = pictures.parent / "cache"
    assert "0.0 GiB are free" in refused(lambda: image_folder(str(pictures), cache=str(cache)))
    assert list(cache.iterdir()) == []
