"""One job of a sweep: whose turn a run is, where it starts, and how it ended."""

import errno
import math
import os
import signal
import sys
import traceback
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from skewlab import distributed
from skewlab.config import schema
from skewlab.config.schema import RunConfig
from skewlab.distributed import Processes
from skewlab.errors import ConfigError, Diverged, Preempted
from skewlab.launch import checks
from skewlab.launch.process import read_module
from skewlab.launch.sweep import plain
from skewlab.loggers import SWEEP_VARIABLE
from skewlab.preemption import STOPPED_VARIABLE, StopRequest
from skewlab.runs import curve_file, json_file
from skewlab.runs.folder import (
    DIVERGED,
    DONE,
    ENDED,
    FAILED,
    PREEMPTED,
    QUEUED,
    RunFolder,
    changes,
    provenance,
)
from skewlab.runs.identity import run_path
from skewlab.runs.lock import RunLock
from skewlab.terminal import command_lives, in_command, job_label, note

# The disk is full, a quota or a limit is reached, or it cannot be written to.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@dataclass(frozen=True)
class Job:
    """What the steps below share.

    Attributes:
        settings: the run.
        config: the same, plain, as it is written down.
        folder: where it writes.
        label: begins its lines on the terminal.
        stop: whether it has been asked to stop.
        processes: that train it together.
    """

    settings: RunConfig
    config: dict[str, Any]
    folder: RunFolder
    label: str
    stop: StopRequest
    processes: Processes


def run_job(config: DictConfig) -> float:
    """Train a job's run, unless that was done already or somebody else is at it.

    Whatever happens to it is in its folder; the next job goes on.

    Returns:
        What a search maximises: NaN where there is no result, 0 for a run that diverged.
    """
    given = plain(config)
    settings = schema.check(given)
    if STOPPED_VARIABLE in os.environ or _orphaned():
        return math.nan
    if _searches():
        checks.check_jobs([given])  # what a search makes up could not be checked before
    with StopRequest() as stop:
        processes = _processes(settings)
        folder = RunFolder(run_path(settings))
        job = Job(settings, given, folder, _label(settings), stop, processes)
        failed = not _take_turn(job)
    if failed and processes.count > 1:
        # The others would wait for this one. torchrun now stops all: not before all is said.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(1)
    if stop.signal_number is not None:
        _leave(stop)
    return float(processes.decided_by_first(lambda: _objective(job)))


def _orphaned() -> bool:
    """Whether the command that hands out the jobs is gone, and nobody would know of this one."""
    return "joblib" in str(HydraConfig.get().launcher["_target_"]) and not command_lives()


def _searches() -> bool:
    return "optuna" in str(HydraConfig.get().sweeper["_target_"])


def _processes(settings: RunConfig) -> Processes:
    if settings.trainer.strategy == "single":
        return distributed.ALONE
    from skewlab.training import devices

    return distributed.join(devices.accelerator(settings.trainer))


def _take_turn(job: Job) -> bool:
    """Train the run if it is this process's turn, and write how it ended.

    Returns:
        Whether it did not fail.
    """
    with ExitStack() as held:
        try:
            if job.processes.decided_by_first(lambda: _begin(job, held)):
                _train(job)
                _finish(job, DONE)
                if job.processes.first:
                    job.folder.drop_previous_checkpoint()
        except Diverged as error:
            note(f"{job.label} {error}: the loss is no finite number")
            _finish(job, DIVERGED, step=error.step, reason=str(error))
        except Preempted as error:
            note(f"{job.label} {error}; the same command goes on from there")
            _finish(job, PREEMPTED, reason=str(error))
        except (KeyboardInterrupt, SystemExit):  # a second Ctrl-C: at once, without a checkpoint
            job.stop.ask("interrupted")
            _finish(job, PREEMPTED, reason="interrupted")
        except ConfigError as error:  # found only in training: an image that cannot be read
            print(f"{job.label} error: {error}", file=sys.stderr)
            _finish(job, FAILED, reason=str(error))
            return False
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                reason = f"cannot write to {job.folder.path}: {error.strerror}"
                print(f"{job.label} error: {reason}; what is there stays", file=sys.stderr)
            else:
                traceback.print_exc()
                reason = traceback.format_exception_only(error)[-1].strip()
            _finish(job, FAILED, reason=reason)
            return False
    return True


