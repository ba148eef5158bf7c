"""A run's checkpoints: the last one, the one before it while it trains, the best one on val."""

import copy
import io
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins import TorchCheckpointIO

from skewlab.distributed import Processes
from skewlab.errors import Preempted
from skewlab.preemption import StopRequest
from skewlab.runs.folder import BEST, LAST, PREVIOUS
from skewlab.training.curves import PerClassCurves

# Where epochs are evaluated rarely, one that ends so long after the last checkpoint has one too.
SECONDS_BETWEEN = 300.0


class Durable(TorchCheckpointIO):
    """Has a checkpoint on the disk, not only in the system's memory, before it is used."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        # In memory first: an error of the disk is then an OSError that says so.
        write(_bytes(checkpoint), Path(path))


def _bytes(checkpoint: dict[str, Any]) -> memoryview:
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getbuffer()


def write(content: memoryview, path: Path) -> None:
    """Write a file and have it on the disk."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


class Checkpoints(Checkpoint):
    """Writes `last.ckpt` after evaluated epochs, keeps the one before it as `previous.ckpt`, and
    the best one so far as `val_best.ckpt`; and stops the run where it is asked to.

    Epochs that follow quickly on one another are not written each, which would take longer than to
    train a small network: the best of them is kept in memory until there is a checkpoint again.

    Lightning's own ModelCheckpoint writes its last one only when it also has a new best one. Every
    file is replaced in one move, so there is never half of one.

    Args:
        folder: where they lie.
        curves: knows when an epoch was evaluated and whether it is the best.
        stop: whether the run has been asked to stop.
        processes: that train together, and must stop together.
        least_seconds: between two checkpoints of a process that trains alone, but for the last one.
    """

    def __init__(
        self,
        folder: Path,
        curves: PerClassCurves,
        stop: StopRequest,
        processes: Processes,
        least_seconds: float,
    ) -> None:
        self._folder, self._curves = folder, curves
        self._stop, self._processes = stop, processes
        self._least_seconds = least_seconds
        self._best: dict[str, Any] | None = None
        self._written = time.monotonic()
        self._ended = False

    def state_dict(self) -> dict[str, Any]:
        """Whether nothing is left to train: a run killed after its last epoch, before it was done,
        goes on from the checkpoint before."""
        return {"ended": self._ended}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning has handlers of its own by now: on SIGTERM they end without a checkpoint, and
        # where several processes train together they wait for one another inside the handler.
        self._stop.listen()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any
    ) -> None:
        # At the end of an epoch its evaluation comes first.
        steps: int = trainer.datamodule.steps_per_epoch  # type: ignore[attr-defined]
        if trainer.global_step % steps and self._asked():
            # It takes a stretch that was cut short for a whole one, perhaps the epoch's last.
            trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = False
            self._write(trainer)
            self._stop_here(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._ended = trainer.current_epoch + 1 == trainer.max_epochs
        evaluated = self._curves.evaluated_epochs == trainer.current_epoch + 1
        since = time.monotonic() - self._written
        overdue = self._processes.any(since > SECONDS_BETWEEN)
        asked = not self._ended and self._asked()
        if evaluated and self._curves.is_best:
            self._best = None
            if not self._due(since) and not asked:
                self._best = copy.deepcopy(trainer._checkpoint_connector.dump_checkpoint())
        if (evaluated and self._due(since)) or asked or overdue:
            self._write(trainer, best=evaluated and self._curves.is_best)
        if asked:
            self._stop_here(trainer)

    def _due(self, since: float) -> bool:
        # Several processes do not agree on the time.
        return self._ended or self._processes.count > 1 or since >= self._least_seconds

    def _asked(self) -> bool:
        return self._processes.any(self._stop.reason is not None)

    def _stop_here(self, trainer: pl.Trainer) -> None:
        raise Preempted(self._stop.reason or "stopped with another process", trainer.global_step)

    def _write(self, trainer: pl.Trainer, best: bool = False) -> None:
        """Write a checkpoint.

        Args:
            trainer: says of what.
            best: whether it is the best so far; otherwise one that was kept in memory may be.
        """
        if self._processes.any(self._stop.lost):
            raise Preempted(str(self._stop.reason), trainer.global_step)
        beside, best_beside = self._folder / f".{LAST}", self._folder / f".{BEST}"
        try:
            trainer.save_checkpoint(beside)  # a part for every process to play
            if self._processes.first:
                # The best one first: killed in between, the same epoch is trained and judged again.
                if best:
                    shutil.copyfile(beside, best_beside)
                elif self._best is not None:
                    write(_bytes(self._best), best_beside)
                if best or self._best is not None:
                    best_beside.replace(self._folder / BEST)
                if (self._folder / LAST).exists():
                    (self._folder / LAST).replace(self._folder / PREVIOUS)
                beside.replace(self._folder / LAST)
        except OSError:  # half of one would only keep the disk full
            beside.unlink(missing_ok=True)
            best_beside.unlink(missing_ok=True)
            raise
        self._best = None
        self._written = time.monotonic()


@dataclass(frozen=True)
class Resume:
    """Where an interrupted run goes on.

    Attributes:
        path: the checkpoint.
        step: training steps done.
        position: bytes of `curves.jsonl` that had been written.
        ended: whether nothing is left to train.
    """

    path: Path
    step: int
    position: int
    ended: bool


def newest(folder: Path, curve_bytes: int, say: Callable[[str], None]) -> Resume | None:
    """The last checkpoint that is whole and has something left to train, or None.

    Args:
        folder: where they lie.
        curve_bytes: the length of the curves on disk, which must reach as far as the checkpoint.
        say: told why one is not used.
    """
    for name in (LAST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            resume = _read(path)
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            say(f"{name} is damaged ({type(error).__name__}); going back to the one before it")
            continue
        if resume.position > curve_bytes:
            say(f"{name} is ahead of curves.jsonl, which was cut; going back to the one before it")
        elif not resume.ended:
            return resume
    return None


def _read(path: Path) -> Resume:
    with zipfile.ZipFile(path) as archive:
        if (broken := archive.testzip()) is not None:
            raise ValueError(f"{broken} is not what was written")
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    loops = checkpoint["loops"]["fit_loop"]
    steps = loops["epoch_loop.manual_optimization.optim_step_progress"]["total"]["completed"]
    if steps != checkpoint["global_step"]:
        raise ValueError("of a version that counted steps otherwise")
    states = checkpoint["callbacks"]
    position = states[PerClassCurves.__qualname__]["position"]
    ended = states[Checkpoints.__qualname__]["ended"]
    return Resume(path, int(checkpoint["global_step"]), int(position), bool(ended))
