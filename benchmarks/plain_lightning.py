"""The same job in Lightning as somebody who knows it well writes it by hand, and nothing more."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from loops import EVALUATED, Task, cosine, per_class
from torch import Tensor


class Batches:
    """A loader of tensors that are on the device already: whole batches, gathered by index.

    Args:
        images, labels: of a split.
        size: samples of a batch.
        shuffled: whether each pass has an order of its own.
    """

    def __init__(self, images: Tensor, labels: Tensor, size: int, shuffled: bool) -> None:
        self._images, self._labels = images, labels
        self._size, self._shuffled = size, shuffled

    def __len__(self) -> int:
        return -(-len(self._labels) // self._size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if not self._shuffled:
            yield from zip(
                self._images.split(self._size), self._labels.split(self._size), strict=True
            )
            return
        order = torch.randperm(len(self._labels)).to(self._labels.device)
        for rows in order.split(self._size):
            yield self._images[rows], self._labels[rows]


class Classifier(pl.LightningModule):
    """Automatic optimisation, a schedule that moves at each update, and in Lightning's validation
    loop the loss, recall and precision of every class on each split.

    Args:
        task: what is trained.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task
        self.network = task.network().to(memory_format=torch.channels_last)
        self._seen: list[list[tuple[Tensor, Tensor]]] = [[], [], []]
        self.score = 0.0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int) -> None:
        images, labels = batch
        self._seen[dataloader_idx].append((self.network(images), labels))

    def on_validation_epoch_end(self) -> None:
        for seen in self._seen:
            logits, labels = (torch.cat(parts) for parts in zip(*seen, strict=True))
            found = per_class(logits, labels, self._task.classes)  # of test at last
            seen.clear()
        self.score = float(found["recall"].mean())

    def configure_optimizers(self) -> Any:
        optimizer = self._task.optimizer(self.network)
        schedule = cosine(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def plain_lightning(task: Task, callbacks: Sequence[pl.Callback] = ()) -> float:
    """Train; nothing is written, shown or logged.

    Args:
        task: what is trained.
        callbacks: more of them.
    """
    splits = task.resident()
    classifier = Classifier(task)
    trainer = pl.Trainer(
        max_epochs=task.epochs,
        accelerator="gpu" if task.device.type == "cuda" else "cpu",
        devices=1,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=-1,  # all is measured before the first update, as the others do
    )
    trainer.fit(
        classifier,
        Batches(*splits["train"], task.batch_size, shuffled=True),
        [Batches(*split, EVALUATED, shuffled=False) for split in splits.values()],
    )
    return classifier.score
