"""The same job as one writes it in a Lightning template: as it comes, and tuned."""

import tempfile
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch.nn.functional as F
from loops import EVALUATED, Images, Task, cosine
from pytorch_lightning.callbacks import ModelCheckpoint, RichModelSummary, RichProgressBar
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassPrecision, MulticlassRecall

SPLITS = ("train", "val", "test")


class Data(pl.LightningDataModule):
    """Train batches, and each split in order for evaluation.

    Args:
        task: whose data.
        resident: whether batches are cut out of tensors in memory, not made image by image.
    """

    def __init__(self, task: Task, resident: bool) -> None:
        super().__init__()
        self._batch_size, self._resident = task.batch_size, resident
        self._sets: dict[str, Any]
        if resident:
            self._sets = {name: TensorDataset(*both) for name, both in task.resident().items()}
        else:
            self._sets = {name: Images(task, *both) for name, both in task.splits().items()}

    def train_dataloader(self) -> DataLoader[Any]:
        data = self._sets["train"]
        if self._resident:
            return _in_batches(data, RandomSampler(data), self._batch_size)
        return DataLoader(data, self._batch_size, shuffle=True)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        if self._resident:
            return [_in_batches(d, SequentialSampler(d), EVALUATED) for d in self._sets.values()]
        return [DataLoader(data, EVALUATED) for data in self._sets.values()]


def _in_batches(data: TensorDataset, order: Any, size: int) -> DataLoader[Any]:
    return DataLoader(data, sampler=BatchSampler(order, size, drop_last=False), batch_size=None)


class Classifier(pl.LightningModule):
    """Metrics from torchmetrics, logged by Lightning.

    Args:
        task: what is trained.
        every_step: whether the training loss and accuracy are logged in every step and shown on
            the progress bar.
    """

    def __init__(self, task: Task, every_step: bool) -> None:
        super().__init__()
        self._task, self._every_step = task, every_step
        self.network = task.network()
        classes = {"num_classes": task.classes, "average": "none"}

        def collection() -> MetricCollection:
            return MetricCollection(
                {"recall": MulticlassRecall(**classes), "precision": MulticlassPrecision(**classes)}
            )

        self.train_loss = MeanMetric()
        self.train_recall = MulticlassRecall(num_classes=task.classes)
        self.losses = nn.ModuleList([MeanMetric() for _ in SPLITS])
        self.metrics = nn.ModuleList([collection() for _ in SPLITS])
        self.score = 0.0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels)
        if self._every_step:
            self.train_loss(loss)
            self.train_recall(logits.argmax(1), labels)
            self.log("train/loss", self.train_loss, on_step=True, on_epoch=True, prog_bar=True)
            self.log("train/acc", self.train_recall, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int) -> None:
        images, labels = batch
        logits = self.network(images)
        self.losses[dataloader_idx].update(F.cross_entropy(logits, labels), len(labels))
        self.metrics[dataloader_idx].update(logits.argmax(1), labels)

    def on_validation_epoch_end(self) -> None:
        for split, loss, metrics in zip(SPLITS, self.losses, self.metrics, strict=True):
            found: dict[str, Tensor] = metrics.compute()
            for name, values in found.items():
                for label, value in enumerate(values):
                    self.log(f"{split}/{name}/{label}", value)
            self.log(f"{split}/loss", loss.compute(), prog_bar=self._every_step)
            self.log(f"{split}/balanced_accuracy", found["recall"].mean())
            self.score = float(found["recall"].mean())
            loss.reset()
            metrics.reset()

    def configure_optimizers(self) -> Any:
        optimizer = self._task.optimizer(self.network)
        schedule = cosine(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def template(task: Task, tuned: bool, callbacks: Sequence[pl.Callback] = ()) -> float:
    """Train with Lightning.

    Args:
        task: what is trained.
        tuned: tensors in memory, no bar, nothing logged in a step; otherwise images through PIL,
            a rich progress bar, and `self.log` in every step.
        callbacks: more of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = ModelCheckpoint(
            folder, monitor="val/balanced_accuracy", mode="max", save_last=True
        )
        shown = [] if tuned else [RichModelSummary(), RichProgressBar()]
        classifier = Classifier(task, every_step=not tuned)
        trainer = pl.Trainer(
            max_epochs=task.epochs,
            accelerator="gpu" if task.device.type == "cuda" else "cpu",
            devices=1,
            callbacks=[checkpoint, *shown, *callbacks],
            logger=CSVLogger(folder),
            enable_progress_bar=not tuned,
            enable_model_summary=not tuned,
            num_sanity_val_steps=-1,  # all is measured before the first step, as the others do
            log_every_n_steps=10,
        )
        trainer.fit(classifier, datamodule=Data(task, resident=tuned))
        return classifier.score
