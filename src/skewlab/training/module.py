"""The LightningModule: network, method and optimiser."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from skewlab.config.parts import Component, build, configured
from skewlab.data.batches import Batch
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.data.transforms import CropAndFlip, Normalise
from skewlab.distributed import ALONE, Processes
from skewlab.errors import Diverged
from skewlab.methods.objective import Objective
from skewlab.methods.second_stages import SecondStage
from skewlab.seeding import mixed_seed, mixed_seeds, seed_streams

# Apart from what else is drawn from the same seeds.
NETWORK, MIXING, SECOND_STAGE = 0x4E7, 0x317, 0x2ED
# Later than any step.
NEVER = 2**62


class ImbalanceClassifier(pl.LightningModule):
    """A network that is trained on imbalanced classes.

    It takes images as they are stored (uint8, channels last) and does the scaling itself, so a
    checkpoint is all that is needed to classify with it. Every argument is kept in the checkpoint
    and is of plain types: `torch.load(path, weights_only=True)` reads it.

    Args:
        model, optimizer, scheduler: what to build, see `skewlab.config.parts`.
        method: the method's parts by name, each such a component; see `config.Method`.
        image_shape: (height, width, channels) of an image.
        train_counts: training samples of each class.
        mean, std: of each channel of the training pool, in units of 1/255.
        crop: largest random shift of a training image, in pixels.
        flip: whether training images are mirrored at random.
        init_seed: of the initial weights.
        order_seed: of augmentation and of what is random inside the network.
        second_epochs: of the trainer's epochs, how many at the end are a second stage.
        processes: that train together.
        asked_to_stop: whether training is to pause at the next opportunity, for good.
    """

    def __init__(
        self,
        model: Component,
        method: dict[str, Any],
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
        second_epochs: int = 0,
        processes: Processes = ALONE,
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["processes", "asked_to_stop"])
        # A training step of Lightning's is a stretch of ours, and optimises in each of its steps.
        self.automatic_optimization = False
        self._processes, self._asked_to_stop = processes, asked_to_stop
        self._optimizer, self._scheduler = optimizer, scheduler
        self._order_seed = order_seed
        self.normalise = Normalise(mean, std)
        self.augment = CropAndFlip(crop, flip, order_seed)
        torch.manual_seed(init_seed)
        network: nn.Module = build(model, tuple(image_shape), len(train_counts), key="model")
        if method.get("head"):
            network.head = build(method["head"], network.head, key="method.head")
        second = method.get("second_stage")
        self._second: SecondStage | None = second and build(second, key="method.second_stage")
        if self._second:
            self._second.prepare(network)
        self._second_epochs, self._in_second = second_epochs, False
        self.network = network.to(memory_format=torch.channels_last)
        self.objective = Objective(method, self.network, torch.tensor(train_counts))
        self._init_seed = init_seed
        self._epoch: int | None = None
        self._stream_seeds: list[int] = []
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

    @functools.cached_property
    def _steps_per_epoch(self) -> int:
        # Lightning's own count would start the loader, before an interrupted run knows its place.
        datamodule: ImbalancedDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        return datamodule.steps_per_epoch

    @property
    def _first_epochs(self) -> int:
        """Epochs of training, without those of a second stage."""
        return int(self.trainer.max_epochs or 0) - self._second_epochs

    def train(self, mode: bool = True) -> "ImbalanceClassifier":
        """Training or eval mode; a body that a second stage has frozen stays in eval mode."""
        super().train(mode)
        if self._in_second:
            self.network.body.eval()  # type: ignore[union-attr]
        return self

    def on_train_batch_start(self, batch: Iterable[Batch], batch_idx: int) -> None:
        # Not at the epoch's start: a run that goes on within an epoch sees none.
        if self.trainer.current_epoch != self._epoch:
            self._epoch = self.trainer.current_epoch
            self._begin_epoch(self._epoch)

    def _begin_epoch(self, epoch: int) -> None:
        # What is random depends on the step alone, not on what was evaluated in between or on where
        # a run was resumed; of several processes each has a stream of its own.
        rank = (self._processes.rank,) if self._processes.rank else ()
        self._stream_seeds = mixed_seeds(
            self._order_seed, NETWORK, epoch, *rank, count=self._steps_per_epoch
        )
        if self._second is None or epoch < self._first_epochs:
            self.objective.begin(epoch, self._first_epochs, self.device)
            return
        if not self._in_second:
            torch.manual_seed(mixed_seed(self._init_seed, SECOND_STAGE))
            self._second.restart(self.network)
            for parameter in self._second.trained(self.network):
                self.trainer.optimizers[0].state.pop(parameter, None)  # its momentum
        self._in_second = True
        self._second.freeze(self.network)
        self.train()

    def transfer_batch_to_device(
        self, batch: Iterable[Batch], device: torch.device, dataloader_idx: int
    ) -> Iterable[Batch]:
        if not isinstance(batch, list):  # cut out of images that are on the device already
            return batch
        return [
            one._replace(
                images=one.images.to(device, non_blocking=True),
                labels=one.labels.to(device, non_blocking=True),
            )
            for one in batch
        ]

    def training_step(self, batch: Iterable[Batch], batch_idx: int) -> None:
        """Train on a stretch of batches, a step of the optimiser for each."""
        before = self.global_step
        losses: list[Tensor] = []
        optimizer: Any = self.optimizers()
        schedule: Any = self.lr_schedulers()
        for one in batch:
            losses.append(self._step(one, before + len(losses), optimizer, schedule))
            if self._asked_to_stop():
                break  # the run goes on from here another time
        self._watch(torch.stack(losses), before)

    def _step(self, batch: Batch, step: int, optimizer: Any, schedule: Any) -> Tensor:
        """One step of the optimiser; its loss.

        Args:
            batch: what is trained on.
            step: how many were made before it.
            optimizer, schedule: as Lightning has them.
        """
        loss = self._loss(batch, step)
        for parameter in self._all_parameters:  # zero_grad() without its profiler's marks
            parameter.grad = None
        with self._full_precision():
            if self._processes.count > 1:
                self.manual_backward(loss)  # has the processes share their gradients
            else:
                torch.autograd.backward(loss)
            if self.objective.rule is not None:
                self.objective.rule.after_backward(self.network)
            # What Lightning's own `step` does besides calling every callback, four times a step.
            optimizer._on_before_step()
            optimizer.optimizer.step()
            optimizer._on_after_step()
        schedule.step()
        return loss.detach()

    @contextlib.contextmanager
    def _full_precision(self) -> Iterator[None]:
        """Mixed precision, which Lightning has on for a whole stretch, is for the forward pass."""
        if not torch.is_autocast_enabled(self.device.type):  # to switch it off costs as well
            yield
            return
        with torch.autocast(self.device.type, enabled=False):
            yield

    def _loss(self, batch: Batch, step: int) -> Tensor:
        """The method's loss on one augmented batch."""
        images = self.augment(batch.images, step, batch.first, batch.whole)
        images, weight = self.normalise(images), None
        seed = self._stream_seeds[step % self._steps_per_epoch]
        if self._in_second:
            seed_streams(seed, self.device)
            loss = F.cross_entropy(self.network(images), batch.labels)
        else:
            mixes = self.objective.mixes
            mixing_seed = mixed_seed(self._order_seed, step, 0, MIXING) if mixes else 0
            loss, weight = self.objective(self.network, images, batch.labels, seed, mixing_seed)
        return loss if self._processes.count == 1 else loss * self._part(batch, weight)

    def _part(self, batch: Batch, weight: Tensor | None) -> float | Tensor:
        """The factor of this process's loss: gradients are averaged over processes as if their
        shares of a batch were equal.

        Args:
            batch: its share.
            weight: of its samples together; None where each counts the same.
        """
        if weight is None:
            return batch.counted * self._processes.count / batch.whole
        own = weight * bool(batch.counted)
        whole = own.clone()
        torch.distributed.all_reduce(whole)
        return own * self._processes.count / whole

    def _watch(self, losses: Tensor, before: int) -> None:
        """Remember the first step whose loss is no finite number, without waiting for the device.

        Args:
            losses: of the steps that were just made.
            before: steps made before them.
        """
        steps = torch.arange(before + 1, before + 1 + len(losses), device=losses.device)
        first = torch.where(losses.isfinite(), NEVER, steps).amin()
        known = self._not_finite_at
        self._not_finite_at = first if known is None else torch.minimum(known.to(first), first)

    @property
    def _diverged_at(self) -> int:
        """The first step whose loss was no finite number; 0 for none."""
        step = NEVER if self._not_finite_at is None else int(self._not_finite_at)
        return 0 if step == NEVER else step

    def on_train_epoch_end(self) -> None:
        # One process sees it first; at the next step all of them do.
        if self._processes.any(bool(self._diverged_at)):
            unseen = self.global_step + 1
            first = -self._processes.largest(-(self._diverged_at or unseen))
            raise Diverged(first)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["diverged_at"] = self._diverged_at
        checkpoint["in_second_stage"] = self._in_second

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._not_finite_at = torch.tensor(checkpoint.get("diverged_at") or NEVER)
        self._in_second = bool(checkpoint.get("in_second_stage", False))

    def configure_optimizers(self) -> Any:
        optimizer: torch.optim.Optimizer = build(
            self._optimizer, self.parameters(), key="optimizer"
        )
        epochs = self._first_epochs
        self._all_parameters = list(self.parameters())
        steps_per_epoch = self._steps_per_epoch
        schedule = configured(self._scheduler, "scheduler")

        def factor(step: int) -> float:
            # A second stage begins the schedule anew.
            length = epochs
            if step >= epochs * steps_per_epoch and self._second_epochs:
                step, length = step - epochs * steps_per_epoch, self._second_epochs
            # The middle of the step: neither 0 at the first one nor past the end at the last.
            return float(schedule((step + 0.5) / steps_per_epoch, length))

        by_step = {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": by_step}
