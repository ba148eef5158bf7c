"""The learning rate of each step of a real training, against a list made by hand."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from helpers import refused
from program import composed_at
from trained import train_at

from skewlab.launch.checks import check_jobs

# 10 classes of 6 samples in batches of 24, 24 and 12: 3 steps an epoch.
RUN = (
    *("ratio=1", "imbalance.n_max=6", "data.batch_size=24", "data.val_per_class=2"),
    *("model=mlp", "model.hidden=[4]", "logger=none"),
)
SCHEDULES = "skewlab.training.schedules"


class RecordingSGD(torch.optim.SGD):
    """SGD that remembers the learning rate of each of its steps."""

    rates: ClassVar[list[float]] = []

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        self.rates.append(self.param_groups[0]["lr"])
        return super().step(closure)


def rates_of(logs: Path, scheduler: dict[str, Any], *overrides: str) -> list[float]:
    """The learning rates of a training whose base rate is 0.1."""
    RecordingSGD.rates.clear()
    optimizer = {"_target_": f"{__name__}.RecordingSGD", "lr": 0.1}
    train_at(logs, *RUN, *overrides, optimizer=optimizer, scheduler=scheduler)
    return RecordingSGD.rates


def test_the_factor_is_taken_at_the_middle_of_each_step(tmp_path: Path) -> None:
    """6 steps of half a cosine: at 1/12, 3/12, 5/12, ... of it."""
    found = rates_of(tmp_path, {"_target_": f"{SCHEDULES}.cosine"}, "trainer.max_epochs=2")
    expected = [0.05 * (1 + math.cos(math.pi * place / 12)) for place in (1, 3, 5, 7, 9, 11)]
    assert found == pytest.approx(expected)


def test_an_epoch_of_warm_up_is_three_steps(tmp_path: Path) -> None:
    warm = {"_target_": f"{SCHEDULES}.constant", "warmup_epochs": 1}
    found = rates_of(tmp_path, warm, "trainer.max_epochs=2")
    assert found == pytest.approx([0.1 * factor for factor in (1 / 6, 3 / 6, 5 / 6, 1, 1, 1)])


def test_a_second_stage_begins_the_schedule_again(tmp_path: Path) -> None:
    """2 epochs, then 1: the second cosine falls over the 3 steps of its own epoch."""
    found = rates_of(
        tmp_path,
        {"_target_": f"{SCHEDULES}.cosine"},
        *("trainer.max_epochs=2", "method=crt", "method.second_stage.epochs=0.5"),
    )
    first = [0.05 * (1 + math.cos(math.pi * place / 12)) for place in (1, 3, 5, 7, 9, 11)]
    second = [0.05 * (1 + math.cos(math.pi * place / 6)) for place in (1, 3, 5)]
    assert found == pytest.approx([*first, *second])


def test_a_second_stage_has_a_rate_a_warm_up_and_drops_of_its_own(tmp_path: Path) -> None:
    """2 epochs at 0.1, then 4 at 0.02: half a warm-up epoch, and a tenth from its third on."""
    found = rates_of(
        tmp_path,
        {"_target_": f"{SCHEDULES}.constant"},
        *("trainer.max_epochs=2", "method=crt", "method.second_stage.epochs=4"),
        *("method.second_stage.lr=0.02", "scheduler@method.second_stage.scheduler=multistep"),
        *(
            "method.second_stage.scheduler.milestones=[2]",
            "method.second_stage.scheduler.factor=0.1",
        ),
        "method.second_stage.scheduler.warmup_epochs=0.5",
    )
    second = [0.02 / 3, *[0.02] * 5, *[0.002] * 6]
    assert found == pytest.approx([*[0.1] * 6, *second])


def test_a_schedule_of_pytorchs_own_moves_once_an_epoch(tmp_path: Path) -> None:
    torchs = {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 1, "gamma": 0.5}
    found = rates_of(tmp_path, torchs, "trainer.max_epochs=3")
    assert found == pytest.approx([0.1] * 3 + [0.05] * 3 + [0.025] * 3)


# The loss on val falls by less than 100, so every look at it after the first one is a bad one.
PLATEAU = {
    "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
    **{"patience": 0, "factor": 0.5, "threshold": 100.0, "threshold_mode": "abs"},
}


def test_a_plateau_of_the_loss_on_val_lowers_the_rate(tmp_path: Path) -> None:
    found = rates_of(tmp_path, PLATEAU, "trainer.max_epochs=4")
    assert found == pytest.approx([0.1] * 6 + [0.05] * 3 + [0.025] * 3)


def test_a_plateau_is_looked_for_where_val_is_evaluated(tmp_path: Path) -> None:
    """After epochs 2, 4 and 6: the second look is the first that finds one."""
    rare = ("trainer.max_epochs=6", "curves.every_n_epochs=2")
    assert rates_of(tmp_path, PLATEAU, *rare) == pytest.approx([0.1] * 12 + [0.05] * 6)


@pytest.mark.parametrize(
    "scheduler",
    [{"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 1}, PLATEAU],
    ids=["StepLR", "ReduceLROnPlateau"],
)
def test_schedules_of_pytorchs_own_pass_the_checks(
    tmp_path: Path, scheduler: dict[str, Any]
) -> None:
    job = composed_at(tmp_path, *RUN) | {"scheduler": scheduler}
    check_jobs([job])
    misspelt = job | {"scheduler": {**scheduler, "gama": 1}}
    message = refused(lambda: check_jobs([misspelt]))
    assert message.startswith("scheduler.gama=1: no such key")
    second = composed_at(tmp_path, *RUN, "method=crt") | {"scheduler": scheduler}
    message = refused(lambda: check_jobs([second]))
    assert "a second stage begins a schedule of its own" in message
    if "step_size" in scheduler:
        missing = job | {"scheduler": {"_target_": scheduler["_target_"]}}
        assert refused(lambda: check_jobs([missing])).startswith("scheduler.step_size: must be")
