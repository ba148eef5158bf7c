"""The callback that records the learning curves of every class, in any Lightning project."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import Metric

from skewlab.distributed import ALONE, Processes
from skewlab.metrics.scores import (
    FloatArray,
    evaluations,
    of_streamed_classes,
    probe_scalars,
    scalars,
)
from skewlab.probes.active import ActiveProbes
from skewlab.probes.outputs import Gathered
from skewlab.probes.probe import Found, Moment, Probe, SplitOutputs
from skewlab.probes.steps import log_spaced
from skewlab.runs import json_file
from skewlab.runs.curve_file import CurveFile, flat, read_curves
from skewlab.runs.predictions import write_predictions
from skewlab.training.evaluation import (
    EvaluationData,
    LoaderSplits,
    Scores,
    evaluated,
    predictions_of,
)
from skewlab.training.final_rankings import NAME as RANKINGS
from skewlab.training.final_rankings import final_rankings
from skewlab.training.length import updated
from skewlab.training.standalone import StandaloneRun

# The only number that may select a checkpoint: of the balanced split that is not the test set.
SELECTED_BY = "val/balanced_accuracy"


class PerClassCurves(pl.Callback):
    """Per-class learning curves of train, val and test.

    Evaluates before the first update, at log-spaced updates of the first epochs (both on a bounded
    number of samples a class, so that large sets stay cheap), and on every sample at the ends of
    epochs, each split in one clean pass in eval mode. Every evaluation is a line a split in
    `curves.jsonl`, a row with the same numbers on each of the trainer's loggers, and in the
    trainer's `callback_metrics`, by groups and over all classes.

    In a project of your own, `pl.Trainer(callbacks=[PerClassCurves("logs/mystudy/run1")])` needs a
    module whose `forward` gives logits, and loaders of `(inputs, labels)`. The folder then holds
    all that `report.py` reads.

    Args:
        folder: the run's folder.
        train, val, test: loaders of the splits; None for those that the trainer has. A trainer that
            fits has no test loader of its own, unless a data module gives one, and no val loader
            where the module has no `validation_step`.
        class_names: names in label order; None for the labels' numbers.
        minority: names or labels of the minority; None to tell it by the counts.
        about: what the report says of a run of your own: `seed`, and the names `data`, `model`,
            `method`, `optimizer`.
        early_epochs, early_points: how many evaluations on a log scale, over how many epochs.
        early_per_class: samples of each class and split in an early evaluation.
        every_n_epochs: how often all samples are evaluated; at the end of training in any case.
        confusion_classes: up to how many classes the confusion matrix is counted.
        streamed_classes: up to how many classes single ones are streamed to loggers.
        streamed_class_metrics: of which metrics, besides those of `metrics`.
        rankings: whether AUROC and average precision are computed, and `rankings.json` is written.
        at_precision, at_recall: of its thresholds; see `final_rankings`.
        metrics: more metrics by name, each a `torchmetrics.Metric` that takes `(logits, labels)`
            and computes a number for each class.
        record: whether to write the run's other files too, which a run of skewlab's own has
            written already.
        data: the splits, in the place of loaders.
        probes: extra measurements, by name.
        processes: that train together.

    Attributes:
        probes: they, at work.
        latest: the scalars of the last evaluation, by name.
        summary: the scalars of the last epoch, and under `val_best/` those of the epoch with the
            best balanced accuracy on val (the first of equals).
        evaluated_at: the update after which all samples were last evaluated; -1 for none.
        is_best: whether that evaluation is the best so far.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        train: Iterable[Any] | None = None,
        val: Iterable[Any] | None = None,
        test: Iterable[Any] | None = None,
        class_names: Sequence[str] | None = None,
        minority: Sequence[int | str] | None = None,
        about: Mapping[str, Any] | None = None,
        early_epochs: int = 3,
        early_points: int = 16,
        early_per_class: int = 500,
        every_n_epochs: int = 1,
        confusion_classes: int = 100,
        streamed_classes: int = 20,
        streamed_class_metrics: Sequence[str] = ("recall", "loss"),
        rankings: bool = True,
        at_precision: float = 0.9,
        at_recall: float = 0.9,
        metrics: Mapping[str, Metric] | None = None,
        record: bool = True,
        data: EvaluationData | None = None,
        probes: Mapping[str, Probe] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self._folder = Path(folder)
        self._given = {"train": train, "val": val, "test": test}
        self._class_names, self._minority, self._about = class_names, minority, about or {}
        self._early_epochs, self._early_points = early_epochs, early_points
        self._early_per_class, self._every_n_epochs = early_per_class, every_n_epochs
        self._confusion_classes, self._streamed_classes = confusion_classes, streamed_classes
        self._streamed_class_metrics = [*streamed_class_metrics, *(metrics or {})]
        self._metrics, self._rankings = metrics or {}, rankings
        self._at_precision, self._at_recall = at_precision, at_recall
        self._data: Any = data
        self._record, self._processes = record, processes
        self._alone: StandaloneRun | None = None
        self._file: CurveFile | None = None
        self._position = 0
        self._early: set[int] = set()
        self._found: dict[str, float] = {}
        self._ended = False
        self._validated: list[tuple[Tensor, Tensor]] = []
        self.probes = ActiveProbes(probes or {}, self._keep)
        self.latest: dict[str, float] = {}
        self.summary: dict[str, float] = {}
        self.evaluated_at = -1
        self.is_best = False
        self._best: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: all that an interrupted run needs to write the lines it would
        have written."""
        return {
            "position": self._file.position if self._file else self._position,
            "sha256": self._file.sha256 if self._file else "",
            "latest": self.latest,
            "best": self._best,
            "evaluated_at": self.evaluated_at,
            "probes": self.probes.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._position = state_dict["position"]
        self.latest, self._best = state_dict["latest"], state_dict["best"]
        self.evaluated_at = state_dict["evaluated_at"]
        self.probes.load_state_dict(state_dict["probes"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._data is None:
            self._data = LoaderSplits(self._loaders(trainer), self._class_names, self._minority)
            if trainer.is_global_zero and self._record:
                self._alone = StandaloneRun(self._folder, self._about)
                resumed = bool(self._position)
                streamed = {
                    "streamed_classes": self._streamed_classes,
                    "streamed_class_metrics": self._streamed_class_metrics,
                }
                self._alone.start(trainer, self._data, streamed, resumed)
        self._names, self._groups = self._data.class_names, self._data.groups
        classes = len(self._names)
        self._streams = classes <= self._streamed_classes
        self._scores = Scores(
            classes, classes <= self._confusion_classes, self._metrics, self._rankings
        )
        self._per_epoch = _updates_per_epoch(trainer)
        if math.isfinite(self._per_epoch):
            last = int(self._per_epoch) * self._early_epochs
            # The ends of epochs and of training are evaluated anyway, on every sample.
            whole = int(self._per_epoch) * self._every_n_epochs
            early = set(log_spaced(last, self._early_points)) - {trainer.max_steps}
            self._early = {step for step in early if step % whole}
        if trainer.is_global_zero:
            self._file = CurveFile(self._folder, keep=self._position)
            # Loggers are told an interrupted run again, and then hold the whole run once.
            for row in evaluations(read_curves(self._folder)[0], self._groups, self._names):
                self._stream(trainer, row)
        if not trainer.global_step:
            self._evaluate(trainer, pl_module, self._early_per_class)
        self.probes.begin(trainer.global_step, pl_module, self._data)
        self._stream_found(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.probes.every_step and batch_idx % trainer.accumulate_grad_batches == 0:
            self.probes.before_step(trainer.global_step, batch, pl_module)
            self._stream_found(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not updated(trainer, batch_idx):
            return
        if self.probes.every_step:
            self.probes.after_step(trainer.global_step, pl_module)
            self._stream_found(trainer)
        if trainer.global_step in self._early:
            self._evaluate(trainer, pl_module, self._early_per_class)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """After validation's last batch, so that early stopping and checkpoints, which come at its
        end, have the numbers. Logits that the validation step returns are not computed again."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        if isinstance(outputs, Mapping) and "logits" in outputs and self._given["val"] is None:
            self._validated.append((outputs["logits"], batch[1]))
        batches = trainer.num_val_batches
        if dataloader_idx + 1 == len(batches) and batch_idx + 1 == batches[-1]:
            self._evaluate(trainer, pl_module)
            self._validated = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Where there was no validation."""
        due = (trainer.current_epoch + 1) % self._every_n_epochs == 0
        if self.evaluated_at != trainer.global_step and (due or _is_last(trainer)):
            self._evaluate(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.evaluated_at != trainer.global_step:
            self._evaluate(trainer, pl_module, last=True)
        elif not self._ended:  # stopped early: probes are told only now that it is the end
            self._evaluate(trainer, pl_module, last=True, again=True)
        if trainer.is_global_zero and self._data is not None:
            self.probes.end(self._data)
            with evaluated(trainer, pl_module):
                self._write_predictions(trainer, pl_module)
        best = {f"val_best/{name}": value for name, value in self._best.items()}
        self.summary = {**self.latest, **best}
        if self._alone:
            self._alone.end(self.summary)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if self._alone:
            self._alone.fail(exception)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _loaders(self, trainer: pl.Trainer) -> dict[str, Iterable[Any]]:
        """The loaders of the splits: those that were given, otherwise the trainer's own."""
        found: dict[str, Any] = {"train": trainer.train_dataloader, "val": trainer.val_dataloaders}
        data = getattr(trainer, "datamodule", None)
        if self._given["test"] is None and data is not None:
            found["test"] = data.test_dataloader()
        found |= {split: loader for split, loader in self._given.items() if loader is not None}
        for split, loader in list(found.items()):
            if isinstance(loader, list) and len(loader) == 1:
                found[split] = loader[0]
            elif isinstance(loader, list | dict) and loader:
                raise ValueError(
                    f"PerClassCurves: the trainer has several loaders for {split}; give the one to "
                    f"evaluate as {split}=..."
                )
            elif not loader:
                del found[split]
        return found

    def _evaluate(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        per_class: int | None = None,
        last: bool | None = None,
        again: bool = False,
    ) -> None:
        """Evaluate every split.

        Args:
            trainer, module: that train.
            per_class: the first so many samples of each class only; None for all.
            last: whether it is the end of training; None to tell by the trainer.
            again: whether that was done already, and only probes are to look.
        """
        step = trainer.global_step
        if per_class is None:
            self._ended = last = _is_last(trainer) if last is None else last
        moment = Moment(self._epoch(trainer), step, per_class is None, bool(last))
        wanted = self.probes.wants(moment)
        if again and not wanted:
            return
        splits: dict[str, dict[str, FloatArray]] = {}
        outputs: dict[str, SplitOutputs] = {}
        with evaluated(trainer, module):
            _share_buffers(module)
            for split in self._data.splits:
                seen = Gathered() if split in wanted else None
                if split == "val" and seen is None and self._val_is_known():
                    splits[split] = self._scores.of(self._validated)
                else:
                    batches = self._data.evaluation_batches(split, per_class, shared=True)
                    splits[split] = self._scores.over(module, batches, trainer, seen)
                if self._file and not again:
                    self._file.append(moment.epoch, step, split, splits[split])
                if seen and (whole := seen.whole(self._processes)):
                    outputs[split] = whole
            self.probes.measure(moment, outputs, module)
        named = scalars(splits, self._groups, self._names)
        self.latest = {"epoch": moment.epoch, "step": step, **named, **self._found}
        self._found = {}
        self._stream(trainer, self.latest)
        if per_class is None and not again:
            self.evaluated_at = step
            score = self.latest.get(SELECTED_BY, -math.inf)
            self.is_best = score > self._best.get(SELECTED_BY, -math.inf)
            if self.is_best:
                self._best = self.latest
            self._tell_monitors(trainer)

    def _write_predictions(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """What the trained network predicts for each test sample, for the report's intervals, and
        how it ranks the samples of val and test."""
        splits = ("val", "test") if self._rankings else ("test",)
        found = {
            split: predictions_of(
                module, self._data.evaluation_batches(split), trainer, ranked=self._rankings
            )
            for split in splits
            if split in self._data.splits
        }
        if "test" in found:
            write_predictions(self._folder, found["test"].predicted, found["test"].labels)
        if self._rankings and found:
            kept = {split: one.rankings for split, one in found.items()}
            at = self._at_precision, self._at_recall
            content = final_rankings(kept, *at, self._streamed_classes)
            about = {"epoch": trainer.current_epoch, "step": trainer.global_step}
            json_file.write(self._folder / RANKINGS, {**about, **content})

    def _val_is_known(self) -> bool:
        """Whether Lightning has just validated on all of val."""
        samples = sum(len(labels) for _, labels in self._validated)
        return bool(samples) and samples == len(self._data.labels("val"))

    def _tell_monitors(self, trainer: pl.Trainer) -> None:
        """Have the numbers of groups and of all classes in `trainer.callback_metrics`. To log each
        of them to Lightning takes as long as all evaluations of a small network."""
        trainer.callback_metrics.update(
            {
                name: torch.tensor(value)
                for name, value in self.latest.items()
                if "/class/" not in name and name not in ("epoch", "step") and not math.isnan(value)
            }
        )

    def _epoch(self, trainer: pl.Trainer) -> float:
        if math.isfinite(self._per_epoch):
            return trainer.global_step / self._per_epoch
        return float(trainer.current_epoch)

    def _keep(self, probe: str, step: int, found: Found) -> None:
        """Write what a probe has found, and hold what is streamed of it."""
        found = json_file.as_json(found)
        if self._file:
            self._file.append_probe(step / self._per_epoch, step, probe, found)
        self._found |= probe_scalars(probe, dict(flat(found)), self._groups, self._names)

    def _stream_found(self, trainer: pl.Trainer) -> None:
        """Tell the loggers what probes have found apart from an evaluation."""
        if self._found:
            row = {"epoch": self._epoch(trainer), "step": trainer.global_step, **self._found}
            self._stream(trainer, row)
            self._found = {}

    def _stream(self, trainer: pl.Trainer, row: Mapping[str, float]) -> None:
        """Tell the loggers one row, at an update."""
        streamed = of_streamed_classes(row, self._streams, self._streamed_class_metrics)
        step = int(streamed.pop("step"))
        for logger in trainer.loggers:
            logger.log_metrics(streamed, step)


def _updates_per_epoch(trainer: pl.Trainer) -> float:
    """Updates of an epoch; infinity where the loader does not know its length."""
    batches = trainer.num_training_batches
    if not math.isfinite(batches):
        return math.inf
    return max(1, math.ceil(batches / trainer.accumulate_grad_batches))


def _is_last(trainer: pl.Trainer) -> bool:
    """Whether an epoch's end is also the end of training, as far as can be told."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    return (
        (epochs is not None and trainer.current_epoch + 1 == epochs)
        or (steps != -1 and trainer.global_step >= steps)
        or trainer.should_stop
    )


def _share_buffers(module: torch.nn.Module) -> None:
    """Give all processes that train together the first one's buffers, such as the running
    statistics of batch normalisation: they evaluate one network."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, src=0)
