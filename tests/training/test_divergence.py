"""A loss that is no finite number ends a run, in anybody's Lightning project."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from skewlab.errors import Diverged
from skewlab.training.divergence import EndWhenDiverged

BATCHES = 5


class Module(pl.LightningModule):
    """A loss is finite but at some updates, which are counted from 1.

    Args:
        bad: what the loss is at which update.
        answer: what `training_step` makes of a loss.
    """

    def __init__(self, bad: dict[int, float], answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.bad, self.answer, self.update = bad, answer, 0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.update += 1
        return self.answer((self.weight * 0).sum() + self.bad.get(self.update, 1.0))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trained(module: pl.LightningModule, folder: Path, resume: Path | None = None) -> pl.Trainer:
    """Three epochs of five updates by Lightning's own trainer."""
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[EndWhenDiverged(), SaveAt(7, folder / "seven.ckpt")],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(module, DataLoader(torch.zeros(BATCHES, 1)), ckpt_path=resume)
    return trainer


class SaveAt(pl.Callback):
    """Writes a checkpoint after an update."""

    def __init__(self, update: int, path: Path) -> None:
        self.update, self.path = update, path

    def on_train_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        if trainer.global_step == self.update:
            trainer.save_checkpoint(self.path)


def as_loss(loss: Tensor) -> Tensor:
    return loss


def in_a_dictionary(loss: Tensor) -> dict[str, Any]:
    return {"loss": loss, "more": 1}


@pytest.mark.parametrize("answer", [as_loss, in_a_dictionary])
@pytest.mark.parametrize("update", [1, 4, 5, 6, 15])
def test_the_first_update_without_a_finite_loss_ends_the_run(
    tmp_path: Path, update: int, answer: Callable[[Tensor], Any]
) -> None:
    """After the epoch that it is in."""
    module = Module({update: torch.nan, update + 1: torch.nan}, answer)
    with pytest.raises(Diverged) as end:
        trained(module, tmp_path)
    assert end.value.step == update
    assert str(end.value) == f"diverged at step {update}"
    assert module.update == -(-update // BATCHES) * BATCHES


def test_an_infinite_loss_is_none(tmp_path: Path) -> None:
    with pytest.raises(Diverged) as end:
        trained(Module({3: -torch.inf}, as_loss), tmp_path)
    assert end.value.step == 3


def test_a_finite_loss_ends_nothing(tmp_path: Path) -> None:
    assert trained(Module({2: 1e30}, as_loss), tmp_path).global_step == 3 * BATCHES


def test_a_step_that_is_left_out_ends_nothing(tmp_path: Path) -> None:
    """`training_step` may return None."""
    assert trained(Module({2: torch.nan}, lambda loss: None), tmp_path).current_epoch == 3


@pytest.mark.parametrize("update", [6, 7, 8])
def test_a_run_that_goes_on_has_not_forgotten(tmp_path: Path, update: int) -> None:
    """From a checkpoint after update 7."""
    with pytest.raises(Diverged):
        trained(Module({update: torch.nan}, as_loss), tmp_path)
    module = Module({update: torch.nan}, as_loss)
    module.update = 7
    with pytest.raises(Diverged) as end:
        trained(module, tmp_path, tmp_path / "seven.ckpt")
    assert end.value.step == update
