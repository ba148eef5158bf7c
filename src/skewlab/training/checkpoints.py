"""A run's checkpoints: the last one, the one before it while it trains, the best one on val."""

import io
import os
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
from pytorch_lightning.trainer.states import TrainerFn

from skewlab.distributed import Processes
from skewlab.errors import Damaged, Preempted
from skewlab.preemption import StopRequest
from skewlab.runs.curve_file import begins_with
from skewlab.runs.folder import BEST, LAST, PREVIOUS
from skewlab.runs.reading import read_bytes, sha256
from skewlab.training.curves import PerClassCurves
from skewlab.training.length import updated

# Where epochs are evaluated rarely, one that ends so long after the last checkpoint has one too.
SECONDS_BETWEEN = 300.0


class Durable(TorchCheckpointIO):
    """Has a checkpoint on the disk, not only in the system's memory, before it is used."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        # In memory first: an error of the disk is then an OSError that says so.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())


class Checkpoints(Checkpoint):
    """Writes `last.ckpt` after evaluated epochs, keeps the one before it as `previous.ckpt`, writes
    the best one so far as `val_best.ckpt`, and stops the run where it is asked to.

    A last checkpoint is not written for every one of several short epochs, which would take longer
    than to train a small network; a best one is, whenever there is one.

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
        self._written = time.monotonic()
        self._ended = False
        self._best = ""
        self._best_at = -1

    def state_dict(self) -> dict[str, Any]:
        """Whether nothing is left to train: a run killed after its last epoch, before it was done,
        goes on from the checkpoint before. And the run, and the digest of its best one so far."""
        return {"run": self._folder.parent.name, "ended": self._ended, "best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._best = state_dict["best"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning has handlers of its own by now: on SIGTERM they end without a checkpoint, and
        # where several processes train together they wait for one another inside the handler.
        self._stop.listen()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Gathered gradients are not kept. Where an evaluation is due, it comes first: at the end of
        # an epoch, at the end of training, and where Lightning validates within an epoch.
        ends = trainer.is_last_batch or trainer.global_step == trainer.max_steps
        waits = ends or _validates(trainer, batch_idx)
        if updated(trainer, batch_idx) and not waits and self._asked():
            self._write(trainer, LAST)
            self._stop_here(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning may validate within an epoch too (`trainer.val_check_interval`)."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._write_best(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning goes on after a request to stop that comes before the least epochs and steps.
        enough = trainer.current_epoch + 1 >= (trainer.min_epochs or 0)
        enough &= trainer.global_step >= (trainer.min_steps or 0)
        self._ended = trainer.should_stop and enough
        self._ended |= trainer.current_epoch + 1 == trainer.max_epochs
        self._ended |= trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
        evaluated = self._curves.evaluated_at == trainer.global_step
        since = time.monotonic() - self._written
        overdue = self._processes.any(since > SECONDS_BETWEEN)
        asked = not self._ended and self._asked()
        # The best one first: killed in between, the same epoch is trained and judged again.
        self._write_best(trainer)
        if (evaluated and self._due(since)) or asked or overdue:
            self._write(trainer, LAST)
        if asked:
            self._stop_here(trainer)

    def _write_best(self, trainer: pl.Trainer) -> None:
        """Write the network that was just evaluated, if it is the best one and not yet written."""
        step = trainer.global_step
        if self._curves.is_best and self._curves.evaluated_at == step != self._best_at:
            self._best_at = step
            self._write(trainer, BEST)

    def _due(self, since: float) -> bool:
        # Several processes do not agree on the time.
        return self._ended or self._processes.count > 1 or since >= self._least_seconds

    def _asked(self) -> bool:
        return self._processes.any(self._stop.reason is not None)

    def _stop_here(self, trainer: pl.Trainer) -> None:
        raise Preempted(self._stop.reason or "stopped with another process", trainer.global_step)

    def _write(self, trainer: pl.Trainer, name: str) -> None:
        """Write a checkpoint beside its name, and move it there."""
        if getattr(trainer, "fast_dev_run", False):  # leaves nothing behind
            return
        if self._processes.any(self._stop.lost):
            raise Preempted(str(self._stop.reason), trainer.global_step)
        beside, path = self._folder / f".{name}", self._folder / name
        try:
            trainer.save_checkpoint(beside, weights_only=False)  # every process has a part in it
            if self._processes.first:
                if name == LAST and path.exists():
                    path.replace(self._folder / PREVIOUS)
                beside.replace(path)
                if name == BEST:
                    self._best = sha256(path)
        except OSError:  # half of one would only keep the disk full
            beside.unlink(missing_ok=True)
            raise
        if name == LAST:
            self._written = time.monotonic()


def _validates(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether Lightning validates after a batch; a run that goes on from there would not."""
    every = trainer.val_check_batch  # None where it goes by the clock
    if every is None or not trainer.num_val_batches:
        return False
    if trainer.check_val_every_n_epoch is None:
        batch_idx = trainer.fit_loop.total_batch_idx
    return (batch_idx + 1) % every == 0


@dataclass(frozen=True)
class Resume:
    """Where an interrupted run goes on.

    Attributes:
        path: the checkpoint.
        step: updates done.
        position, sha256: bytes of `curves.jsonl` that had been written, and their digest.
        best: the digest of the best checkpoint so far; empty where there was none.
        ended: whether nothing is left to train.
    """

    path: Path
    step: int
    position: int
    sha256: str
    best: str
    ended: bool


def newest(run: Path, say: Callable[[str], None]) -> Resume | None:
    """The last checkpoint that is whole and has something left to train, or None.

    Args:
        run: its folder. The curves on disk must begin with those that the checkpoint knows of.
        say: told why one is not used.

    Raises:
        Damaged: there are checkpoints, and none of them can be used.
    """
    unusable = None
    for name in (LAST, PREVIOUS):
        path = run / "checkpoints" / name
        if not os.path.lexists(path):
            continue
        try:
            resume = _read(path)
        except Exception as error:  # whatever is wrong with it
            unusable = f"is damaged ({type(error).__name__})"
        else:
            if resume.ended:
                unusable = unusable or "is of the end"
                continue
            if not begins_with(run, resume.position, resume.sha256):
                unusable = "knows of other curves than those in curves.jsonl"
            elif not _has_best(run, resume):
                unusable = f"knows of another {BEST}"
            else:
                return resume
        say(f"{name} {unusable}; going back to the one before it")
    if unusable:
        raise Damaged(run / "checkpoints", "holds no checkpoint to go on from")
    return None


def _has_best(run: Path, resume: Resume) -> bool:
    """Whether the best checkpoint is the one that was the best, or a better one that was written
    just before the process was killed."""
    path = run / "checkpoints" / BEST
    if not resume.best:
        return True
    try:
        if sha256(path) == resume.best:
            return True
        found = load_checkpoint(path)
        own = found["callbacks"][Checkpoints.__qualname__]["run"] == run.name
        return own and int(found["global_step"]) > resume.step
    except Exception:  # whatever is wrong with it
        return False


def _read(path: Path) -> Resume:
    checkpoint = load_checkpoint(path)
    states = checkpoint["callbacks"]
    curves = states[PerClassCurves.__qualname__]
    of_these = states[Checkpoints.__qualname__]
    ended = bool(of_these["ended"])
    step, position = int(checkpoint["global_step"]), int(curves["position"])
    return Resume(path, step, position, str(curves["sha256"]), str(of_these["best"]), ended)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, on the CPU, every byte of it checked.

    Raises:
        ValueError: it is not what was written. Damaged files raise other errors too.
    """
    content = io.BytesIO(read_bytes(path))
    with zipfile.ZipFile(content) as archive:
        if (broken := archive.testzip()) is not None:
            raise ValueError(f"{path}: {broken} is not what was written")
    content.seek(0)
    checkpoint: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
    return checkpoint
