"""The callback that evaluates every split as training goes, and tells all who listen."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor

from skewlab.config.schema import Curves
from skewlab.data.batches import Batch
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.distributed import ALONE, Processes
from skewlab.metrics.per_class import PerClassMetric
from skewlab.metrics.scores import FloatArray, evaluations, probe_scalars, scalars
from skewlab.probes.active import Probes
from skewlab.probes.outputs import Gathered
from skewlab.probes.probe import Found, Moment, Outputs, Probe
from skewlab.probes.steps import log_spaced
from skewlab.runs.curve_file import CurveFile, flat
from skewlab.runs.json_file import plain
from skewlab.terminal import logger_failed
from skewlab.training.module import ImbalanceClassifier

# The only number that may select a checkpoint: of the balanced split that is not the test set.
SELECTED_BY = "val/balanced_accuracy"
# How many the metric takes at once: its operations cost more than what they do on few.
HELD_LOGITS = 2**20


def early_steps(steps_per_epoch: int, epochs: int, points: int) -> set[int]:
    """At most `points` steps, evenly spaced on a log scale, up to the end of the first epochs."""
    return log_spaced(steps_per_epoch * epochs, points)


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
        probes: extra measurements, by name; each is a line of its own, and rows of its own.
        processes: that train together.

    Attributes:
        probes: they, at work.
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
        probes: Mapping[str, Probe] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self._settings, self._groups, self._file = settings, groups, file
        self._class_names = class_names
        self._classes = len(class_names)
        self._every_n_epochs = settings.every_n_epochs * stretch
        self._early_epochs = settings.early_epochs * stretch
        self._streamed = class_names if self._classes <= settings.streamed_classes else ()
        self._early: set[int] = set()
        self._steps_per_epoch = 1
        self.latest: dict[str, float] = {}
        self.summary: dict[str, float] = {}
        self.evaluated_epochs = 0
        self.is_best = False
        self._best: dict[str, float] = {}
        self._before = before
        self._lost: list[Logger] = []
        self._processes = processes
        self._metric = PerClassMetric(self._classes, self._classes <= settings.confusion_classes)
        self.probes = Probes(probes or {}, self._keep)
        self._found: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: all that an interrupted run needs to write the lines it would
        have written."""
        return {
            "position": self._file.position if self._file else 0,
            "latest": self.latest,
            "best": self._best,
            "evaluated_epochs": self.evaluated_epochs,
            "probes": self.probes.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.latest, self._best = state_dict["latest"], state_dict["best"]
        self.evaluated_epochs = state_dict["evaluated_epochs"]
        self.probes.load_state_dict(state_dict["probes"])

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        # Before the first batches are made: training has to pause where it is looked at.
        data = _data(trainer)
        steps = self._steps_per_epoch = data.steps_per_epoch
        early = early_steps(steps, self._early_epochs, self._settings.early_points)
        # The end of an epoch that is evaluated anyway is left to it.
        self._early = {step for step in early if step % (steps * self._every_n_epochs)}
        others = data.pauses_after
        data.pauses_after = lambda step: (
            self.probes.every_step or step in self._early or others(step)
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not trainer.global_step:
            self._evaluate(trainer, pl_module, self._settings.early_per_class)
        for row in evaluations(self._before, self._groups, self._class_names):
            self._stream(trainer, row)
        self.probes.begin(trainer.global_step, pl_module, _data(trainer))
        self._stream_found(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Iterable[Batch], batch_idx: int
    ) -> None:
        if self.probes.every_step:  # each stretch is one batch then
            (only,) = batch
            self.probes.before_step(trainer.global_step, only, pl_module)
            self._stream_found(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.probes.after_step(trainer.global_step, pl_module)
        self._stream_found(trainer)
        if trainer.global_step in self._early:
            self._evaluate(trainer, pl_module, self._settings.early_per_class)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        done, last = trainer.current_epoch + 1, trainer.max_epochs
        if done % self._every_n_epochs and done != last:
            return
        self._evaluate(trainer, pl_module, last=done == last)
        self.evaluated_epochs = done
        score = self.latest.get(SELECTED_BY, -math.inf)
        self.is_best = score > self._best.get(SELECTED_BY, -math.inf)
        if self.is_best:
            self._best = self.latest
        best = {f"val_best/{name}": value for name, value in self._best.items()}
        self.summary = {**self.latest, **best}

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self._processes.first:
            self.probes.end(_data(trainer))

    def _evaluate(
        self,
        trainer: pl.Trainer,
        module: ImbalanceClassifier,
        per_class: int | None = None,
        last: bool = False,
    ) -> None:
        step = trainer.global_step
        moment = Moment(step / self._steps_per_epoch, step, per_class is None, last)
        wanted = self.probes.wants(moment)
        splits: dict[str, dict[str, FloatArray]] = {}
        outputs: dict[str, Outputs] = {}
        module.eval()
        share_statistics(module)
        for split in _data(trainer).splits:
            splits[split], seen = self._pass(trainer, module, split, per_class, split in wanted)
            if self._file:
                self._file.append(moment.epoch, step, split, splits[split])
            if seen and (whole := seen.whole(self._processes)):
                outputs[split] = whole
        self.probes.measure(moment, outputs, module)
        module.train()
        named = scalars(splits, self._groups, self._class_names)
        self.latest = {"epoch": moment.epoch, "step": step, **named, **self._found}
        self._found = {}
        self._stream(trainer, self.latest)

    def _keep(self, probe: str, step: int, found: Found) -> None:
        """Write what a probe has found, and hold what is streamed of it."""
        found = plain(found)
        if self._file:
            self._file.append_probe(step / self._steps_per_epoch, step, probe, found)
        names = self._class_names
        self._found |= probe_scalars(probe, dict(flat(found)), self._groups, names)

    def _stream_found(self, trainer: pl.Trainer) -> None:
        """Tell the loggers what probes have found apart from an evaluation."""
        if self._found:
            step = trainer.global_step
            self._stream(
                trainer, {"epoch": step / self._steps_per_epoch, "step": step, **self._found}
            )
            self._found = {}

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
        module: ImbalanceClassifier,
        split: str,
        per_class: int | None,
        keep: bool,
    ) -> tuple[dict[str, FloatArray], Gathered | None]:
        """One clean pass over a split: metrics and, for probes, what the network makes of it."""
        metric = self._metric.to(module.device)
        metric.reset()
        seen = Gathered() if keep else None
        held: list[tuple[Tensor, Tensor]] = []
        with torch.inference_mode(), trainer.precision_plugin.val_step_context():
            for batch in _data(trainer).evaluation_batches(split, per_class, shared=True):
                images = batch.images.to(module.device, non_blocking=True)
                labels = batch.labels.to(module.device, non_blocking=True)
                logits = seen.add(module, images, labels, batch.rows) if seen else module(images)
                held.append((logits, labels))
                if len(held) * logits.numel() > HELD_LOGITS:
                    _update(metric, held)
            _update(metric, held)
            return metric.compute(), seen


def _update(metric: PerClassMetric, held: list[tuple[Tensor, Tensor]]) -> None:
    """Have the metric take several batches at once, and let go of them."""
    if held:
        logits, labels = zip(*held, strict=True)
        metric.update(torch.cat(logits), torch.cat(labels))
        held.clear()


def _data(trainer: pl.Trainer) -> ImbalancedDataModule:
    datamodule: ImbalancedDataModule = trainer.datamodule  # type: ignore[attr-defined]
    return datamodule
