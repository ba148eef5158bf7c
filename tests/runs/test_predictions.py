"""What the trained network predicts for each test sample, written and read back."""

import re
from pathlib import Path

import numpy as np
import pytest

from skewlab.errors import Damaged
from skewlab.runs.predictions import NAME, read_predictions, write_predictions


@pytest.mark.parametrize("classes", [3, 256, 1000])
def test_they_come_back_as_they_were(tmp_path: Path, classes: int) -> None:
    random = np.random.RandomState(0)
    predicted, label = random.randint(0, classes, (2, 500))
    write_predictions(tmp_path, predicted, label)
    found = read_predictions(tmp_path, classes)
    np.testing.assert_array_equal(found["predicted"], predicted)
    np.testing.assert_array_equal(found["label"], label)


def test_they_are_small_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    """10,000 samples, of which the network gets nine of ten right."""
    random = np.random.RandomState(0)
    label = random.randint(0, 10, 10_000)
    predicted = np.where(random.uniform(size=10_000) < 0.9, label, random.randint(0, 10, 10_000))
    write_predictions(tmp_path, predicted, label)
    first = (tmp_path / NAME).read_bytes()
    assert len(first) < 15_000
    write_predictions(tmp_path, predicted, label)
    assert (tmp_path / NAME).read_bytes() == first


def test_a_run_without_has_none(tmp_path: Path) -> None:
    assert read_predictions(tmp_path, 3) == {}


U8 = np.uint8


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"predicted": np.zeros(3, U8)}, "must hold predicted and label"),
        ({"predicted": np.zeros(3, U8), "label": np.zeros(2, U8)}, "more predictions"),
        (
            {"predicted": np.zeros(3, U8), "label": np.full(3, 3, U8)},
            "label must be one class of 3",
        ),
        ({"predicted": np.zeros(3), "label": np.zeros(3, U8)}, "predicted must be one class of 3"),
        ({"predicted": np.zeros((3, 1), U8), "label": np.zeros(3, U8)}, "predicted must be"),
    ],
)
def test_what_is_none_is_named(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / NAME, **arrays)
    with pytest.raises(Damaged, match=re.escape(NAME)) as raised:
        read_predictions(tmp_path, 3)
    assert said in str(raised.value)
