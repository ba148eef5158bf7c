"""What needs validation samples says so before the first job."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import refused

from skewlab.config.schema import checked
from skewlab.data.plan import describe, plan
from skewlab.launch.checks import check_jobs

Composed = Callable[..., dict[str, Any]]


def save_arrays(path: Path, counts: list[int], val: int | None = None) -> tuple[str, ...]:
    """A set with these counts, 10 test samples a class and, if wanted, samples of its own val."""
    random = np.random.default_rng(0)
    labels = {"train": np.repeat(np.arange(len(counts)), counts)}
    labels["test"] = np.repeat(np.arange(len(counts)), 10)
    if val is not None:
        labels["val"] = np.arange(val) % len(counts)
    arrays = {f"y_{split}": some for split, some in labels.items()}
    for split, some in labels.items():
        arrays[f"x_{split}"] = random.integers(0, 256, (len(some), 8, 8), np.uint8)
    np.savez(path, **arrays)
    return ("data=arrays", f"data.source.path={path}", "imbalance=natural", "model=mlp")


@pytest.mark.parametrize(
    ("overrides", "needing"),
    [
        (["callbacks=early_stopping"], "callbacks.early_stopping, which monitors val/"),
        (
            ["~scheduler", "+scheduler._target_=torch.optim.lr_scheduler.ReduceLROnPlateau"],
            "scheduler=ReduceLROnPlateau, which watches val/loss",
        ),
        (["method=tau_normalisation"], "method.post_hoc=['tau_normalisation'], whose tau is"),
        (["curves/probes=representation"], "curves/probes=representation, which is fitted to val"),
    ],
)
def test_what_needs_val_is_refused_without(
    composed: Composed, tmp_path: Path, overrides: list[str], needing: str
) -> None:
    data = save_arrays(tmp_path / "set.npz", [40, 8])
    message = refused(lambda: check_jobs([composed(*data, *overrides, "data.val_per_class=0")]))
    assert message.startswith("data.val_per_class=0: must be at least ")
    assert needing in message


def test_a_search_is_refused_without(composed: Composed, tmp_path: Path) -> None:
    data = save_arrays(tmp_path / "set.npz", [40, 8])
    job = composed(*data, "data.val_per_class=0")
    check_jobs([job])
    message = refused(lambda: check_jobs([job], searches=True))
    assert "a search, which maximises objective=val/balanced_accuracy" in message


def test_a_fixed_rule_needs_no_val(composed: Composed, tmp_path: Path) -> None:
    data = save_arrays(tmp_path / "set.npz", [40, 8])
    rule = ("method=tau_normalisation", "method.post_hoc.tau_normalisation.tau=1.0")
    check_jobs([composed(*data, *rule, "data.val_per_class=0")])


def test_too_few_of_a_class_are_named(composed: Composed, tmp_path: Path) -> None:
    data = save_arrays(tmp_path / "set.npz", [400, 8])
    message = refused(lambda: check_jobs([composed(*data, "curves/probes=representation")]))
    assert message == (
        "data.val_fraction=0.1: must be at least 2 for curves/probes=representation, which is "
        "fitted to val; class 1 has 1 validation samples"
    )


def test_a_class_that_val_lacks_is_said(
    composed: Composed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_jobs([composed(*save_arrays(tmp_path / "set.npz", [40, 1, 9]))])
    assert "data.val_fraction=0.1: val has no sample of 1 classes" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["data.val_per_class=5", "data.val_fraction=0.2"])
def test_val_of_the_data_itself_is_used(composed: Composed, tmp_path: Path, key: str) -> None:
    data = save_arrays(tmp_path / "set.npz", [40, 8], val=6)
    found = describe(*plan(checked(composed(*data))))
    assert (found["train_counts"], found["val_counts"]) == ([40, 8], [3, 3])
    none_taken = describe(*plan(checked(composed(*data, "data.val_per_class=0"))))
    assert none_taken["val_counts"] == [3, 3]
    message = refused(lambda: plan(checked(composed(*data, key))))
    assert message.startswith(f"{key}: must be null, because the data have a validation set of")


def test_a_share_takes_the_place_of_a_number(composed: Composed) -> None:
    """The digits' 100 a class stand in their configuration."""
    found = describe(*plan(checked(composed("data.val_fraction=0.05", "ratio=1"))))
    assert found["val_counts"] == [20] * 10
