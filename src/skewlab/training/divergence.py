"""A training loss that is no finite number ends the run, as a result."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from skewlab.distributed import ALONE, Processes
from skewlab.errors import Diverged
from skewlab.training.length import updated


class EndWhenDiverged(pl.Callback):
    """Looks at the loss that each training step returned, and ends the run after the epoch in which
    one was no finite number. Within an epoch nothing waits for the device.

    Args:
        processes: that train together.

    Raises:
        Diverged: names the first such update.
    """

    def __init__(self, processes: Processes = ALONE) -> None:
        self._processes = processes
        self._updates: list[int] = []
        self._losses: list[Tensor] = []
        self._first = 0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if isinstance(outputs, Mapping) and isinstance(outputs.get("loss"), Tensor):
            # A batch whose gradients are only gathered is part of the update that follows.
            self._updates.append(trainer.global_step + (not updated(trainer, batch_idx)))
            self._losses.append(outputs["loss"].detach())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look()
        # One process sees it first; at the next step all of them do.
        if self._processes.any(bool(self._first)):
            unseen = trainer.global_step + 1
            raise Diverged(-self._processes.largest(-(self._first or unseen)))

    def state_dict(self) -> dict[str, Any]:
        self._look()
        return {"first": self._first}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._first = state_dict["first"]

    def _look(self) -> None:
        """Find the first update, of those not yet looked at, whose loss is no finite number."""
        if self._losses and not self._first:
            bad = (~torch.stack(self._losses).isfinite()).nonzero().flatten().tolist()
            self._first = self._updates[bad[0]] if bad else 0
        self._updates, self._losses = [], []
