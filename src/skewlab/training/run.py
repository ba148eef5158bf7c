"""One run from top to bottom."""

import contextlib
import math
import textwrap
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import ModelCheckpoint
from torchmetrics import Metric

from skewlab.config.parts import Part, build, offered, target_of
from skewlab.config.schema import NATURAL, RunConfig
from skewlab.data.plan import describe, plan
from skewlab.data.profiles import IntArray
from skewlab.data.recipes import build_transform
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset
from skewlab.data.transforms import mean_and_std
from skewlab.distributed import ALONE, Processes, environments
from skewlab.errors import ConfigError
from skewlab.loggers.lifetime import loggers
from skewlab.preemption import StopRequest
from skewlab.privacy import shareable
from skewlab.probes.probe import Probe, RunFacts
from skewlab.runs import json_file
from skewlab.runs.folder import LAST, RunFolder
from skewlab.terminal import ProgressLine, note
from skewlab.training import cuda_graphs, devices
from skewlab.training.checkpoints import Checkpoints, Durable, Resume, load_checkpoint
from skewlab.training.curves import PerClassCurves
from skewlab.training.divergence import EndWhenDiverged
from skewlab.training.length import Length, planned_length
from skewlab.training.module import ImbalanceClassifier
from skewlab.training.post_hoc_rules import PostHocRules


def train(
    config: RunConfig,
    folder: RunFolder,
    label: str,
    stop: StopRequest,
    resume: Resume | None = None,
    processes: Processes = ALONE,
) -> dict[str, float]:
    """Train and evaluate one network; everything it finds is in the folder.

    Args:
        config: the run.
        folder: where it writes; started by the caller, who also writes the last status.
        label: begins the progress line.
        stop: whether the run has been asked to stop.
        resume: where an interrupted run goes on.
        processes: that train it together; the first one writes.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        Diverged: the loss stopped being a number. Curves up to then are on disk.
        Preempted: it was asked to stop, and can go on from its last checkpoint.
    """
    source, subset = plan(config)
    length = planned_length(config, source, subset)
    if processes.first:
        if resume is None:  # the data of a run that goes on are those that it began with
            json_file.write(folder.path / "data.json", describe(source, subset))
        _say_counts(config, subset, label)
    module = build_module(config, source, subset, length, processes)
    datamodule = build_datamodule(config, source, subset, length, processes)
    if config.from_run is not None and resume is None:
        start_from(module, Path(config.from_run))
    with (
        _quiet(config),
        loggers(config, folder, processes) as (streams, summary),
        _placed(config, processes) as placed,
    ):
        curves = PerClassCurves(
            folder.path,
            # A data module of one's own may have loaders and nothing more.
            data=datamodule if hasattr(datamodule, "evaluation_batches") else None,
            class_names=source.class_names,
            minority=subset.minority,
            record=False,
            metrics=_metrics(config, len(source.class_names)),
            probes=_probes(config, run_facts(config, source, subset, folder.path), label),
            processes=processes,
            **_when_evaluated(config, length),
        )
        callbacks = [
            *_configured_callbacks(config, folder),
            *_cuda_graphs(config, label),
            curves,
            EndWhenDiverged(processes),
            Checkpoints(
                folder.checkpoints, curves, stop, processes, config.training.checkpoint_seconds
            ),
        ]
        if processes.first and config.method.rules:
            callbacks.append(PostHocRules(config.method.rules, subset.counts, folder.path))
        if processes.first and not config.trainer.arguments()["enable_progress_bar"]:
            line = ProgressLine(label, length.all_epochs, run=folder.path)
            callbacks.append(_Progress(curves, line))
        trainer = pl.Trainer(
            **trainer_arguments(config) | {"max_epochs": length.all_epochs} | placed,
            callbacks=callbacks,
            logger=streams,
            default_root_dir=folder.path,
        )
        for logger in trainer.loggers:
            logger.log_hyperparams(shareable(config.model_dump()))
        began = time.monotonic()
        trainer.fit(
            module,
            datamodule=datamodule,
            ckpt_path=resume.path if resume else None,
            weights_only=True,
        )
        if trainer.current_epoch < length.all_epochs and not config.trainer.arguments().get(
            "fast_dev_run"
        ):
            note(
                f"{label}: ended after epoch {trainer.current_epoch} of {length.all_epochs} "
                "(by a callback, trainer.max_steps or trainer.max_time)"
            )
        summary.update(curves.summary)
        if processes.first:
            _say_cost(label, curves, time.monotonic() - began)
            json_file.write(folder.path / "summary.json", summary)
    return summary


