"""Parts as a fork would write them, named by `_target_` in the tests beside this file."""

import json
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from skewlab.data.batches import Batch
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.training.module import ImbalanceClassifier


class Hooks(pl.Callback):
    """Counts the hooks that Lightning calls, and writes them into the run's folder."""

    COUNTED = (
        *("on_train_start", "on_train_epoch_start", "on_train_batch_start", "on_before_backward"),
        *("on_after_backward", "on_before_optimizer_step", "on_before_zero_grad"),
        *("on_train_epoch_end", "on_train_end", "on_validation_start", "on_validation_epoch_start"),
        *("on_validation_batch_start", "on_validation_batch_end", "on_validation_epoch_end"),
        *("on_validation_end", "on_fit_start", "on_fit_end", "setup", "teardown"),
    )

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.losses: list[float] = []
        self.sizes: list[int] = []
        for name in self.COUNTED:
            setattr(self, name, self._counting(name))

    def _counting(self, name: str) -> Any:
        def count(
            trainer: pl.Trainer, pl_module: pl.LightningModule, *more: Any, **named: Any
        ) -> None:
            self.seen[name] = self.seen.get(name, 0) + 1
            if name == "on_fit_end":
                self._write(Path(trainer.default_root_dir))

        return count

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.losses.append(float(outputs["loss"]))
        self.sizes.append(len(batch.labels))

    def _write(self, folder: Path) -> None:
        found = {"hooks": self.seen, "losses": self.losses, "sizes": self.sizes}
        (folder / "hooks.json").write_text(json.dumps(found))


class Monitored(pl.Callback):
    """Writes what `callback_metrics` holds at the end of each epoch, as a monitor would see it."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with (Path(trainer.default_root_dir) / "monitored.jsonl").open("a") as file:
            found = {name: float(value) for name, value in trainer.callback_metrics.items()}
            file.write(json.dumps(found) + "\n")


class GradientNorms(pl.Callback):
    """Writes the norm of the whole gradient when each step of the optimiser is made."""

    def on_before_zero_grad(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if gradients:
            norm = float(torch.stack([gradient.norm() for gradient in gradients]).norm())
            with (Path(trainer.default_root_dir) / "norms.jsonl").open("a") as file:
                file.write(f"{norm}\n")


class Logging(ImbalanceClassifier):
    """Logs a number of its own in each training step."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("train/step_loss", loss)
        return loss


class Broken(ImbalanceClassifier):
    """A training step that returns NaN from the eighth batch on."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss * float("nan") if batch.number >= 7 else loss


class TwoUpdates(ImbalanceClassifier):
    """Owns its whole update: manual optimisation, two updates on each batch."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.automatic_optimization = False

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        optimizer = self.optimizers()
        for _ in range(2):
            loss = super().training_step(batch, batch_idx)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss.detach()


class Halved(ImbalancedDataModule):
    """Trains on batches of half the configured size."""

    def __init__(self, *, batch_size: int, **arguments: Any) -> None:
        super().__init__(batch_size=batch_size // 2, **arguments)


class Own(pl.LightningModule):
    """A module that has nothing of skewlab's, and takes two of the arguments that are offered."""

    def __init__(self, input_shape: list[int], train_counts: list[int], rate: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        height, width, channels = input_shape
        self.layer = torch.nn.Linear(height * width * channels, len(train_counts))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1).float() / 255)
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return torch.nn.functional.cross_entropy(self(batch.images), batch.labels)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["rate"])


class OutOfMemory(pl.Callback):
    """What PyTorch raises where a GPU is full, in the run of seed 0."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if "-seed0-" in str(trainer.default_root_dir):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
