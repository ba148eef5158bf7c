"""One job of a sweep: whose turn a run is, where it starts, and how it ended."""

import contextlib
import hashlib
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
from skewlab.config.schema import RunConfig, checked
from skewlab.data.plan import plan
from skewlab.distributed import Processes
from skewlab.errors import DISK_ERRORS, ConfigError, Damaged, Diverged, Preempted
from skewlab.launch import checks
from skewlab.launch.standing import check_data, is_done
from skewlab.launch.sweep import resolved
from skewlab.loggers import SWEEP_VARIABLE
from skewlab.preemption import STOPPED_VARIABLE, StopRequest
from skewlab.runs.folder import DIVERGED, DONE, FAILED, LAST, PREEMPTED, RunFolder
from skewlab.runs.identity import run_path
from skewlab.runs.lock import RunLock
from skewlab.runs.provenance import changes, provenance, targets_in
from skewlab.runs.reading import read_config, read_numbers
from skewlab.terminal import command_lives, in_command, is_left_out, job_label, log_file, note

# What helps a run that a GPU has no room for.
LESS_MEMORY = (
    "train fewer at a time on it (hydra.launcher.n_jobs) by the same command, or set "
    "data.batch_size or curves.evaluation_batch_size lower"
)


@dataclass(frozen=True)
class Job:
    """What the steps below share.

    Attributes:
        run: its configuration, checked.
        given: the same as it is written down.
        folder: where it writes.
        label: begins its lines on the terminal.
        stop: whether it has been asked to stop.
        processes: that train it together.
        lock: the right to train it.
    """

    run: RunConfig
    given: dict[str, Any]
    folder: RunFolder
    label: str
    stop: StopRequest
    processes: Processes
    lock: RunLock


def run_job(config: DictConfig) -> float:
    """Train a job's run, unless that was done already or somebody else is at it.

    Whatever happens to it is in its folder; the next job goes on.

    Returns:
        What a search maximises: NaN where there is no result, 0 for a run that diverged.
    """
    given = resolved(config)
    run = checked(given)
    _end_if_orphaned()
    if STOPPED_VARIABLE in os.environ:
        return math.nan
    if is_left_out(run_path(run).name):
        return math.nan
    if _searches():
        # What a search makes up could not be checked before.
        for reason in checks.check_jobs([given], searches=True).refused.values():
            note(f"error: {reason}")
            return math.nan
    with StopRequest() as stop:
        processes = _processes(run)
        folder = RunFolder(run_path(run))
        lock = RunLock(folder.path, stop.lose)
        job = Job(run, given, folder, _label(run), stop, processes, lock)
        failed = not _take_turn(job)
    if failed and processes.count > 1:
        # The others would wait for this one. torchrun now stops all: not before all is said.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(1)
    _end_if_orphaned()
    if stop.signal_number is not None:
        _leave(stop)
    return float(processes.decided_by_first(lambda: _objective(job)))


def _end_if_orphaned() -> None:
    """End a worker whose command is gone. Nobody would know of its next job, and joblib would wait
    for ever for somebody to take its result."""
    if "joblib" in str(HydraConfig.get().launcher["_target_"]) and not command_lives():
        os._exit(1)


def _searches() -> bool:
    return "optuna" in str(HydraConfig.get().sweeper["_target_"])


def _processes(run: RunConfig) -> Processes:
    if run.trainer.strategy != "ddp":
        return distributed.ALONE
    from skewlab.training import devices

    return distributed.join(devices.accelerator(run))


def _take_turn(job: Job) -> bool:
    """Train the run if it is this process's turn, and write how it ended.

    Returns:
        Whether it did not fail.
    """
    with ExitStack() as held:
        held.callback(job.lock.release)
        try:
            if job.processes.decided_by_first(lambda: _begin(job)):
                _train(job)
                _finish(job, DONE)
                if job.processes.first:
                    _tidy(job)
        except Damaged as damage:  # what the folder holds is not known, so it stays as it is
            note(f"{job.label} error: {damage}")
            note(f"{job.label} nothing in {job.folder.path} was changed")
            return False
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
            note(f"{job.label} error: {error}")
            _finish(job, FAILED, reason=str(error))
            return False
        except Exception as error:
            if isinstance(error, OSError) and _of_its_folder(error, job.folder.path):
                reason = f"cannot write to {job.folder.path}: {error.strerror}"
                note(f"{job.label} error: {reason}; what is there stays")
            elif _out_of_memory(error):
                reason = "the GPU is out of memory"
                note(f"{job.label} error: {reason}; {LESS_MEMORY}")
            else:
                note(traceback.format_exc().rstrip())
                reason = traceback.format_exception_only(error)[-1].strip()
            _finish(job, FAILED, reason=reason)
            return False
    return True


def _of_its_folder(error: OSError, folder: Path) -> bool:
    """Whether the disk is full, or the run's folder cannot be used: no mistake of the program's."""
    named = error.filename is not None and folder.name in Path(str(error.filename)).parts
    return named or error.errno in DISK_ERRORS


def _out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError)


