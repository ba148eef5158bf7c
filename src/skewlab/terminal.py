"""What a run says on the terminal: one line that rewrites itself."""

import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TextIO

# Set by the command line for every process of a sweep: how many jobs it has.
JOBS_VARIABLE = "SKEWLAB_JOBS"
# Set with it: the keys that differ between its jobs.
SWEPT_VARIABLE = "SKEWLAB_SWEPT"
# Set with it: the process that was started by the user's command.
COMMAND_VARIABLE = "SKEWLAB_COMMAND"
# Every job's label has them.
IN_LABEL = ("ratio", "seed")
# Lines a run prints where nothing can be rewritten, in a file or a CI log.
LINES_WITHOUT_TERMINAL = 5


_silent = False


def announce(jobs: int, swept: Iterable[str] = ()) -> None:
    """Tell the processes of a sweep how many jobs there are, in which keys they differ, and which
    process launches them."""
    os.environ[JOBS_VARIABLE] = str(jobs)
    os.environ[SWEPT_VARIABLE] = ",".join(dict.fromkeys(swept))
    os.environ[COMMAND_VARIABLE] = str(os.getpid())


def in_command() -> bool:
    """Whether this is the process that the user started, not one that a launcher did."""
    return os.environ.get(COMMAND_VARIABLE) == str(os.getpid())


def command_lives() -> bool:
    """Whether the process that the user started is still there; asked on the same machine."""
    if os.name != "posix":  # elsewhere to ask would be to kill
        return True
    try:
        os.kill(int(os.environ.get(COMMAND_VARIABLE, os.getpid())), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def silence() -> None:
    """Say nothing more: of several processes that train together the first one speaks."""
    global _silent
    _silent = True


def note(text: str) -> None:
    """A line the user should see that is no result."""
    if not _silent:
        sys.stderr.write(f"{text}\n")  # in one piece: other processes write there too
        sys.stderr.flush()


def logger_failed(logger: str, error: Exception) -> None:
    """Say that a logger has failed, which costs no job, and what of the run is safe."""
    reason = " ".join(str(error).split()) or type(error).__name__
    note(f"{logger} failed: {reason}; the run goes on without it, its curves are on disk")


def job_label(number: int, given: Mapping[str, str]) -> str:
    """`[2/9] method focal lr 0.1`: this job of how many, and what else than its ratio and seed,
    which every label has, makes it another one.

    Args:
        number: from 0.
        given: the job's values by key, as they stand on the command line.
    """
    swept = [key for key in os.environ.get(SWEPT_VARIABLE, "").split(",") if key in given]
    words = [f" {re.split('[./]', key)[-1]} {given[key]}" for key in swept if key not in IN_LABEL]
    return f"[{number + 1}/{os.environ.get(JOBS_VARIABLE, '1')}]{''.join(words)}"


def clock(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class ProgressLine:
    """One line an epoch, over the one before on a terminal; elsewhere a few plain lines.

    Args:
        label: begins the line; which job this is.
        epochs: how many there will be.
        stream: where to print.
    """

    def __init__(self, label: str, epochs: int, stream: TextIO = sys.stdout) -> None:
        self._label, self._epochs, self._stream = label, epochs, stream
        # Jobs that run side by side cannot share a line.
        self._terminal = stream.isatty() and in_command()
        self._every = 1 if self._terminal else max(1, epochs // LINES_WITHOUT_TERMINAL)
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Start the clock; an interrupted run goes on after some epochs."""
        self._first, self._began = epoch, time.monotonic()

    def show(self, epoch: int, recalls: dict[str, float]) -> None:
        """Print the state after an epoch.

        Args:
            epoch: epochs done.
            recalls: by the names of `curves.scalars`.
        """
        if epoch % self._every and epoch != self._epochs:
            return
        spent = time.monotonic() - self._began
        shares = "  ".join(
            f"{split} majority {recalls[f'{split}/recall/majority']:.2f} "
            f"minority {recalls[f'{split}/recall/minority']:.2f}"
            for split in ("train", "test")
        )
        done = epoch == self._epochs
        when = (
            f"took {clock(spent)}"
            if done
            else f"{clock(spent / (epoch - self._first) * (self._epochs - epoch))} left"
        )
        text = f"{self._label}  epoch {epoch}/{self._epochs}  recall: {shares}  {when}"
        if self._terminal:
            self._stream.write(f"\r\x1b[K{text}" + ("\n" if done else ""))
        else:
            self._stream.write(text + "\n")
        self._stream.flush()
