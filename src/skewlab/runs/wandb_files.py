"""Where Weights & Biases keeps its own record of a run, and what of it was never uploaded.

A run's record lies in the run's folder: `<run>/wandb/offline-run-<when>-<id>/`, without `offline-`
where it was begun online. Links to all of a study's records lie in `<study>/wandb/`, which is the
folder that `wandb sync` and `wandb leet` take for a whole sweep.
"""

import contextlib
import os
import shlex
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

FOLDER = "wandb"
# The link to the newest record, which W&B's tools look for.
LATEST = "latest-run"
# The file that W&B's own `sync` leaves beside a record that it has uploaded.
UPLOADED = ".synced"


def add(record: Path) -> None:
    """Link a run's record in its study's folder; where that cannot be, only the link is missing."""
    links = record.parents[2] / FOLDER
    with contextlib.suppress(OSError):
        links.mkdir(exist_ok=True)
        (links / record.name).symlink_to(
            Path("..") / record.relative_to(record.parents[2]), target_is_directory=True
        )
        _set_latest(links, record.name)


def remove(run: Path) -> None:
    """Remove what W&B has recorded of a run on this machine: it will be recorded anew."""
    for record in _records(run):
        (run.parent / FOLDER / record.name).unlink(missing_ok=True)
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def prune(study: Path) -> None:
    """Remove links to records that are gone, with the run or because it was trained again."""
    links = study / FOLDER
    there = []
    for link in links.glob("*run-*"):
        if link.exists():
            there.append(link.name)
        elif link.is_symlink():
            link.unlink(missing_ok=True)
    if not there:
        (links / LATEST).unlink(missing_ok=True)
    else:
        with contextlib.suppress(OSError):  # a record's name holds its time
            _set_latest(links, max(there, key=lambda name: name.removeprefix("offline-")))


def _set_latest(links: Path, name: str) -> None:
    beside = links / f".{LATEST}.{os.getpid()}"
    beside.symlink_to(name, target_is_directory=True)
    beside.replace(links / LATEST)


def set_uploaded(record: Path) -> None:
    """Mark a record as uploaded, as W&B's own `sync` does."""
    for file in record.glob("*.wandb"):
        file.with_name(file.name + UPLOADED).touch()


def sync_command(runs: Iterable[Path]) -> str | None:
    """The command that uploads what was never uploaded of some runs; None if there is nothing.

    What was uploaded it leaves out, so that it can be given as often as one likes.
    """
    waiting = [record for run in runs for record in _records(run) if _waits(record)]
    if not waiting:
        return None
    studies = sorted({_holder(record) for record in waiting})
    online = any(not record.name.startswith("offline-") for record in waiting)
    option = ["--include-online"] if online else []
    return shlex.join(["wandb", "sync", *option, *map(str, studies)])


def _holder(record: Path) -> Path:
    """The folder to name to W&B: the study's links or, without them, the run's own."""
    links = record.parents[2] / FOLDER
    return links if (links / record.name).is_dir() else record.parent


def _records(run: Path) -> Sequence[Path]:
    return [path for path in (run / FOLDER).glob("*run-*") if not path.is_symlink()]


def _waits(record: Path) -> bool:
    files = list(record.glob("*.wandb"))
    return any(not file.with_name(file.name + UPLOADED).exists() for file in files)
