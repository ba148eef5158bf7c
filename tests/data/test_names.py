"""Names of classes in the order in which people read them."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from skewlab.data.names import as_read
from skewlab.data.sources import image_folder


@given(st.sets(st.integers(0, 2000), min_size=1), st.sampled_from(["", "img", "class_"]))
def test_numbers_are_sorted_as_numbers(numbers: set[int], before: str) -> None:
    names = [f"{before}{number}" for number in numbers]
    assert sorted(names, key=as_read) == [f"{before}{number}" for number in sorted(numbers)]


def test_folders_named_with_numbers(tmp_path: Path) -> None:
    """The third count of a list goes to class 2, and not to class 10."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4), np.uint8)
    for split in ("train", "test"):
        for label in range(12):
            folder = tmp_path / split / str(label)
            folder.mkdir(parents=True)
            Image.fromarray(np.roll(pixels, label)).save(folder / "a.png")
    assert image_folder(str(tmp_path)).class_names == tuple(map(str, range(12)))
