"""Runs the real program, and breaks it where a test asks: a line of JSON on standard input for each
run, as `program.forked` sends them. A fault that comes at a batch can be given another one:
`sigterm@7`.

Each run gets a process of its own, forked from this one once everything is imported. What happens
to the process is real: it kills itself with SIGKILL, is sent a signal, or finds the disk full.
"""

import atexit
import gc
import json
import os
import resource
import runpy
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from skewlab.data import sources
from skewlab.report import sweep_summary
from skewlab.runs.curve_file import CurveFile
from skewlab.runs.folder import RunFolder
from skewlab.runs.lock import RunLock
from skewlab.training import checkpoints
from skewlab.training.module import ImbalanceClassifier


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, act: Callable[..., None]) -> None:
    """Have something happen each time before a function is called."""
    original = getattr(owner, name)

    def replaced(*arguments: Any, **keywords: Any) -> Any:
        act(*arguments, **keywords)
        return original(*arguments, **keywords)

    setattr(owner, name, replaced)


def at_call(number: int, act: Callable[[], None]) -> Callable[..., None]:
    """Something that happens at one call of many, counted from 1."""
    calls = iter(range(1, 10**9))
    return lambda *arguments, **keywords: act() if next(calls) == number else None


def between_batches(batch: int = 8) -> None:
    """Before a batch is trained on, counted from 1."""
    before(ImbalanceClassifier, "training_step", at_call(batch, die))


def in_an_evaluation() -> None:
    """One split of three is on disk."""
    before(CurveFile, "append", at_call(23, die))


def in_a_line() -> None:
    """Half a line of the curves is on disk."""

    def half(self: CurveFile, *arguments: Any) -> None:
        self._file.write(b'{"epoch":2.0,"step":')
        self._file.flush()
        die()

    calls = iter(range(1, 10**9))
    before(CurveFile, "append", lambda *a: half(*a) if next(calls) == 26 else None)


def at_checkpoint(name: str, number: int, act: Callable[[dict[str, Any], Path], None]) -> None:
    """Have something happen before one of the checkpoints of a name is written."""
    calls = iter(range(1, 10**9))

    def count(
        writer: Any, checkpoint: dict[str, Any], path: Path, storage_options: Any = None
    ) -> None:
        if path.name.endswith(name) and next(calls) == number:
            act(checkpoint, path)

    before(checkpoints.Durable, "save_checkpoint", count)


def die_halfway(checkpoint: dict[str, Any], path: Path) -> None:
    torch.save(checkpoint, path)
    os.truncate(path, path.stat().st_size // 2)
    die()


def in_a_checkpoint() -> None:
    """Half a checkpoint is written, beside the last one."""
    at_checkpoint("last.ckpt", 3, die_halfway)


def in_the_best_checkpoint() -> None:
    """Half of it is written, beside the best one before; it comes before the last one."""
    at_checkpoint("val_best.ckpt", 2, die_halfway)


def between_checkpoints() -> None:
    """The last one is the one before it already, and the new one not yet the last."""
    original = Path.replace
    calls = iter(range(1, 10**9))

    def replace(self: Path, target: Path) -> Path:
        if Path(target).name == "last.ckpt" and next(calls) == 3:
            die()
        return original(self, target)

    Path.replace = replace  # type: ignore[method-assign, assignment]


def before_it_is_done() -> None:
    """Everything is trained and written, but for the status."""
    before(RunFolder, "finish", at_call(1, die))


def at_the_start() -> None:
    """The folder is there, the configuration is not."""
    before(RunFolder, "start", at_call(1, die))


def sigterm(batch: int = 8) -> None:
    """While a batch is trained on; this one is in the middle of an epoch."""
    before(
        ImbalanceClassifier,
        "training_step",
        at_call(batch, lambda: os.kill(os.getpid(), signal.SIGTERM)),
    )


def sigterm_at_an_epochs_end() -> None:
    sigterm(batch=6)


def ctrl_c() -> None:
    before(
        ImbalanceClassifier,
        "training_step",
        at_call(4, lambda: os.kill(os.getpid(), signal.SIGINT)),
    )


def ctrl_c_twice() -> None:
    """The second one does not wait for the end of the batch."""

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    before(ImbalanceClassifier, "training_step", at_call(8, twice))


def robbed() -> None:
    """Another machine takes the lock, as from a process that was paused for long."""

    def rob() -> None:
        logs = next(word for word in sys.argv if word.startswith("logs_dir="))
        (lock,) = Path(logs.partition("=")[2]).glob("*/*/lock")
        record = lock.read_text().splitlines()
        lock.unlink()
        lock.write_text(
            "".join(
                f"{'host=elsewhere' if line.startswith('host=') else line}\n" for line in record
            )
        )

    before(ImbalanceClassifier, "training_step", at_call(8, rob))
    without_report()


def removed() -> None:
    """Somebody removes the whole study."""

    def remove() -> None:
        logs = next(word for word in sys.argv if word.startswith("logs_dir="))
        shutil.rmtree(logs.partition("=")[2])

    before(ImbalanceClassifier, "training_step", at_call(3, remove))
    without_report()


def full_disk() -> None:
    """No file may grow any more from the third checkpoint on, as with a full disk or a quota; the
    status, a kilobyte or more, can still be written."""

    def full(checkpoint: dict[str, Any], path: Path) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    at_checkpoint("last.ckpt", 3, full)
    without_report()


def starved() -> None:
    """From its fifth step on a run can have no more memory than it has."""

    def starve() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, resource.RLIM_INFINITY))

    def feed() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    before(ImbalanceClassifier, "on_train_batch_start", at_call(5, starve))
    # The next job takes its lock first, which starts a thread.
    before(RunLock, "take", lambda *a: feed())
    before(ImbalanceClassifier, "training_step", lambda *a: torch.zeros(2**26))
    without_report()


def none() -> None:
    """Nothing breaks."""


def nothing() -> None:
    """Nothing breaks, and there is no report."""
    without_report()


def without_report() -> None:
    """The report is another test's, and takes longest."""
    sweep_summary._report = lambda *given: None


def become(
    arguments: list[str], environment: dict[str, str], said: str, seconds: int, program: str
) -> None:
    """Have this process be `python PROGRAM ARGUMENTS`, started by somebody else.

    Args:
        arguments: of the command line.
        environment: its variables.
        said: where standard output and error go: the beginning of two paths.
        seconds: until it is killed, if it has not ended by itself.
        program: which one.
    """
    signal.alarm(seconds)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for stream, name in ((1, "out"), (2, "err")):
        file = os.open(f"{said}.{name}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(file, stream)
    sys.argv = [program, *arguments]


_code = 1


def run() -> None:
    """Run the program, and keep its exit code for `leave`."""
    global _code
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        _code = 0
    except SystemExit as end:
        _code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


def leave() -> None:
    """The last thing that a process does: to take the interpreter apart would copy every page that
    it shares with the others."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_code)


def main() -> None:
    """Answer each line with how the process ended: its code or minus the signal."""
    for line in sys.stdin:
        request = json.loads(line)
        name, _, batch = request.pop("fault").partition("@")
        fault = globals()[name]
        child = os.fork()
        if child == 0:
            become(**request)
            fault(*map(int, batch.split()))
            run()
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    # Loaded once: the processes find it in memory.
    sources.load({"_target_": "skewlab.data.sources.mnist5k", "data_dir": "data"})
    atexit.register(leave)  # the first that is registered is called last
    # A collection in a forked process would copy every page of this one.
    gc.freeze()
    main()
    _code = 0
