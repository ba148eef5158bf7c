"""A run's lock among real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skewlab.errors import Damaged
from skewlab.runs import lock
from skewlab.runs.lock import RunLock, owner_of

HOLD = """
import sys, time
from pathlib import Path
from skewlab.runs.lock import RunLock
mine = RunLock(Path(sys.argv[1]), print)
print(mine.take(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def hold() -> Iterator[Callable[[Path], "subprocess.Popen[str]"]]:
    """Starts a process that holds a folder's lock."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == "None\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def of_another_host(folder: Path) -> None:
    """Make a lock look as if it had been taken on another machine."""
    path = folder / lock.NAME
    record = path.read_text()
    path.write_text(
        "".join(
            "host=elsewhere\n" if line.startswith("host=") else line
            for line in record.splitlines(keepends=True)
        )
    )


def test_one_holder(tmp_path: Path, hold: Callable[[Path], "subprocess.Popen[str]"]) -> None:
    holder = hold(tmp_path)
    mine = RunLock(tmp_path, lambda line: None)
    owner = mine.take()
    assert owner is not None
    assert owner.startswith(f"process {holder.pid} on ")
    assert owner.partition(" (")[0] == owner_of(tmp_path)
    assert f"({tmp_path / lock.NAME}, renewed " in owner
    assert not mine.held()


def test_a_killed_holders_lock_is_taken_at_once(
    tmp_path: Path, hold: Callable[[Path], "subprocess.Popen[str]"]
) -> None:
    holder = hold(tmp_path)
    holder.kill()
    holder.wait()
    assert owner_of(tmp_path) is None
    mine = RunLock(tmp_path, lambda line: None)
    assert mine.take() is None
    assert mine.held()
    mine.release()
    assert not (tmp_path / lock.NAME).exists()


def test_a_paused_holder_keeps_it(
    tmp_path: Path, hold: Callable[[Path], "subprocess.Popen[str]"]
) -> None:
    holder = hold(tmp_path)
    holder.send_signal(signal.SIGSTOP)
    assert RunLock(tmp_path, lambda line: None).take() is not None


def test_another_hosts_lock_is_taken_after_silence_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LEASE_SECONDS", 3.0)
    dead = RunLock(tmp_path / "silent", lambda line: None)
    assert dead.take() is None
    os.link(tmp_path / "silent" / lock.NAME, tmp_path / "kept")
    dead.release()
    (tmp_path / "kept").rename(tmp_path / "silent" / lock.NAME)
    of_another_host(tmp_path / "silent")
    said: list[str] = []
    began = time.monotonic()
    mine = RunLock(tmp_path / "silent", lambda line: None)
    assert mine.take(said.append) is None
    assert time.monotonic() - began >= 3
    assert " on elsewhere (" in said[0]
    mine.release()


def test_another_hosts_living_lock_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LEASE_SECONDS", 3.0)
    alive = RunLock(tmp_path, lambda line: None)
    assert alive.take() is None
    of_another_host(tmp_path)
    stop = threading.Event()

    def give_signs() -> None:
        while not stop.wait(0.5):
            os.utime(tmp_path / lock.NAME)

    signs = threading.Thread(target=give_signs)
    signs.start()
    try:
        owner = RunLock(tmp_path, lambda line: None).take()
        assert owner is not None
        assert " on elsewhere (" in owner
    finally:
        stop.set()
        signs.join()


def test_a_holder_is_told_that_its_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LEASE_SECONDS", 1.0)
    told: list[str] = []
    mine = RunLock(tmp_path / "run", told.append)
    assert mine.take() is None
    (tmp_path / "run" / lock.NAME).unlink()
    assert not mine.held()
    for _ in range(50):
        if told:
            break
        time.sleep(0.1)
    assert told
    assert "lock was lost" in told[0]


def test_a_lock_of_another_host_is_nobodys_once_it_gives_no_sign(tmp_path: Path) -> None:
    mine = RunLock(tmp_path, lambda line: None)
    assert mine.take() is None
    of_another_host(tmp_path)
    owner = owner_of(tmp_path)
    assert owner is not None
    assert owner.endswith(" on elsewhere")
    path = tmp_path / lock.NAME
    long_ago = time.time() - lock.LEASE_SECONDS - 5
    os.utime(path, (long_ago, long_ago))
    assert owner_of(tmp_path) is None
    path.unlink()


@pytest.mark.parametrize("record", [b"", b"garbage", b"\xff\x00" * 30, b"pid=12\nhost"])
def test_a_lock_that_names_nobody_is_taken_after_silence(
    record: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LEASE_SECONDS", 2.0)
    path = tmp_path / lock.NAME
    said: list[str] = []
    path.write_bytes(record)
    os.utime(path, (time.time() - 7200, time.time() - 7200))
    began = time.monotonic()
    mine = RunLock(tmp_path, lambda line: None)
    assert mine.take(said.append) is None
    assert mine.held()
    assert time.monotonic() - began < 2, "it was silent for two hours already"
    assert f"{path}, renewed 7200 s ago" in said[0]
    mine.release()
    path.write_bytes(record)
    began = time.monotonic()
    assert mine.take() is None
    assert time.monotonic() - began >= 2, "its owner may have just begun to write it"
    mine.release()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_in_its_place_is_named(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / lock.NAME)
    assert owner_of(tmp_path) is None
    with pytest.raises(Damaged, match="must be an ordinary file"):
        RunLock(tmp_path, lambda line: None).take()
