"""The LightningModule: network, method and optimiser."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from skewlab.component import Component, build, configured
from skewlab.data.augment import CropAndFlip, Normalise
from skewlab.data.datamodule import Batch, ImbalancedDataModule
from skewlab.distributed import ALONE, Processes
from skewlab.errors import Diverged
from skewlab.seeding import mixed_seed


class ImbalanceClassifier(pl.LightningModule):
    """A network that is trained on imbalanced classes.

    It takes images as they are stored (uint8, channels last) and does the scaling itself, so a
    checkpoint is all that is needed to classify with it. Every argument is kept in the checkpoint
    and is of plain types: `torch.load(path, weights_only=True)` reads it.

    Args:
        model, loss, optimizer, scheduler: what to build, see `skewlab.component`.
        image_shape: (height, width, channels) of an image.
        train_counts: training samples of each class.
        mean, std: of each channel of the training pool, in units of 1/255.
        crop: largest random shift of a training image, in pixels.
        flip: whether training images are mirrored at random.
        init_seed: of the initial weights.
        order_seed: of augmentation and of what is random inside the network.
        processes: that train together.
    """

    def __init__(
        self,
        model: Component,
        loss: Component,
        optimizer: Component,
        scheduler: Component,
        image_shape: list[int],
        train_counts: list[int],
        mean: list[float],
        std: list[float],
        crop: int,
        flip: bool,
        init_seed: int,
        order_seed: int,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["processes"])
        self._processes = processes
        self._optimizer, self._scheduler = optimizer, scheduler
        self._order_seed = order_seed
        self.normalise = Normalise(mean, std)
        self.augment = CropAndFlip(crop, flip, order_seed)
        torch.manual_seed(init_seed)
        network: nn.Module = build(model, tuple(image_shape), len(train_counts), key="model")
        self.network = network.to(memory_format=torch.channels_last)
        self.loss: nn.Module = build(loss, torch.tensor(train_counts), key="method.loss")
        self._not_finite_at: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape [batch, classes], of uint8 images [batch, height, width, channels]."""
        logits: Tensor = self.network(self.normalise(images))
        return logits

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The features before the head, shape [batch, width], and the logits, as `forward` gives
        them; for networks that have both parts."""
        features: Tensor = self.network.features(self.normalise(images))  # type: ignore[operator]
        logits: Tensor = self.network.head(features)  # type: ignore[operator]
        return features, logits

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # What is random inside the network depends on the step alone, not on what was evaluated
        # in between or on where a run was resumed.
        own = (self._processes.rank,) if self._processes.rank else ()
        torch.manual_seed(mixed_seed(self._order_seed, self.global_step, *own))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The method's loss on one augmented batch."""
        images = self.augment(batch.images, self.global_step, batch.first, batch.whole)
        loss: Tensor = self.loss(self(images), batch.labels)
        self._watch(loss.detach())
        if batch.counted != batch.whole:
            # Gradients are averaged over processes as if their shares were equal.
            loss = loss * (batch.counted * self._processes.count / batch.whole)
        return loss

    def _watch(self, loss: Tensor) -> None:
        """Remember the first step whose loss is no finite number, without waiting for the
        device; one more than the step, so that 0 means none."""
        before = torch.tensor(0) if self._not_finite_at is None else self._not_finite_at
        before = before.to(loss.device)
        self._not_finite_at = before + (~loss.isfinite() & (before == 0)) * (self.global_step + 1)

    @property
    def _diverged_at(self) -> int:
        return 0 if self._not_finite_at is None else int(self._not_finite_at)

    def on_train_epoch_end(self) -> None:
        # One process sees it first; at the next step all of them do.
        if self._processes.any(bool(self._diverged_at)):
            unseen = self.global_step + 1
            first = -self._processes.largest(-(self._diverged_at or unseen))
            raise Diverged(first)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["diverged_at"] = self._diverged_at

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._not_finite_at = torch.tensor(checkpoint.get("diverged_at", 0))

    def configure_optimizers(self) -> Any:
        optimizer: torch.optim.Optimizer = build(
            self._optimizer, self.parameters(), key="optimizer"
        )
        max_epochs = self.trainer.max_epochs
        # Lightning's own count would start the loader, before an interrupted run knows its place.
        datamodule: ImbalancedDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        steps_per_epoch = datamodule.steps_per_epoch

        schedule = configured(self._scheduler, "scheduler")

        def factor(step: int) -> float:
            # The middle of the step: neither 0 at the first one nor past the end at the last.
            return float(schedule((step + 0.5) / steps_per_epoch, max_epochs))

        by_step = {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": by_step}
