"""One run, one process: the lock that lies in a run's folder while somebody trains it."""

import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from filelock import SoftFileLease, Timeout

NAME = "lock"
# The owner says every third of this that it lives; who has not for so long is taken to be gone.
LEASE_SECONDS = 60.0


class RunLock:
    """The right to train one run, held by a process and named after it.

    A lock whose process is gone is taken over: at once on the same host, after `LEASE_SECONDS`
    without a sign of life on another one. It needs nothing of the file system but that a file can
    be created exclusively, as NFS and its like can.

    Args:
        folder: the run's folder; made if need be.
        on_loss: called, from a thread of its own, if another process took the lock away or the
            folder was removed, with a line that says so.
    """

    def __init__(self, folder: Path, on_loss: Callable[[str], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / NAME
        self._lease = SoftFileLease(
            self._path,
            lease_duration=LEASE_SECONDS,
            thread_local=False,
            on_compromise=lambda loss: on_loss(f"its lock was lost ({loss.reason})"),
        )

    def take(self, say: Callable[[str], None] = lambda line: None) -> str | None:
        """Take the lock, if its owner is gone or there is none.

        Args:
            say: told when an owner on another host has to be waited for.

        Returns:
            None, or who has it: `process 123 on host`.

        Raises:
            OSError: the folder cannot be written to.
        """
        if self._taken():
            return None
        owner = self._lease.owner
        if owner is None:  # given back this moment
            return None if self._taken() else "another process"
        named = f"process {owner.pid} on {owner.hostname.partition('?')[0]}"
        if owner.hostname == _this_host():
            return named
        # Whether a process on another host lives is seen from the signs that it gives.
        say(f"held by {named}; waiting up to {LEASE_SECONDS:.0f} s for a sign that it lives")
        seen = self._changed()
        until = time.monotonic() + LEASE_SECONDS + 5
        while time.monotonic() < until:
            time.sleep(1)
            if self._taken():
                return None
            if self._changed() != seen:
                break
        return named

    def held(self) -> bool:
        """Whether it is still this process's; looks at the file."""
        return self._lease.is_lock_held_by_us

    def release(self) -> None:
        """Give the lock back; nothing if it is not held."""
        self._lease.release()

    def _taken(self) -> bool:
        try:
            self._lease.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def _changed(self) -> float | None:
        try:
            return self._path.stat().st_mtime
        except OSError:
            return None


def owner_of(folder: Path) -> str | None:
    """Who trains a run now: `process 123 on host`; None if nobody does. Takes no lock."""
    path = folder / NAME
    owner = SoftFileLease(path, lease_duration=LEASE_SECONDS).owner
    if owner is None:
        return None
    try:
        if owner.hostname == _this_host():
            if os.name == "posix":  # elsewhere to ask would be to kill
                os.kill(owner.pid, 0)
        elif time.time() - path.stat().st_mtime > LEASE_SECONDS:
            return None
    except PermissionError:
        pass  # somebody else's process: it lives
    except OSError:
        return None
    return f"process {owner.pid} on {owner.hostname.partition('?')[0]}"


@functools.cache
def _this_host() -> str:
    """This host as locks name it; containers on one machine are told apart."""
    with tempfile.TemporaryDirectory() as folder:
        lease = SoftFileLease(Path(folder) / NAME)
        with lease:
            owner = lease.owner
            return owner.hostname if owner else ""
