"""Where a run on disk stands, and whether it is the run that a job describes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skewlab.config.schema import RunConfig, checked
from skewlab.data.plan import describe
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset
from skewlab.errors import ConfigError, Damaged
from skewlab.runs.curve_file import CURVES
from skewlab.runs.folder import RUNNING, RunFolder
from skewlab.runs.json_file import as_json
from skewlab.runs.lock import NAME, RunLock
from skewlab.runs.reading import read_config, read_data
from skewlab.terminal import note

WAY_OUT = "overwrite=true trains it anew and keeps this one until then"


def is_done(folder: RunFolder, run: RunConfig) -> bool:
    """Whether a run has ended, with the results that it wrote itself.

    Args:
        folder: the run's.
        run: the configuration that it must have.

    Raises:
        Damaged: a file cannot be read, is not what the run wrote, or is of another configuration.
    """
    folder.check_writable()
    status = folder.status()
    if not status:
        return False
    # Killed before there was a configuration, which is written after the status.
    there = [os.path.lexists(folder.path / name) for name in ("config.yaml", CURVES)]
    if status["state"] != RUNNING or any(there):
        _check_configuration(folder.path, run)
    return folder.ended(checkpoints=True)


def _check_configuration(folder: Path, run: RunConfig) -> None:
    """Two configurations can have the same name: it holds a hash of few digits."""
    given, _ = read_config(folder)
    path = folder / "config.yaml"
    try:
        there = checked(given).scientific()
    except ConfigError as error:
        first = str(error).splitlines()[0]
        raise Damaged(path, f"is not of this version of skewlab ({first}); {WAY_OUT}") from error
    here = as_json(run.scientific())
    if differing := _differing(as_json(there), here):
        raise Damaged(path, f"is of another run ({'; '.join(differing[:3])}); {WAY_OUT}")


def set_aside(folder: RunFolder) -> Path | None:
    """Give the folder of a run that is to be trained anew another name, unless somebody trains it
    now. `RunFolder.drop_set_aside` removes it once the new run is done.

    Returns:
        The other name; None where there was nothing to move.
    """
    if not folder.path.is_dir():
        return None
    lock = RunLock(folder.path, lambda reason: None)
    if (owner := lock.take()) is not None:
        note(f"{folder.name} is being trained by {owner}; left to it")
        return None
    try:
        others = [path for path in folder.path.iterdir() if path.name != NAME]
        aside = folder.set_aside() if others else None
        # Moved while it is locked: nobody else can have begun with it.
        lock.release()
        if aside:
            (aside / NAME).unlink(missing_ok=True)
        return aside
    except OSError as error:
        raise ConfigError(
            f"overwrite=true: {folder.path} cannot be given another name ({error.strerror})"
        ) from error


def check_data(folder: Path, source: Source, subset: Subset) -> None:
    """Refuse to go on with, or to take for done, a run of other data. A run that has no data yet
    passes.

    Args:
        folder: the run's.
        source: what its configuration gives now.
        subset: the samples of it that are kept now.

    Raises:
        Damaged: `data.json` cannot be read, or says otherwise.
    """
    if not any(os.path.lexists(folder / name) for name in ("data.json", CURVES)):
        return
    there, here = read_data(folder), as_json(describe(source, subset))
    if differing := _differing(there, here):
        raise Damaged(
            folder / "data.json",
            f"is of other data than those of today ({'; '.join(differing[:3])}); choose another "
            f"study, or {WAY_OUT}",
        )


def _differing(there: Mapping[str, Any], here: Mapping[str, Any], before: str = "") -> list[str]:
    found = []
    for key in sorted({*there, *here}):
        values = there.get(key), here.get(key)
        if isinstance(values[0], Mapping) and isinstance(values[1], Mapping):
            found += _differing(values[0], values[1], f"{before}{key}.")
        elif values[0] != values[1]:
            found.append(f"{before}{key}={_short(values[0])} there, {_short(values[1])} here")
    return found


def _short(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
