"""What tests of several parts use."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skewlab.data.batches import Batch
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.errors import ConfigError


def refused(call: Callable[[], object]) -> str:
    """The message with which a call is refused: one line, as a ConfigError promises."""
    with pytest.raises(ConfigError) as refusal:
        call()
    message = str(refusal.value)
    assert message
    assert "\n" not in message
    return message


def training_batches(data: ImbalancedDataModule) -> list[Batch]:
    """The batches of the first epoch, not augmented."""
    return list(data.train_dataloader())


def save_pictures(root: Path) -> Path:
    """A folder of random 8 x 8 colour PNGs: 30 cats and 20 dogs to train on, 5 of each to test."""
    random = np.random.default_rng(0)
    for place, samples in (("train/cat", 30), ("train/dog", 20), ("test/cat", 5), ("test/dog", 5)):
        (root / place).mkdir(parents=True)
        for sample in range(samples):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / place / f"{sample:02}.png")
    return root
