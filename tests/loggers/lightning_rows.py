"""Training with Lightning alone, where both Lightning and curves tell a logger rows."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers import Logger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

STEPS_PER_EPOCH, EPOCHS = 4, 2
# The steps at which the curves are told: some batches have none.
CURVE_STEPS = (0, 1, 2, 4, 8)
CURVE = "test/recall/minority"


class _Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss: Tensor = self.layer(batch[0]).square().mean()
        self.log("fork/batch", float(self.global_step))
        self.log("fork/epoch", float(self.current_epoch), on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 / (1 + step))
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class _Curves(pl.Callback):
    """Streams as our curves do: straight to the loggers, by updates, `epoch` a fraction."""

    def _tell(self, trainer: pl.Trainer) -> None:
        step = trainer.global_step
        if step in CURVE_STEPS:
            for logger in trainer.loggers:
                logger.log_metrics({"epoch": step / STEPS_PER_EPOCH, CURVE: float(step)}, step)

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._tell(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step % STEPS_PER_EPOCH:
            self._tell(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._tell(trainer)


def train_with(logger: Logger) -> None:
    pl.Trainer(
        max_epochs=EPOCHS,
        log_every_n_steps=1,
        logger=logger,
        callbacks=[_Curves(), LearningRateMonitor(logging_interval="step")],
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(_Module(), DataLoader(TensorDataset(torch.ones(STEPS_PER_EPOCH, 1))))


def check_told(rows: list[Mapping[str, Any]], missing: tuple[int, ...] = ()) -> None:
    """Lightning's rows and those of the curves are there, and no step goes back.

    Args:
        rows: as the logger's library has them; `_step` is the step of each.
        missing: batches of which the library does not keep what `self.log` said.
    """
    steps = [row["_step"] for row in rows]
    assert steps == sorted(steps)
    batches = STEPS_PER_EPOCH * EPOCHS
    rates = [row["lr-SGD"] for row in rows if "lr-SGD" in row]
    assert rates == [1.0 / (1 + batch) for batch in range(batches)]
    batches_told = [row["fork/batch"] for row in rows if "fork/batch" in row]
    assert sorted({*batches_told, *missing}) == list(range(batches))
    assert [row["fork/epoch"] for row in rows if "fork/epoch" in row] == list(range(EPOCHS))
    curves = [row for row in rows if CURVE in row]
    assert [(row["_step"], row[CURVE]) for row in curves] == [(step, step) for step in CURVE_STEPS]
    assert [row["epoch"] for row in curves] == [step / STEPS_PER_EPOCH for step in CURVE_STEPS]
