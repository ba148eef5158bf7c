"""One run from top to bottom."""

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from skewlab.config.parts import build
from skewlab.config.schema import RunConfig
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.data.plan import plan
from skewlab.data.profiles import IntArray
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset
from skewlab.distributed import ALONE, Processes, environments
from skewlab.errors import ConfigError
from skewlab.loggers.lifetime import loggers
from skewlab.preemption import StopRequest
from skewlab.probes.probe import Probe, RunFacts
from skewlab.runs import json_file as json_file
from skewlab.runs.curve_file import CurveFile, read_curves
from skewlab.runs.folder import RunFolder
from skewlab.terminal import ProgressLine, note
from skewlab.training import devices
from skewlab.training.checkpoints import Checkpoints, Durable, Resume
from skewlab.training.curves import PerClassCurves
from skewlab.training.length import planned_course
from skewlab.training.module import ImbalanceClassifier
from skewlab.training.post_hoc_rules import PostHocRules
from skewlab.training.profiling import Profiler

PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed"}


def train(
    settings: RunConfig,
    folder: RunFolder,
    label: str,
    stop: StopRequest,
    resume: Resume | None = None,
    processes: Processes = ALONE,
) -> dict[str, float]:
    """Train and evaluate one network; everything it finds is in the folder.

    Args:
        settings: the run.
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
    source, subset = plan(settings)
    if subset.ratio_moved and processes.first:
        note(
            f"{label}: the ratio becomes {subset.ratio_reached:.4g} "
            f"in whole samples: {subset.counts.tolist()}"
        )
    if processes.first:
        json_file.write(folder.path / "data.json", _describe(source, subset))
    mean, std = source.mean_and_std
    course = planned_course(settings, source, subset)
    epochs = course.epochs + course.second_epochs
    classifier = ImbalanceClassifier(
        model=settings.model,
        method=settings.method.parts,
        optimizer=settings.optimizer,
        scheduler=settings.scheduler,
        image_shape=list(source.image_shape),
        train_counts=subset.counts.tolist(),
        mean=mean,
        std=std,
        crop=settings.data.crop,
        flip=settings.data.flip,
        init_seed=settings.init_seed,
        order_seed=settings.order_seed,
        second_epochs=course.second_epochs,
        processes=processes,
        asked_to_stop=lambda: stop.reason is not None,
    )
    datamodule = ImbalancedDataModule(
        source,
        subset,
        batch_size=settings.data.batch_size,
        evaluation_batch_size=settings.curves.evaluation_batch_size,
        order_seed=settings.order_seed,
        workers=settings.data.workers,
        processes=processes,
        order=course.order,
        normalise=classifier.normalise,
        augmented=bool(settings.data.crop or settings.data.flip),
    )
    # More but shorter epochs are evaluated as often in all.
    stretch = max(1, round(course.epochs / settings.trainer.max_epochs))
    with (
        _quiet(),
        _curve_file(folder, resume, processes) as (file, before),
        loggers(settings, folder, processes) as (streams, summary),
        _placed(settings, processes) as placed,
    ):
        curves = PerClassCurves(
            settings.curves,
            subset.groups,
            source.class_names,
            file,
            stretch,
            before,
            _probes(settings, run_facts(settings, source, subset, folder.path), label),
            processes,
        )
        parts: list[tuple[str, pl.Callback]] = [
            ("curves and probes", curves),
            (
                "post-hoc rules",
                PostHocRules(settings.method.rules, subset.counts, folder.path, processes.first),
            ),
            (
                "checkpoints",
                Checkpoints(
                    folder.checkpoints,
                    curves,
                    stop,
                    processes,
                    settings.trainer.checkpoint_seconds,
                ),
            ),
        ]
        if processes.first:
            parts.insert(2, ("progress line", _Progress(curves, ProgressLine(label, epochs))))
        trainer = pl.Trainer(
            max_epochs=epochs,
            **placed,
            precision=PRECISION[settings.trainer.precision],
            deterministic=settings.trainer.deterministic,
            callbacks=(
                Profiler(folder.path, note).around(*parts)
                if settings.trainer.profile
                else [callback for _, callback in parts]
            ),
            logger=streams,
            default_root_dir=folder.path,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,  # the curves callback evaluates, val and the other splits alike
            use_distributed_sampler=False,
        )
        path = resume.path if resume else None
        began = time.monotonic()
        trainer.fit(classifier, datamodule=datamodule, ckpt_path=path, weights_only=True)
        summary.update(curves.summary)
        if processes.first:
            _say_cost(label, curves, time.monotonic() - began)
            json_file.write(folder.path / "summary.json", summary)
    return summary


@contextlib.contextmanager
def _curve_file(
    folder: RunFolder, resume: Resume | None, processes: Processes
) -> Iterator[tuple[CurveFile | None, list[dict[str, Any]]]]:
    """The curves to write to, and what an interrupted run had written up to its checkpoint."""
    if not processes.first:
        yield None, []
        return
    with CurveFile(folder.path, keep=resume.position if resume else 0) as file:
        yield file, read_curves(folder.path)[0]


@contextlib.contextmanager
def _placed(settings: RunConfig, processes: Processes) -> Iterator[dict[str, Any]]:
    """Lightning's arguments that say on which devices a run trains."""
    accelerator = devices.accelerator(settings.trainer)
    if settings.trainer.strategy == "ddp":
        yield {
            "accelerator": accelerator,
            "devices": processes.per_host,
            "num_nodes": processes.hosts,
            "strategy": "ddp",
            "plugins": [Durable(), *environments(processes)],
            # PyTorch has it for GPUs only.
            "sync_batchnorm": accelerator == "gpu",
        }
    else:
        # Whatever scheduler has started us: one process, and nobody else requeues it.
        alone = {"accelerator": accelerator, "plugins": [Durable(), LightningEnvironment()]}
        if accelerator == "cpu":
            yield {**alone, "devices": 1}
        else:
            with devices.claimed_gpu() as place:
                yield {**alone, "devices": [place]}