def _say_counts(config: RunConfig, subset: Subset, label: str) -> None:
    """What the counts are, where that is not what the configuration says."""
    counts, wanted = subset.counts, subset.imbalanced_counts
    if config.imbalance.control == "same_total" and counts.sum() < wanted.sum():
        note(
            f"{label}: control=same_total would need {wanted.sum()} samples, and the largest "
            f"balanced set that the data have is {counts.sum()}, {counts.min()} of each class"
        )
    elif config.ratio == NATURAL and config.imbalance.control == "none":
        note(
            f"{label}: the data as they are have the ratio {subset.ratio_reached:.4g}: "
            f"{counts.max()} to {counts.min()} samples a class"
        )
    elif subset.ratio_moved:
        note(
            f"{label}: the ratio becomes {subset.ratio_reached:.4g} "
            f"in whole samples: {counts.tolist()}"
        )


def build_module(
    config: RunConfig, source: Source, subset: Subset, length: Length, processes: Processes = ALONE
) -> pl.LightningModule:
    """What is trained: `module._target_`, with those of the program's arguments that it takes."""
    mean, std = mean_and_std(config.data.normalise, source)
    module: pl.LightningModule = _with_offers(
        config.module,
        "module",
        model=config.model,
        method=config.method.parts,
        optimizer=config.optimizer,
        scheduler=config.scheduler,
        input_shape=list(source.input_shape),
        kind=source.kind,
        vocabulary=source.vocabulary,
        train_counts=subset.counts.tolist(),
        mean=mean,
        std=std,
        init_seed=config.init_seed,
        order_seed=config.order_seed,
        second_epochs=length.second_epochs,
        processes=processes,
    )
    return module


def build_datamodule(
    config: RunConfig, source: Source, subset: Subset, length: Length, processes: Processes = ALONE
) -> Any:
    """What it is trained on: `datamodule._target_`, likewise."""
    return _with_offers(
        config.datamodule,
        "datamodule",
        source=source,
        subset=subset,
        batch_size=config.data.batch_size,
        evaluation_batch_size=config.curves.evaluation_batch_size,
        order_seed=config.order_seed,
        workers=config.data.workers,
        crop=config.data.crop,
        flip=config.data.flip,
        drop_last=config.data.drop_last,
        transform=build_transform(config.data.transform, source),
        rows=length.rows,
        processes=processes,
    )


def _with_offers(part: Part, key: str, **offers: Any) -> Any:
    return build(part, key=key, **offered(part, key, **offers))


def trainer_arguments(config: RunConfig) -> dict[str, Any]:
    """The configured arguments of `pl.Trainer`, parts among them built."""
    given = config.trainer.arguments()
    given.setdefault("check_val_every_n_epoch", config.curves.every_n_epochs)
    arguments: dict[str, Any] = {"plugins": []}
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        built = [
            build(one, key=f"trainer.{name}")
            if isinstance(one, dict) and "_target_" in one
            else one
            for one in values
        ]
        arguments[name] = built if isinstance(value, list) or name == "plugins" else built[0]
    return arguments


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and "_target_" in value


@contextlib.contextmanager
def _placed(config: RunConfig, processes: Processes) -> Iterator[dict[str, Any]]:
    """Lightning's arguments that say on which devices a run trains."""
    accelerator = devices.accelerator(config)
    plugins = [Durable(), *trainer_arguments(config)["plugins"]]
    if config.trainer.strategy == "ddp":
        yield {
            "accelerator": accelerator,
            "devices": processes.per_host,
            "num_nodes": processes.hosts,
            "plugins": [*plugins, *environments(processes)],
            # PyTorch has it for GPUs only.
            "sync_batchnorm": accelerator == "gpu",
        }
        return
    # Whatever scheduler has started us: one process, and nobody else requeues it.
    alone = {"accelerator": accelerator, "plugins": [*plugins, LightningEnvironment()]}
    chosen = config.trainer.arguments()["devices"]
    if accelerator == "cpu":
        yield {**alone, "devices": 1}
    elif isinstance(chosen, list):
        yield {**alone, "devices": chosen}
    else:
        with devices.claimed_gpu() as place:
            yield {**alone, "devices": [place]}


def _configured_callbacks(config: RunConfig, folder: RunFolder) -> list[pl.Callback]:
    """The callbacks of `callbacks`. Checkpoints go into the run's folder, if nowhere else."""
    found: list[pl.Callback] = []
    for name, part in (config.callbacks or {}).items():
        callback: pl.Callback = build(part, key=f"callbacks.{name}")
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
            callback = build(part, key=f"callbacks.{name}", dirpath=folder.checkpoints)
        found.append(callback)
    return found


