"""Batches that a network cannot be trained on are found before the first job."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import refused
from torch import nn

from skewlab.config.schema import checked
from skewlab.data.sources import Source
from skewlab.launch.batch_checks import check_batches
from skewlab.launch.checks import check_jobs

Composed = Callable[..., dict[str, Any]]
NORMALISED = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))
BY_CHANNEL = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 3))
IMAGES = np.arange(16, dtype=np.uint8).reshape(4, 2, 2, 1)
SOURCE = Source(("a", "b"), IMAGES, np.arange(4) % 2, IMAGES, np.arange(4) % 2)
SPLITS = ("train", "test")


def trains(network: nn.Module, rows: int, size: int, drop_last: bool) -> bool:
    """Whether PyTorch trains on an epoch's batches."""
    try:
        for batch in torch.zeros(rows, 1, 2, 2).split(size):
            if len(batch) == size or not drop_last:
                network.train()(batch)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("network", [NORMALISED, BY_CHANNEL])
@pytest.mark.parametrize("drop_last", [False, True])
def test_refused_is_what_pytorch_refuses(
    composed: Composed, network: nn.Module, drop_last: bool
) -> None:
    given = composed()
    for rows in (7, 8, 9):
        for size in range(1, rows + 1):
            given["data"] |= {"batch_size": size, "drop_last": drop_last}
            config = checked(given)

            def check(rows: int = rows, config: Any = config) -> None:
                check_batches(config, rows, SOURCE, network)

            if trains(network, rows, size, drop_last):
                check()
                continue
            message = refused(check)
            assert message.startswith(f"data.batch_size={size}: ")
            advised = re.search(r"set data.batch_size=(\d+)", message)
            assert advised
            assert trains(network, rows, int(advised[1]), drop_last)
            if "drop_last=true" in message:
                assert trains(network, rows, size, drop_last=True)


def test_shares_of_processes_that_normalise_by_themselves(composed: Composed) -> None:
    config = checked(composed("data.batch_size=4"))
    check_batches(config, 8, SOURCE, NORMALISED, processes=2)
    message = refused(lambda: check_batches(config, 11, SOURCE, NORMALISED, processes=2))
    assert "data.batch_size=" in message, "3 are shares of 2 and 1"


def test_a_last_batch_that_is_not_reached_is_no_mistake(composed: Composed) -> None:
    config = checked(composed("data.batch_size=4", "trainer.limit_train_batches=2"))
    check_batches(config, 9, SOURCE, NORMALISED)
    config = checked(composed("data.batch_size=4", "trainer.limit_train_batches=3"))
    assert refused(lambda: check_batches(config, 9, SOURCE, NORMALISED))


def test_nothing_left_after_dropping_is_refused(composed: Composed) -> None:
    config = checked(composed("data.batch_size=10", "data.drop_last=true"))
    message = refused(lambda: check_batches(config, 9, SOURCE, BY_CHANNEL))
    assert message.startswith("data.drop_last=true: leaves no batch of 10 from 9")


def test_a_job_is_checked_with_its_own_network(composed: Composed, tmp_path: Path) -> None:
    """ResNet-20 halves 4 pixels twice: its last layers normalise one value of an image."""
    random = np.random.default_rng(0)
    arrays = {f"x_{split}": random.integers(0, 256, (30, 4, 4), np.uint8) for split in SPLITS}
    labels = {f"y_{split}": np.arange(30) % 2 for split in SPLITS}
    np.savez(tmp_path / "tiny.npz", **arrays, **labels)
    odd = (
        *("data=arrays", f"data.source.path={tmp_path / 'tiny.npz'}", "data.val_per_class=0"),
        *("ratio=1", "data.batch_size=29", "model=resnet20"),
    )
    message = refused(lambda: check_jobs([composed(*odd)]))
    assert message.startswith("data.batch_size=29: makes a batch with a single one of the 30")
    check_jobs([composed(*odd, "data.drop_last=true"), composed(*odd, "data.batch_size=28")])