class _Progress(pl.Callback):
    """Shows the latest curves' recalls after each epoch."""

    def __init__(self, curves: PerClassCurves, line: ProgressLine) -> None:
        self._curves, self._line = curves, line

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._line.begin(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._line.show(trainer.current_epoch + 1, self._curves.latest)


def run_facts(settings: RunConfig, source: Source, subset: Subset, folder: Path) -> RunFacts:
    """What probes are told of a run."""

    def counts_at(ratio: float) -> IntArray:
        if settings.imbalance.counts:
            raise ConfigError(f"ratio={ratio:g}: imbalance=counts has no counts at a ratio")
        return plan(settings.model_copy(update={"ratio": ratio}))[1].counts

    return RunFacts(
        subset.counts,
        tuple(source.class_names),
        subset.majority,
        subset.minority,
        folder,
        settings.seed,
        counts_at,
    )


def _probes(settings: RunConfig, about: RunFacts, label: str) -> dict[str, Probe]:
    """The probes that are switched on, by name; what they leave out is said."""
    probes: dict[str, Probe] = {}
    for name, component in settings.curves.probes.items():
        key = f"curves.probes.{name}"
        probes[name] = build(component, about, key=key)
        if probes[name].left_out:
            note(f"{label}: {key}.{probes[name].left_out}")
    return probes


def _say_cost(label: str, curves: PerClassCurves, seconds: float) -> None:
    """What the probes took of the run's time."""
    if spent := curves.probes.seconds:
        each = ", ".join(f"{name} {taken:.1f} s" for name, taken in spent.items())
        rest = seconds - sum(spent.values())
        note(f"{label}  probes took {each}; training and curves {rest:.1f} s")


def _describe(source: Source, subset: Subset) -> dict[str, Any]:
    """What `data.json` holds."""
    return {
        "class_names": list(source.class_names),
        "train_counts": subset.counts.tolist(),
        "val_counts": np.bincount(
            source.train_labels[subset.val], minlength=len(source.class_names)
        ).tolist(),
        "test_counts": np.bincount(source.test_labels).tolist(),
        "groups": {"majority": list(subset.majority), "minority": list(subset.minority)},
        "shots": {name: list(members) for name, members in subset.shots.items()},
        "ratio": subset.ratio,
        "ratio_reached": subset.ratio_reached,
        "indices_sha256": subset.sha256(),
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's remarks on hardware and loaders, which do not fit what is done here."""
    lightning = logging.getLogger("pytorch_lightning")
    level = lightning.level
    lightning.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            yield
    finally:
        lightning.setLevel(level)