def _cuda_graphs(config: RunConfig, label: str) -> list[pl.Callback]:
    """What records the network on a GPU, where that is wanted and possible."""
    if not config.training.cuda_graphs or devices.accelerator(config) != "gpu":
        return []

    def without(reason: str) -> None:
        note(f"{label}: training.cuda_graphs: {reason}; trained without")

    if reason := cuda_graphs.why_not(config):
        without(reason)
        return []
    return [cuda_graphs.CudaGraphs(config.data.batch_size, without)]


def _when_evaluated(config: RunConfig, length: Length) -> dict[str, Any]:
    """When curves are evaluated, and how much of them is kept. A run of more but shorter epochs is
    evaluated as often in all."""
    curves = config.curves
    longer = max(1, round(length.epochs / config.trainer.max_epochs))
    return {
        "early_epochs": curves.early_epochs * longer,
        "early_points": curves.early_points,
        "early_per_class": curves.early_per_class,
        "every_n_epochs": curves.every_n_epochs * longer,
        "confusion_classes": curves.confusion_classes,
        "streamed_classes": curves.streamed_classes,
        "streamed_class_metrics": curves.streamed_class_metrics,
        "rankings": curves.rankings,
        "at_precision": curves.at_precision,
        "at_recall": curves.at_recall,
    }


def _metrics(config: RunConfig, classes: int) -> dict[str, Metric]:
    """The metrics of `curves.metrics`, by name."""
    found: dict[str, Metric] = {}
    for name, part in config.curves.metrics.items():
        key = f"curves.metrics.{name}"
        found[name] = build(part, key=key, **offered(part, key, num_classes=classes))
    return found


def start_from(module: pl.LightningModule, run: Path) -> None:
    """Give a module the last weights of a finished run.

    Raises:
        ConfigError: the run's network is another one.
    """
    state = load_checkpoint(run / "checkpoints" / LAST)["state_dict"]
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise ConfigError(f"from_run={run}: must have the same network ({reason})") from error


def run_facts(config: RunConfig, source: Source, subset: Subset, folder: Path) -> RunFacts:
    """What probes are told of a run."""

    def counts_at(ratio: float) -> IntArray:
        if config.imbalance.counts:
            raise ConfigError(f"ratio={ratio:g}: imbalance=counts has no counts at a ratio")
        return plan(config.model_copy(update={"ratio": ratio}))[1].counts

    return RunFacts(
        subset.counts,
        tuple(source.class_names),
        subset.majority,
        subset.minority,
        folder,
        config.seed,
        counts_at,
    )


def _probes(config: RunConfig, about: RunFacts, label: str) -> dict[str, Probe]:
    """The probes that are switched on, by name; what they leave out is said."""
    probes: dict[str, Probe] = {}
    for name, part in config.curves.probes.items():
        key = f"curves.probes.{name}"
        probes[name] = build(part, about, key=key)
        if probes[name].left_out:
            note(f"{label}: {key}.{probes[name].left_out}")
    return probes


def _say_cost(label: str, curves: PerClassCurves, seconds: float) -> None:
    """What the probes took of the run's time."""
    if spent := curves.probes.seconds:
        each = ", ".join(f"{name} {taken:.1f} s" for name, taken in spent.items())
        rest = seconds - sum(spent.values())
        note(f"{label}  probes took {each}; training and curves {rest:.1f} s")


class _Progress(pl.Callback):
    """Shows which batch it is, and the latest curves' recalls after each epoch."""

    def __init__(self, curves: PerClassCurves, line: ProgressLine) -> None:
        self._curves, self._line = curves, line

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        batches = trainer.num_training_batches
        self._line.begin(trainer.current_epoch, int(batches) if math.isfinite(batches) else 1)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *which: object
    ) -> None:
        self._line.step()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._line.show(trainer.current_epoch + 1, self._curves.latest)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._line.close()


# What Lightning remarks of every run here, and that says nothing of this one.
USUAL_REMARKS = (
    *(
        ".*does not have many workers.*",
        ".*`Trainer.fit.*` requires.*",
        ".*GPU available but not.*",
    ),
    *(".*Checkpoint directory .* exists and is not empty.*", ".*in eval mode at the start.*"),
    ".*ended before the epoch ended.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*across ranks is zero.*",  # where there is no val
    ".*there was no current CUDA context.*",  # of PyTorch, at the first backward pass
)
# It is of use only where somebody logs in a training step.
LOGGING_INTERVAL = ".*smaller than the logging interval.*"


@contextlib.contextmanager
def _quiet(config: RunConfig) -> Iterator[None]:
    """Without Lightning's remarks on hardware and loaders, which do not fit what is done here."""
    own_code = config.callbacks or target_of(config.module, "module") is not ImbalanceClassifier
    with warnings.catch_warnings():
        for remark in (*USUAL_REMARKS, *(() if own_code else (LOGGING_INTERVAL,))):
            warnings.filterwarnings("ignore", message=remark)
        yield