def _begin(job: Job, held: ExitStack) -> bool:
    """Lock a run that has something left to train, and write that it is running.

    Args:
        job: the job.
        held: gives the lock back at its end.
    """
    if _said_ended(job):
        return False
    lock = RunLock(job.folder.path, job.stop.lose)
    if (owner := lock.take(lambda line: note(f"{job.label} {line}"))) is not None:
        note(f"{job.label} is being trained by {owner}; left to it")
        return False
    held.callback(lock.release)
    job.stop.owns = lock.held
    return not _said_ended(job)  # it may have ended while the lock was taken


def _said_ended(job: Job) -> bool:
    status = job.folder.status()
    if status.get("state") not in ENDED:
        return False
    if _searches():  # of all other jobs it was said before the first one started
        note(f"{job.label} is done already: {job.folder.path}")
    if SWEEP_VARIABLE in os.environ:  # whose agent waits for the numbers, trained now or before
        from skewlab.loggers.lifetime import retell

        retell(job.settings, job.folder)
    return True


def _train(job: Job) -> None:
    read_module("skewlab.training.run")
    from skewlab.training import checkpoints, devices
    from skewlab.training.run import train

    folder = job.folder
    interrupted = folder.state() not in (None, QUEUED)
    before = folder.status().get("provenance", {}).get("threads") if interrupted else None
    machine = devices.prepare(job.settings.trainer, before)

    def start() -> "checkpoints.Resume | None":
        resume = None
        if interrupted:
            written = curve_file.length(folder.path)
            resume = checkpoints.newest(
                folder.checkpoints, written, lambda line: note(f"{job.label} {line}")
            )
        if resume is None:
            folder.clear()
        else:
            note(f"{job.label} goes on from step {resume.step}")
            now = {**provenance(), **machine}
            if found := changes(folder.status().get("provenance", {}), now):
                note(f"{job.label} was begun with another version: {'; '.join(found)}")
        origin = {"command": _command(), **machine}
        folder.start(job.config, origin, resume.step if resume else None)
        return resume

    resume = job.processes.decided_by_first(start)
    train(job.settings, job.folder, job.label, job.stop, resume, job.processes)


def _command() -> list[str]:
    """The user's command; in a process of a launcher, one that gives this job."""
    if in_command():
        return [Path(sys.argv[0]).name, *sys.argv[1:]]
    return ["train.py", *HydraConfig.get().overrides.task]


def _finish(job: Job, state: str, **details: Any) -> None:
    """Write how the run ended; of several processes the first to fail, else the first one."""
    try:
        if job.stop.lost:
            return  # it is another process's run by now
        if job.processes.count > 1:
            if job.folder.state() == FAILED or not (job.processes.first or state == FAILED):
                return
            if state == FAILED:
                details["reason"] = f"process {job.processes.rank}: {details['reason']}"
        job.folder.finish(state, **details)
    except OSError as error:
        note(f"{job.label} its status could not be written: {error.strerror}")


def _leave(stop: StopRequest) -> None:
    """End as whoever asked for it expects."""
    if requeue := stop.requeues:
        requeue()
    if in_command():
        sys.exit(stop.exit_code)
    os.environ[STOPPED_VARIABLE] = "1"


def _objective(job: Job) -> float:
    state = job.folder.state()
    if state == DIVERGED:
        return 0.0
    try:
        value = json_file.read(job.folder.path / "summary.json")[job.settings.objective]
    except (OSError, ValueError, KeyError):
        return math.nan
    return float(value) if state == DONE and value is not None else math.nan


def _label(settings: RunConfig) -> str:
    hydra = HydraConfig.get()
    number = 0 if OmegaConf.is_missing(hydra.job, "num") else hydra.job.num  # missing alone
    words = [word.partition("=") for word in hydra.overrides.task]
    given = {key.lstrip("+"): value for key, _, value in words}
    ratio = "" if settings.ratio is None else f" ratio {settings.ratio:g}"
    return f"{job_label(number, given)}{ratio} seed {settings.seed}"