def _begin(job: Job) -> bool:
    """Lock a run that has something left to train.

    Raises:
        Damaged: a file of the run is not what skewlab wrote.
    """
    if _said_done(job):
        # A process that was killed could not do so. One that diverged replaces nothing.
        left = job.folder.state() == DONE and job.folder.set_aside_before()
        if left and job.lock.take() is None and job.folder.state() == DONE:
            _tidy(job)
        return False
    if (owner := job.lock.take(lambda line: note(f"{job.label} {line}"))) is not None:
        note(f"{job.label} is being trained by {owner}; left to it")
        return False
    job.stop.owns = job.lock.held
    return not _said_done(job)  # it may have ended while the lock was taken


def _tidy(job: Job) -> None:
    """Remove what only an unfinished run needs. What goes wrong here costs no result."""
    try:
        job.folder.drop_previous_checkpoint()
        job.folder.drop_set_aside()
    except OSError as error:
        note(f"{job.label} is done; what was there before could not be removed: {error}")


def _said_done(job: Job) -> bool:
    if not is_done(job.folder, job.run):
        return False
    if _searches():  # of all other jobs it was said before the first one started
        note(f"{job.label} is done already: {job.folder.path}")
    if SWEEP_VARIABLE in os.environ:  # whose agent waits for the numbers, trained now or before
        from skewlab.loggers.lifetime import retell

        retell(job.run, job.folder)
    return True


def _train(job: Job) -> None:
    from skewlab.training import checkpoints, devices
    from skewlab.training.run import train

    folder, targets = job.folder, targets_in(job.given)
    status = folder.status()
    threads = status.get("provenance", {}).get("threads")
    machine = devices.prepare(
        job.run, threads if isinstance(threads, int) and threads > 0 else None
    )

    def start() -> "checkpoints.Resume | None":
        resume = None
        if status:
            check_data(folder.path, *plan(job.run))
            try:
                resume = checkpoints.newest(folder.path, lambda line: note(f"{job.label} {line}"))
            except Damaged as damage:
                note(f"{job.label} {damage.reason}: it trains from the start")
                _set_aside(job)
        if resume is None:
            folder.clear()
        else:
            note(f"{job.label} goes on from step {resume.step}")
            now = {**provenance(targets), **machine}
            if found := changes(folder.status().get("provenance", {}), now):
                note(f"{job.label} was begun with another version: {'; '.join(found)}")
        if resume is None and (shorter := _same_but_shorter(job)):
            note(
                f"{job.label} trains from the start: a run of another length is another run; "
                f"from_run={shorter} would start from the weights of one that is done"
            )
        origin = {**provenance(targets), "command": _command(), **machine, **_start(job.run)}
        folder.start(job.given, origin, resume.step if resume else None)
        return resume

    resume = job.processes.decided_by_first(start)
    with log_file(folder.path / "run.log", bool(HydraConfig.get().verbose)):
        train(job.run, folder, job.label, job.stop, resume, job.processes)


def _set_aside(job: Job) -> None:
    """Give the folder another name, which takes the lock along, and lock the new one."""
    job.lock.release()
    aside = job.folder.set_aside()
    if (owner := job.lock.take()) is not None:
        raise Damaged(job.folder.path, f"is being trained by {owner} now")
    note(f"{job.label} what was there is in {aside} until the run is done")


def _same_but_shorter(job: Job) -> Path | None:
    """A finished run of the study that has fewer epochs and differs in nothing else."""

    def but_for_length(run: RunConfig) -> dict[str, Any]:
        kept = run.scientific()
        kept["trainer"].pop("max_epochs")
        return kept

    alike = job.folder.name.rpartition("-")[0]
    for path in sorted(job.folder.path.parent.glob(f"{alike}-*")):
        if path != job.folder.path:
            with contextlib.suppress(ConfigError):  # it is no run, or a damaged one
                if RunFolder(path).state() == DONE:
                    other = checked(read_config(path)[0])
                    shorter = other.trainer.max_epochs < job.run.trainer.max_epochs
                    if shorter and but_for_length(other) == but_for_length(job.run):
                        return path
    return None


def _start(run: RunConfig) -> dict[str, Any]:
    """Which weights a run starts from, where they are another's: that run, and their digest."""
    if run.from_run is None:
        return {}
    weights = (RunFolder(Path(run.from_run)).checkpoints / LAST).read_bytes()
    return {"from_run": {"run": run.from_run, "sha256": hashlib.sha256(weights).hexdigest()}}


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
    except Damaged as damage:
        note(f"{job.label} its status could not be written: {damage}")


def _leave(stop: StopRequest) -> None:
    """End as whoever asked for it expects."""
    if requeue := stop.requeues:
        requeue()
    if in_command():
        sys.exit(stop.exit_code)
    os.environ[STOPPED_VARIABLE] = "1"


def _objective(job: Job) -> float:
    try:
        state = job.folder.state()
        if state == DIVERGED:
            return 0.0
        found = read_numbers(job.folder.path / "summary.json").get(job.run.objective, math.nan)
    except Damaged:
        return math.nan
    return found if state == DONE else math.nan


def _label(run: RunConfig) -> str:
    hydra = HydraConfig.get()
    number = 0 if OmegaConf.is_missing(hydra.job, "num") else hydra.job.num  # missing alone
    words = [word.partition("=") for word in hydra.overrides.task]
    given = {key.lstrip("+"): value for key, _, value in words}
    ratio = run.ratio_label.replace("ratio", "ratio ")
    return f"{job_label(number, given)} {ratio} seed {run.seed}"
