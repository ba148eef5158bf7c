"""What the program tells its user: lines on the terminal, and the same lines in a run's log file.

Everything goes through the standard `logging` module. Other modules can use their own logger below
`skewlab`, as in `logging.getLogger("skewlab.data")`.
"""

import contextlib
import logging
import os
import re
import shutil
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

from tqdm import tqdm

from skewlab.processes import lives

# Set by the command line for every process of a sweep: how many jobs it has.
JOBS_VARIABLE = "SKEWLAB_JOBS"
# Set with it: the keys that differ between its jobs.
SWEPT_VARIABLE = "SKEWLAB_SWEPT"
# Set with it: the folders' names of runs that are left out, as their parts do not fit together.
LEFT_OUT_VARIABLE = "SKEWLAB_LEFT_OUT"
# Set with it: the process that was started by the user's command.
COMMAND_VARIABLE = "SKEWLAB_COMMAND"
# Every job's label has them.
IN_LABEL = ("ratio", "seed")
# Letters of a shortened label. Where there is no room for them, train's recalls are left out too.
LEAST_LABEL = 20
# Cells of the bar. Where there is room for fewer, there is none.
LEAST_BAR = 8
# The time that the run still takes; tqdm fills it in.
LEFT = "run: {remaining} left"
# What follows the first line of a wrapped sentence is indented by so many letters.
INDENT = 4
# Words that have a colour on a terminal, by its number (ANSI: SGR).
COLOURS = {
    **{"supported": 32, "refuted": 31, "undecided": 33, "not applicable": 2},  # 2: dim
    **{"failed": 31, "error:": 31},
}
# One of them, which may be broken over two lines and is no part of a path, and a 0 before it.
_WORD = "|".join(COLOURS).replace(" ", r"\s+")
_COLOURED = re.compile(rf"(?<![\w/-])(0\s+)?({_WORD})(?![\w/-])")
# Lines that a run prints where no line can be rewritten: in a file or a CI log.
LINES_WITHOUT_TERMINAL = 5
# The loggers whose records a run's log file has; the last one is Python's own for warnings.
LOGGED = ("skewlab", "pytorch_lightning", "py.warnings")

_log = logging.getLogger("skewlab")
# The log file gets a line for each epoch from here. The terminal gets it from `ProgressLine`.
_progress = logging.getLogger("skewlab.progress")
_silent = False
# The folders of the runs that this process trains one after the other, and when the first began.
_ahead: Sequence[Path] = ()
_announced = 0.0


class Unfailing:
    """A text stream that drops what cannot be written, because its reader is gone, the terminal is
    closed, or the disk is full. No training ends for a line that nobody can see.

    Args:
        stream: where to write; everything but writing is left to it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):  # ValueError: it has been closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def make_unfailing() -> None:
    """Let nothing that this process prints fail, whichever library prints it."""
    sys.stdout = cast(TextIO, Unfailing(sys.stdout))
    sys.stderr = cast(TextIO, Unfailing(sys.stderr))


class _Message(logging.Formatter):
    """Without the line break at the end of a warning: a handler writes its own."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).rstrip("\n")


class _Console(logging.Handler):
    """Prints messages on standard error, whatever `sys.stderr` is at that time."""

    def emit(self, record: logging.LogRecord) -> None:
        if not _silent and record.name != _progress.name:
            stream = Unfailing(sys.stderr)
            text = coloured(self.format(record), stream)
            stream.write(f"{text}\n")  # in one piece: other processes write too
            stream.flush()


class _LogFile(logging.FileHandler):
    """Drops what cannot be written, as `Unfailing` does."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


_console = _Console()
_console.setFormatter(_Message())
_log.addHandler(_console)
_log.setLevel(logging.INFO)


def _worth_printing(record: logging.LogRecord) -> bool:
    """Whether a record of Lightning's says more than what it says of every run."""
    asked_for = ("pytorch_lightning.profilers", "pytorch_lightning.callbacks")
    return record.levelno >= logging.WARNING or record.name.startswith(asked_for)


