"""The errors that are meant for the person at the keyboard."""

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path

# What the program's exit codes mean; the last three as a shell has them, 128 and the signal.
FAILED, BAD_INPUT, HUNG_UP, INTERRUPTED, TERMINATED = 1, 2, 129, 130, 143
# The disk is full, a quota or a limit is reached, or it cannot be written to.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
# A message lists no more allowed words than these.
SHOWN_WORDS = 30


class ConfigError(Exception):
    """Bad input. The message is one line that names the key, the value and what is allowed."""

    def __init__(self, message: str) -> None:
        # PyTorch raises a loader's error again with the whole traceback as its message.
        super().__init__(message.rpartition(f"{__name__}.ConfigError: ")[2].strip())


class Damaged(ConfigError):
    """A file on disk is not what skewlab wrote there. The message names the file and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


class Diverged(Exception):
    """The training loss stopped being a finite number: a result of the run, not a fault."""

    def __init__(self, step: int) -> None:
        super().__init__(f"diverged at step {step}")
        self.step = step


class Preempted(Exception):
    """The run was asked to stop, and did so where it can go on from."""

    def __init__(self, reason: str, step: int) -> None:
        super().__init__(f"{reason} at step {step}")
        self.step = step


def installed_by(extra: str) -> str:
    """The command that installs an optional part, in the project's folder."""
    return f"uv sync --extra {extra} (or pip install -e '.[{extra}]')"


def suggestion(word: str, known: Iterable[str], place: str = "") -> str:
    """`; did you mean ...?` and the allowed words, to end a message about an unknown word.

    Args:
        word: the unknown one.
        known: those that are allowed.
        place: stands before the one that may have been meant, such as `optimizer.`.
    """
    known = sorted(set(known))
    if not known:
        return ""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    hint = f"; did you mean {place}{close[0]}?" if close else ";"
    more = f", ... ({len(known)} in all)" if len(known) > SHOWN_WORDS else ""
    return f"{hint} allowed: {', '.join(known[:SHOWN_WORDS])}{more}"
