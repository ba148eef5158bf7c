"""The records that Weights & Biases keeps of a run on disk, and which were never uploaded.

A record is a folder, `<run>/wandb/offline-run-<when>-<id>/`, without `offline-` where W&B was
online. `<study>/wandb/` holds links to all records of a study: `wandb sync` and `wandb leet` take
this folder for a whole sweep.
"""

import contextlib
import os
import shlex
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from skewlab.runs import json_file

FOLDER = "wandb"
# The link to the newest record, which W&B's tools look for.
LATEST = "latest-run"
# The file that W&B's own `sync` leaves beside a record that it has uploaded.
UPLOADED = ".synced"


def add(record: Path) -> None:
    """Link a run's record in its study's folder. Where links are not possible, there is none."""
    links = record.parents[2] / FOLDER
    with contextlib.suppress(OSError):
        links.mkdir(exist_ok=True)
        (links / record.name).symlink_to(
            Path("..") / record.relative_to(record.parents[2]), target_is_directory=True
        )
        _set_latest(links, record.name)


def remove(run: Path) -> None:
    """Remove all W&B records of a run from this machine, before the run is trained again."""
    own = run / FOLDER
    if own.is_symlink():
        return
    for record in _records(run):
        link = run.parent / FOLDER / record.name
        if link.is_symlink():
            link.unlink()
        shutil.rmtree(record, ignore_errors=True)
    for name in (LATEST, "debug.log", "debug-internal.log", "debug-cli.root.log"):
        if (own / name).is_symlink() or (own / name).is_file():
            (own / name).unlink()
    with contextlib.suppress(OSError):  # somebody else has something there
        own.rmdir()


def prune(study: Path) -> None:
    """Remove links to records that no longer exist."""
    links = study / FOLDER
    json_file.clear_leftovers(links)
    there = []
    for link in links.glob("*run-*"):
        if link.exists():
            there.append(link.name)
        elif link.is_symlink():
            link.unlink(missing_ok=True)
    if not there:
        (links / LATEST).unlink(missing_ok=True)
    else:
        with contextlib.suppress(OSError):  # a record's name contains its time
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
    """The command that uploads the records of some runs that were never uploaded; None without any.

    The command leaves out what was uploaded, so it can be repeated.
    """
    waiting = [record for run in runs for record in _records(run) if _waits(record)]
    if not waiting:
        return None
    studies = sorted({_holder(record) for record in waiting})
    online = any(not record.name.startswith("offline-") for record in waiting)
    option = ["--include-online"] if online else []
    return shlex.join(["wandb", "sync", *option, *map(str, studies)])


def _holder(record: Path) -> Path:
    """The folder to give to W&B: that of the study's links or, without a link, the run's own."""
    links = record.parents[2] / FOLDER
    return links if (links / record.name).is_dir() else record.parent


def _records(run: Path) -> Sequence[Path]:
    return [path for path in (run / FOLDER).glob("*run-*") if not path.is_symlink()]


def _waits(record: Path) -> bool:
    files = list(record.glob("*.wandb"))
    return any(not file.with_name(file.name + UPLOADED).exists() for file in files)
