"""The callback that evaluates every split as training goes, and tells all who listen."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from skewlab.config import Curves
from skewlab.console import logger_failed
from skewlab.curves.metric import PerClassMetric
from skewlab.curves.scalars import FloatArray, evaluations, scalars
from skewlab.data.datamodule import Batch, ImbalancedDataModule
from skewlab.runs.curvefile import CurveFile

# The only number that may select a checkpoint: of the balanced split that is not the test set.
SELECTED_BY = "val/balanced_accuracy"


def early_steps(steps_per_epoch: int, epochs: int, points: int) -> set[int]:
    """Steps spaced evenly on a log scale from 1 to the end of the first epochs; where rounding
    makes two of them one, there are fewer than `points`."""
    last = steps_per_epoch * epochs
    if not points or last < 1:
        return set()
    return {round(last ** (place / max(points - 1, 1))) for place in range(points)}


def share_statistics(module: torch.nn.Module) -> None:
    """Give all processes that train together the first one's buffers, such as the running
    statistics of batch normalisation: they evaluate one network."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, src=0)


class PerClassCurves(pl.Callback):
    """Per-class learning curves of train, val and test.

    Evaluates before the first step, at log-spaced steps of the first epochs (both on a bounded
    number of samples a class, so that large sets stay cheap), and on every sample at the ends of
    epochs, each split in one clean pass (eval mode, no augmentation). Every evaluation is a line a
    split in `curves.jsonl` and a row with the same numbers on each of the trainer's loggers.

    Args:
        settings: when to evaluate.
        groups: the classes of each group.
        class_names: names in label order.
        file: where the lines go; None in a process that leaves writing to another one.
        stretch: factor of the times in `settings`, for a run of more but shorter epochs.
        before: the lines of an interrupted run that goes on, up to its checkpoint. They are told to
            the loggers again, which then hold the whole run once.

    Attributes:
        latest: the scalars of the last evaluation, by name.
        summary: the scalars of the last epoch, and under `val_best/` those of the epoch with the
            best balanced accuracy on val (the first of equals).
        evaluated_epochs: epochs done when the end of one was last evaluated.
        is_best: whether that one is the best so far.
    """

    def __init__(
        self,
        settings: Curves,
        groups: Mapping[str, Sequence[int]],
        class_names: Sequence[str],
        file: CurveFile | None,
        stretch: int = 1,
        before: Sequence[dict[str, Any]] = (),
    ) -> None:
        self._settings, self._groups, self._file = settings, groups, file
        self._class_names = class_names
        self._classes = len(class_names)
        self._every_n_epochs = settings.every_n_epochs * stretch
        self._early_epochs = settings.early_epochs * stretch
        self._streamed = class_names if self._classes <= settings.streamed_classes else ()
        self._early: set[int] = set()
        self.latest: dict[str, float] = {}
        self.summary: dict[str, float] = {}
        self.evaluated_epochs = 0
        self.is_best = False
        self._best: dict[str, float] = {}
        self._before = before
        self._lost: list[Logger] = []

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: all that an interrupted run needs to write the lines it would
        have written."""
        return {
            "position": self._file.position if self._file else 0,
            "latest": self.latest,
            "best": self._best,
            "evaluated_epochs": self.evaluated_epochs,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.latest, self._best = state_dict["latest"], state_dict["best"]
        self.evaluated_epochs = state_dict["evaluated_epochs"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        steps = int(trainer.num_training_batches)
        early = early_steps(steps, self._early_epochs, self._settings.early_points)
        # The end of an epoch that is evaluated anyway is left to it.
        self._early = {step for step in early if step % (steps * self._every_n_epochs)}
        if not trainer.global_step:
            self._evaluate(trainer, pl_module, self._settings.early_per_class)
        for row in evaluations(self._before, self._groups, self._class_names):
            self._stream(trainer, row)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.global_step in self._early:
            self._evaluate(trainer, pl_module, self._settings.early_per_class)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        done, last = trainer.current_epoch + 1, trainer.max_epochs
        if done % self._every_n_epochs and done != last:
            return
        self._evaluate(trainer, pl_module)
        self.evaluated_epochs = done
        score = self.latest.get(SELECTED_BY, -math.inf)
        self.is_best = score > self._best.get(SELECTED_BY, -math.inf)
        if self.is_best:
            self._best = self.latest
        best = {f"val_best/{name}": value for name, value in self._best.items()}
        self.summary = {**self.latest, **best}

    def _evaluate(
        self, trainer: pl.Trainer, module: pl.LightningModule, per_class: int | None = None
    ) -> None:
        datamodule: ImbalancedDataModule = trainer.datamodule  # type: ignore[attr-defined]
        step = trainer.global_step
        epoch = step / int(trainer.num_training_batches)
        splits: dict[str, dict[str, FloatArray]] = {}
        module.eval()
        share_statistics(module)
        for split in datamodule.splits:
            batches = datamodule.evaluation_dataloader(split, per_class, shared=True)
            splits[split] = self._pass(trainer, module, batches)
            if self._file:
                self._file.append(epoch, step, split, splits[split])
        module.train()
        named = scalars(splits, self._groups, self._class_names)
        self.latest = {"epoch": epoch, "step": step, **named}
        self._stream(trainer, self.latest)

    def _stream(self, trainer: pl.Trainer, row: Mapping[str, float]) -> None:
        """Tell the loggers, by whose own time axis it is at a step; one that fails is told no
        more."""
        streamed = {
            name: value
            for name, value in row.items()
            if name != "step" and (self._streamed or "/class/" not in name)
        }
        for logger in trainer.loggers:
            if logger in self._lost:
                continue
            try:
                logger.log_metrics(streamed, int(row["step"]))
            except Exception as error:  # none of them may cost a job
                self._lost.append(logger)
                logger_failed(type(logger).__name__, error)

    def _pass(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        batches: Iterable[Batch],
    ) -> dict[str, FloatArray]:
        confusion = self._classes <= self._settings.confusion_classes
        metric = PerClassMetric(self._classes, confusion).to(module.device)
        with torch.inference_mode(), trainer.precision_plugin.val_step_context():
            for batch in batches:
                metric.update(
                    module(batch.images.to(module.device, non_blocking=True)),
                    batch.labels.to(module.device, non_blocking=True),
                )
        return metric.compute()
