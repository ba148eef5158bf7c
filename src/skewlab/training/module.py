"""The LightningModule: network, method and optimiser."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from skewlab.config.parts import Part, build, configured, target_of
from skewlab.data.batches import Batch
from skewlab.data.transforms import input_scaling
from skewlab.distributed import ALONE, Processes
from skewlab.methods.algorithms import Algorithm, trained_network
from skewlab.methods.objective import Objective
from skewlab.methods.second_stages import SecondStage
from skewlab.models.network import trained_parameters
from skewlab.seeding import mixed_seed
from skewlab.training.length import batches_per_epoch, updates_per_epoch

# Keep what is drawn for one thing apart from what is drawn from the same seeds for another.
NETWORK, MIXING, SECOND_STAGE = 0x4E7, 0x317, 0x2ED


class ImbalanceClassifier(pl.LightningModule):
    """A network that is trained on imbalanced classes, by a method and an optimiser.

    It takes inputs as they are stored, images in any usual layout, and scales them itself, so a
    checkpoint is all that is needed to classify with it. Every argument but `processes` is kept in
    the checkpoint and is of Python's own types: `torch.load(path, weights_only=True)` reads it.

    Args:
        model, optimizer, scheduler: parts, see `skewlab.config.parts`.
        method: the method's parts by name; see `config.schema.Method`.
        input_shape: of one input: (height, width, channels) of an image, see
            `skewlab.data.sources.Source`.
        train_counts: training samples of each class.
        mean, std: of each channel or feature of the training pool; of uint8 images in units of
            1/255.
        init_seed: of the initial weights.
        order_seed: of mixing and of what is random inside the network.
        second_epochs: of the trainer's epochs, how many at the end are a second stage, which has a
            schedule of its own.
        kind: of the inputs.
        vocabulary: number of tokens, where inputs are tokens.
        processes: that train together.
    """

    def __init__(
        self,
        model: Part,
        method: dict[str, Any],
        optimizer: Part,
        scheduler: Part,
        input_shape: list[int],
        train_counts: list[int],
        mean: list[float],
        std: list[float],
        init_seed: int,
        order_seed: int,
        second_epochs: int = 0,
        kind: str = "image",
        vocabulary: int | None = None,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__()
        # The whole configuration is given to the loggers at a run's start.
        self.save_hyperparameters(ignore=["processes"], logger=False)
        self._processes = processes
        self._optimizer, self._scheduler = optimizer, scheduler
        self._init_seed, self._order_seed = init_seed, order_seed
        self.normalise = input_scaling(kind, input_shape, mean, std)
        torch.manual_seed(init_seed)
        counts = torch.tensor(train_counts)
        network = trained_network(model, method, input_shape, counts, vocabulary)
        second = method.get("second_stage")
        self._second: SecondStage | None = second and build(second, key="method.second_stage")
        if self._second:
            self._second.prepare(network)
        self._second_epochs, self._in_second = second_epochs, False
        self.network = network.to(memory_format=torch.channels_last)
        self.objective = Objective(method, self.network, counts)
        self.second_objective: Objective | None = None
        if self._second:
            parts = self._second.parts
            self.second_objective = Objective(parts, self.network, counts, "method.second_stage")
        self._epoch: int | None = None
        # What computes logits in a training step where CUDA graphs are recorded.
        self.graphed: Callable[[Tensor], Tensor] | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape [batch, classes].

        Args:
            images: a batch of inputs as they are stored. Images are uint8, or floats between 0 and
                1, with channels last or first; see `skewlab.data.transforms.Normalise`.

        Raises:
            ValueError: inputs of another shape, type or range.
        """
        logits: Tensor = self.network(self.normalise(images))
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The method's loss on one batch, a scalar."""
        images = self.normalise(batch.images)
        # What is random depends on the batch's number alone, not on what was evaluated in between
        # or where a run was resumed; of several processes each draws for itself.
        rank = (self._processes.rank,) if self._processes.rank else ()
        seed = mixed_seed(self._order_seed, NETWORK, batch.number, *rank)
        objective = self.objective
        if self._in_second and self.second_objective is not None:
            objective = self.second_objective
        mixing_seed = 0
        if objective.mixes:
            mixing_seed = mixed_seed(self._order_seed, batch.number, 0, MIXING)
        network = self.graphed or self.network
        loss: Tensor
        loss, weight = objective(network, images, batch.labels, seed, mixing_seed)
        return loss if self._processes.count == 1 else loss * self._share(batch, weight)

    def _share(self, batch: Batch, weight: Tensor | None) -> float | Tensor:
        """The factor of this process's loss. Gradients are averaged over processes as if their
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

    def on_after_backward(self) -> None:
        if self.objective.rule is not None and not self._in_second:
            self.objective.rule.after_backward(self.network)

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Loss and logits of a batch of val."""
        return self._evaluate(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Loss and logits of a batch of test."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The probability of each class, shape [batch, classes]; of images, or of a batch whose
        first part they are."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        probabilities: Tensor = self(images).softmax(dim=1)
        return probabilities

    def _evaluate(self, batch: Any, split: str) -> dict[str, Tensor]:
        images, labels = batch[0], batch[1]
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        if self.trainer.state.fn != TrainerFn.FITTING:  # there the curves have these numbers too
            accuracy = (logits.argmax(1) == labels).float().mean()
            found = {f"{split}/loss": loss, f"{split}/accuracy": accuracy}
            self.log_dict(found, batch_size=len(labels), sync_dist=self._processes.count > 1)
        return {"loss": loss, "logits": logits}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Not at the epoch's start: a run that goes on within an epoch sees none.
        if self.trainer.current_epoch != self._epoch:
            self._epoch = self.trainer.current_epoch
            self._begin_epoch(self._epoch)

    def _begin_epoch(self, epoch: int) -> None:
        if self._second is None or epoch < self._first_epochs:
            self.objective.begin(epoch, self._first_epochs, self.device)
            if isinstance(self.network, Algorithm):
                self.network.begin(epoch, self._first_epochs)
            return
        if not self._in_second:
            torch.manual_seed(mixed_seed(self._init_seed, SECOND_STAGE))
            self._second.restart(self.network)
            for parameter in self._second.trained(self.network):
                self.trainer.optimizers[0].state.pop(parameter, None)  # its momentum
        self._in_second = True
        assert self.second_objective is not None
        self.second_objective.begin(epoch - self._first_epochs, self._second_epochs, self.device)
        self._second.freeze(self.network)
        self.train()

    @property
    def _first_epochs(self) -> int:
        """Epochs of training, without those of a second stage."""
        return int(self.trainer.max_epochs or 1) - self._second_epochs

    def train(self, mode: bool = True) -> "ImbalanceClassifier":
        """Training or eval mode; a body that a second stage has frozen stays in eval mode."""
        super().train(mode)
        if self._in_second and self._second is not None:
            self._second.set_mode(self.network)
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["in_second_stage"] = self._in_second

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._in_second = bool(checkpoint.get("in_second_stage", False))

    def configure_optimizers(self) -> Any:
        """The optimiser, and a schedule: a function of skewlab.training.schedules, or one of
        PyTorch's, which moves once an epoch."""
        later = self._second.trained(self.network) if self._second else ()
        optimizer: torch.optim.Optimizer = build(
            self._optimizer,
            trained_parameters(self, self.network, self._optimizer, later),
            key="optimizer",
        )
        target = target_of(self._scheduler, "scheduler")
        if inspect.isclass(target) and issubclass(target, LRScheduler):
            scheduler = build(self._scheduler, optimizer, key="scheduler")
            moved: dict[str, Any] = {"scheduler": scheduler}
            if isinstance(scheduler, ReduceLROnPlateau):
                moved |= {"monitor": "val/loss", **self._after_validation()}
            return {"optimizer": optimizer, "lr_scheduler": moved}
        by_update = {"scheduler": self._by_update(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": by_update}

    def _after_validation(self) -> dict[str, Any]:
        """When a scheduler that watches val moves: after the last batch of an epoch, because the
        epoch's checkpoint comes before Lightning's "epoch"; or after the epochs with validation."""
        every = self.trainer.check_val_every_n_epoch or 1
        if every > 1:
            return {"interval": "epoch", "frequency": every}
        return {"interval": "step", "frequency": batches_per_epoch(self.trainer)}

    def _by_update(self, optimizer: torch.optim.Optimizer) -> LambdaLR:
        """The configured function of the time in epochs, evaluated at each update."""
        factor_at = configured(self._scheduler, "scheduler")
        per_epoch = updates_per_epoch(self.trainer)
        first = self._first_epochs
        if self.trainer.max_steps != -1:
            first = min(first, math.ceil(self.trainer.max_steps / per_epoch))

        # The middle of an update: neither 0 at the first one nor past the end at the last.
        def factor(update: int) -> float:
            return float(factor_at((update + 0.5) / per_epoch, first))

        if self._second is None:
            return LambdaLR(optimizer, factor)
        second_at = configured(self._second.scheduler, "method.second_stage.scheduler")
        base = optimizer.param_groups[0]["lr"]
        times = 1.0 if self._second.lr is None else self._second.lr / base

        def factor_of_both(update: int) -> float:
            own = update - first * per_epoch
            if own < 0:
                return factor(update)
            return times * float(second_at((own + 0.5) / per_epoch, self._second_epochs))

        return LambdaLR(optimizer, factor_of_both)
