"""A run's lock: a file in its folder while a process trains it, so that no other process does."""

import functools
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from skewlab.errors import Damaged
from skewlab.processes import lives

NAME = "lock"
# The owner renews its lock every third of this time. An owner that has not done so for this long is
# considered dead.
LEASE_SECONDS = 60.0


class RunLock:
    """The right to train one run; the file names the process that holds it.

    A lock whose process is dead is taken over: at once if it was on this host, and after
    `LEASE_SECONDS` without a renewal if it was on another, or if the file does not tell. The file
    system must be able to create a file exclusively, as NFS can.

    Args:
        folder: the run's folder; created when the lock is taken.
        on_loss: called from another thread, with a line that says why, if another process has
            taken the lock or the folder was removed.
    """

    def __init__(self, folder: Path, on_loss: Callable[[str], None]) -> None:
        self._path = folder / NAME
        self._lease = SoftFileLease(
            self._path,
            lease_duration=LEASE_SECONDS,
            thread_local=False,
            on_compromise=lambda loss: on_loss(f"its lock was lost ({loss.reason})"),
        )

    def take(self, say: Callable[[str], None] = lambda line: None) -> str | None:
        """Take the lock, if it has no owner or its owner is dead.

        Args:
            say: called with a line when the owner is on another host and has to be waited for.

        Returns:
            None if the lock was taken, else its owner, the file, and how long ago it was renewed.

        Raises:
            Damaged: a folder, a link or a pipe has the lock's name.
            OSError: the folder cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not _is_ordinary(self._path):
            raise Damaged(self._path, "must be an ordinary file, or not there")
        if self._taken():
            return None
        owner, age = self._lease.owner, self._age()
        if age is None:  # released in this moment
            return None if self._taken() else "another process"
        named = "an owner whose name cannot be read"
        if owner is not None:
            named = f"process {owner.pid} on {owner.hostname.partition('?')[0]}"
        told = f"{named} ({self._path}, renewed {age:.0f} s ago)"
        if owner is not None and owner.hostname == _this_host() and lives(owner.pid):
            return told
        # A process on another host is alive if it renews its lock. So is one that we cannot name.
        seen = self._changed()
        if owner is not None or age < LEASE_SECONDS:
            say(f"held by {told}; waiting up to {LEASE_SECONDS:.0f} s for a sign that it lives")
            until = time.monotonic() + LEASE_SECONDS + 5
            while time.monotonic() < until:
                time.sleep(1)
                if self._taken():
                    return None
                if self._changed() != seen:
                    return told
        # Nor has filelock taken it: its record is of another kind, or of another lease.
        if self._changed() == seen:
            say(f"takes over the lock of {told}")
            self._path.unlink(missing_ok=True)
        return None if self._taken() else told

    def held(self) -> bool:
        """Whether this process still holds the lock, according to the file."""
        return self._lease.is_lock_held_by_us

    def release(self) -> None:
        """Release the lock; does nothing if it is not held."""
        self._lease.release()

    def _taken(self) -> bool:
        try:
            self._lease.acquire(timeout=0)
        except (Timeout, LeaseSettingsMismatch, IsADirectoryError):
            return False
        return True

    def _age(self) -> float | None:
        """Seconds since the lock was renewed, by the clock of its file system; None without one."""
        changed = self._changed()
        if changed is None:
            return None
        with tempfile.NamedTemporaryFile(dir=self._path.parent, prefix=f".{NAME}.") as now:
            return max(0.0, Path(now.name).stat().st_mtime - changed)

    def _changed(self) -> float | None:
        try:
            return self._path.lstat().st_mtime
        except OSError:
            return None


def owner_of(folder: Path) -> str | None:
    """The process that trains a run now, `process 123 on host`; None without one. Takes no lock."""
    path = folder / NAME
    if not _is_ordinary(path):
        return None
    owner = SoftFileLease(path, lease_duration=LEASE_SECONDS).owner
    if owner is None:
        return None
    if owner.hostname == _this_host():
        if not lives(owner.pid):
            return None
    else:
        try:
            if time.time() - path.stat().st_mtime > LEASE_SECONDS:
                return None
        except OSError:  # released in this moment
            return None
    return f"process {owner.pid} on {owner.hostname.partition('?')[0]}"


def _is_ordinary(path: Path) -> bool:
    """Whether a lock is a file, or not there. To read a pipe would take for ever."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True


@functools.cache
def _this_host() -> str:
    """The name of this host in locks; containers on one machine have different names."""
    with tempfile.TemporaryDirectory() as folder:
        lease = SoftFileLease(Path(folder) / NAME)
        with lease:
            owner = lease.owner
            return owner.hostname if owner else ""
