"""The folder that a sweep writes into, before anything is trained."""

import os
from collections.abc import Iterable
from pathlib import Path

from skewlab.errors import DISK_ERRORS, ConfigError


def make_study(logs_dir: str, study: str, runs: Iterable[Path] = ()) -> None:
    """Make the folder of a study, if it is not there, and see that runs can be written into it.

    Args:
        logs_dir, study: as in the configuration.
        runs: the folders of the runs, as far as they are known.

    Raises:
        ConfigError: something else is in the place of a folder, or it cannot be written.
    """
    folder = Path(logs_dir, study)
    trial = folder / f".trial.{os.getpid()}"
    try:
        _check_folder(f"logs_dir={logs_dir}", Path(logs_dir))
        for path in (folder, *runs):
            _check_folder(f"study={study}", path)
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in DISK_ERRORS:
            return  # no mistake of the command's: each job says what it cannot write
        raise ConfigError(
            f"logs_dir={logs_dir}: must be a folder that can be written to ({error})"
        ) from error


def _check_folder(given: str, path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise ConfigError(f"{given}: must be a folder, and {path} is a link to nothing")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{given}: must be a folder, and {path} is a file")