@contextlib.contextmanager
def log_file(path: Path, verbose: bool = False) -> Iterator[None]:
    """Write what is logged into a file too, for as long as the block runs.

    The file gets the records of the loggers in `LOGGED` with their time. Lightning's records are
    printed on the terminal from WARNING on, and all those of profilers and callbacks. Python's
    warnings are printed as before. A process that was silenced writes no file.

    Args:
        path: the file. New lines are appended.
        verbose: whether records of level DEBUG are kept too, and not only those from INFO on.

    Raises:
        OSError: the file cannot be opened.
    """
    if _silent:
        yield
        return
    # On import Lightning gives its logger a level and a handler. Both are changed here.
    import pytorch_lightning  # noqa: F401

    file = _LogFile(path, encoding="utf-8")
    file.setFormatter(_Message("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    with contextlib.ExitStack() as restore:
        restore.callback(file.close)
        for handler in logging.getLogger("pytorch_lightning").handlers:
            restore.callback(handler.removeFilter, _worth_printing)
            handler.addFilter(_worth_printing)
        for logger in map(logging.getLogger, LOGGED):
            restore.callback(logger.setLevel, logger.level)
            restore.callback(logger.removeHandler, file)
            logger.setLevel(logging.DEBUG if verbose else logging.INFO)
            logger.addHandler(file)
        warned = logging.getLogger("py.warnings")
        warned.addHandler(_console)
        restore.callback(warned.removeHandler, _console)
        logging.captureWarnings(True)
        restore.callback(logging.captureWarnings, False)
        yield


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's remarks, where a Trainer is made that does not train."""
    lightning = logging.getLogger("pytorch_lightning")
    level = lightning.level
    lightning.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        lightning.setLevel(level)


def announce(
    jobs: int,
    swept: Iterable[str] = (),
    left_out: Iterable[str] = (),
    ahead: Sequence[Path] = (),
) -> None:
    """Tell all processes of a sweep how many jobs there are, in which keys they differ, which of
    them are left out, and that this is the process that the user started.

    Args:
        jobs: how many.
        swept: the keys.
        left_out: the folders' names of runs that are not trained.
        ahead: the folders of the runs that are, in their order. Only this process knows them.
    """
    global _ahead, _announced
    _ahead, _announced = ahead, time.monotonic()
    os.environ[JOBS_VARIABLE] = str(jobs)
    os.environ[LEFT_OUT_VARIABLE] = ",".join(left_out)
    os.environ[SWEPT_VARIABLE] = ",".join(dict.fromkeys(swept))
    os.environ[COMMAND_VARIABLE] = str(os.getpid())


def is_left_out(folder: str) -> bool:
    """Whether the sweep leaves out the run of a folder of this name."""
    return folder in os.environ.get(LEFT_OUT_VARIABLE, "").split(",")


def in_command() -> bool:
    """Whether this is the process that the user started, not one that a launcher did."""
    return os.environ.get(COMMAND_VARIABLE) == str(os.getpid())


def command_lives() -> bool:
    """Whether the process that the user started is still there; asked on the same machine."""
    return lives(int(os.environ.get(COMMAND_VARIABLE, os.getpid())))


def silence() -> None:
    """Print nothing from now on. Of several processes that train a run together only the first one
    prints."""
    global _silent
    _silent = True


def coloured(text: str, stream: TextIO | Unfailing) -> str:
    """The text with the words of `COLOURS` in their colours, where the stream is a terminal and the
    user has not asked for none (https://no-color.org). That 0 are refuted is not marked."""
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text

    def painted(found: re.Match[str]) -> str:
        zero, word = found.groups()
        number = COLOURS[" ".join(word.split())]
        return found[0] if zero else f"\x1b[{number}m{word}\x1b[0m"

    return _COLOURED.sub(painted, text)


def printable(text: str) -> str:
    """A text of somebody else's, such as a folder's name, without what moves the cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


def paragraph(text: str, command: str = "") -> str:
    """A sentence for standard output: on a terminal wrapped at its width and `coloured`, elsewhere
    one line.

    Args:
        text: the sentence.
        command: ends it, to be copied; on a terminal it has a line of its own, however long it is.
    """
    if not sys.stdout.isatty():
        return f"{text} {command}" if command else text
    indent = " " * (len(text) - len(text.lstrip()) + INDENT)
    wrapped = textwrap.fill(
        text,
        _columns(sys.stdout),
        subsequent_indent=indent,
        break_long_words=False,  # paths
        break_on_hyphens=False,
    )
    return coloured(wrapped, sys.stdout) + (f"\n{indent}{command}" if command else "")


def note(text: str) -> None:
    """Tell the user something that is not a result: on standard error, and in the log file."""
    _log.info("%s", text)


def logger_failed(logger: str, error: Exception) -> None:
    """Tell the user that a logger has failed, and that the run does not fail with it."""
    reason = " ".join(str(error).split()) or type(error).__name__
    note(f"{logger} failed: {reason}; the run goes on without it, its curves are on disk")


def job_label(number: int, given: Mapping[str, str]) -> str:
    """`[2/9] method focal lr 0.1`: which job this is, of how many, and its values of the swept
    keys. Ratio and seed are left out, as the caller adds them to every label.

    Args:
        number: of the job, from 0.
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


def _columns(stream: TextIO) -> int:
    """How wide the terminal is that a stream writes to; 80 where it does not say, as in some
    containers and editors."""
    try:
        told = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        told = 0
    return told or shutil.get_terminal_size().columns


def _without_constants(label: str) -> str:
    """A job's label without the ratio and the seed where all jobs have the same."""
    swept = os.environ.get(SWEPT_VARIABLE, "").split(",")
    for key in IN_LABEL:
        if key not in swept:
            label = re.sub(rf" {key} \S+(?=$| seed \S+$)", "", label)
    return label


def _cut(label: str, room: int) -> str:
    """A job's label with its number, and of the rest as many letters from both ends as fit."""
    if len(label) <= room:
        return label
    number, _, rest = label.partition(" ")
    kept = room - len(f"{number} ...")
    if kept < 2:
        return number
    return f"{number} {rest[: kept - kept // 2]}...{rest[-(kept // 2) :]}"


def _rest_of_sweep(run: Path | None) -> str:
    """`about 2:10 for the other 4`: how long the runs after this one take, by the mean time of
    those until now. Empty after the last one, and where this process does not train them all."""
    if not in_command() or run not in _ahead:
        return ""
    ended = _ahead.index(run) + 1
    left = len(_ahead) - ended
    seconds = (time.monotonic() - _announced) / ended * left
    others = f"other {left}" if left > 1 else "last one"
    return f"about {clock(seconds)} for the {others}" if left else ""


class _Bar(tqdm):  # type: ignore[type-arg]
    """Draws at most every fifth of a second, as wide as the terminal, without a thread of its own
    (https://tqdm.github.io/docs/tqdm/).

    Args:
        done, whole: batches.
        stream: the terminal.
        text: what stands before the bar, in so many letters.
    """

    monitor_interval = 0

    def __init__(self, done: int, whole: int, stream: TextIO, text: Callable[[int], str]) -> None:
        self._terminal, self._text = stream, text
        super().__init__(
            initial=done,
            total=whole,
            file=stream,
            ncols=_columns(stream),
            mininterval=0.2,
            miniters=1,
            smoothing=0,  # the mean over the whole run: other jobs of the machine come and go
            leave=False,
        )

    @property
    def format_dict(self) -> dict[str, Any]:
        """What is drawn: the text is as long as the window, which may have changed, has room for
        beside the time, and the bar has what is left."""
        drawn = dict(super().format_dict)
        columns = _columns(self._terminal)
        left = self.format_meter(**drawn | {"bar_format": LEFT})
        text = self._text(columns - len(f" {left}"))
        bar = " {bar}" if columns - len(f"{text}  {left}") >= LEAST_BAR else ""
        return drawn | {"ncols": columns, "prefix": text, "bar_format": f"{{desc}}{bar} {left}"}


class ProgressLine:
    """Shows how far a run is. On a terminal one line rewrites itself, from the first batch on;
    elsewhere a few lines are printed. The log file gets a line for each epoch.

    Args:
        label: begins the line; which job this is.
        epochs: how many there will be.
        stream: where to print; standard output if it is not given.
        run: its folder, as it was announced.
    """

    def __init__(
        self, label: str, epochs: int, stream: TextIO | None = None, run: Path | None = None
    ) -> None:
        self._label, self._epochs, self._run = label, epochs, run
        self._stream = cast(TextIO, Unfailing(stream or sys.stdout))
        # Jobs that run side by side cannot share a line.
        self._rewrites = self._stream.isatty() and in_command()
        self._every = 1 if self._rewrites else max(1, epochs // LINES_WITHOUT_TERMINAL)
        self._recalls: dict[str, float] = {}
        self._bar: _Bar | None = None
        self.begin(0)

    def begin(self, epoch: int, batches: int = 1) -> None:
        """Start the clock; a resumed run begins after some epochs.

        Args:
            epoch: epochs done.
            batches: of an epoch.
        """
        self._first, self._began, self._batches = epoch, time.monotonic(), batches
        self._epoch = epoch
        self.close()
        if self._rewrites:
            self._bar = _Bar(epoch * batches, self._epochs * batches, self._stream, self._text)

    def step(self) -> None:
        """One batch more is done."""
        if self._bar:
            self._bar.update()

    def show(self, epoch: int, recalls: dict[str, float]) -> None:
        """Print and log the state after an epoch.

        Args:
            epoch: epochs done.
            recalls: by the names of `curves.scalars`.
        """
        self._epoch, self._recalls = epoch, recalls
        spent = time.monotonic() - self._began
        ended = epoch == self._epochs
        left = clock(spent / (epoch - self._first) * (self._epochs - epoch))
        when = f"took {clock(spent)}" if ended else LEFT.format(remaining=left)
        _progress.info("%s", f"{self._text()}  {when}")
        if self._bar:
            self._bar.n = epoch * self._batches
            self._bar.refresh()
        if ended:
            self.close()
        if ended or (not self._rewrites and epoch % self._every == 0):
            columns = _columns(self._stream) if self._stream.isatty() else sys.maxsize
            line = f"{self._text(columns - len(f'  {when}'))}  {when}"
            if ended and (rest := _rest_of_sweep(self._run)):
                fits = len(f"{line}, {rest}") <= columns
                line += f", {rest}" if fits else f"\n{' ' * INDENT}{rest}"
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def close(self) -> None:
        """Take away the line that rewrites itself."""
        if self._bar:
            self._bar.close()
            self._bar = None

    def _text(self, room: int = sys.maxsize) -> str:
        """Which job this is and what is known of it, in as many words as there is room for; for a
        narrow terminal with both groups' recalls as a pair."""
        epoch = f"{self._epoch}/{self._epochs}"
        words, pairs, least = f"  epoch {epoch}", f" {epoch}", f" {epoch}"
        if self._recalls:
            train, test = (
                [self._recalls[f"{split}/recall/{group}"] for group in ("majority", "minority")]
                for split in ("train", "test")
            )
            words += (
                f"  recall: train majority {train[0]:.2f} minority {train[1]:.2f}"
                f"  test majority {test[0]:.2f} minority {test[1]:.2f}"
            )
            least += f" maj/min test {100 * test[0]:.0f}/{test[1]:.0%}"
            pairs += f" maj/min train {100 * train[0]:.0f}/{train[1]:.0%}"
            pairs += f" test {100 * test[0]:.0f}/{test[1]:.0%}"
        short = _without_constants(self._label)
        for text in (
            self._label + words,
            self._label + pairs,
            short + pairs,
            _cut(short, max(LEAST_LABEL, room - len(pairs))) + pairs,
        ):
            if len(text) <= room:
                return text
        return _cut(short, room - len(least)) + least
