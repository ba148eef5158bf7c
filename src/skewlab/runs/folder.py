"""One run's folder: its files and the state of the run."""

import contextlib
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from skewlab.errors import Damaged
from skewlab.runs import json_file, wandb_files
from skewlab.runs.curve_file import CURVES, last_step
from skewlab.runs.reading import KEPT, RESULTS, digest_of, read_bytes, read_status, sha256, verify

# The states of a run in `status.json`.
RUNNING, DONE, FAILED, DIVERGED = "running", "done", "failed", "diverged"
PREEMPTED = "preempted"
# Files in `checkpoints/`: the last one, while the run trains the one before it, the best on val.
LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "val_best.ckpt"
# The states in which nothing is left to train.
ENDED = (DONE, DIVERGED)
# Ends the name of a folder that holds a run from before it was trained again.
BEFORE = ".before"
# All that a run and its loggers write into its folder. Nothing else is ever removed.
WRITTEN = (
    *(*RESULTS, "status.json", "run.log", f".{CURVES}", "curves.png", "predictions.csv"),
    *(f"checkpoints/{dot}{name}" for name in (LAST, PREVIOUS, BEST) for dot in ("", ".")),
)
# What loggers write into folders of their own there; of W&B's see `wandb_files.remove`.
OF_LOGGERS = {
    "tensorboard": ("events.out.tfevents.*", "hparams.yaml"),
    "csv": ("metrics.csv", "hparams.yaml"),
}
# In a folder that was set aside: the name of its run. Other folders of such names are left alone.
MARK = ".set_aside"


class _WithoutAliases(yaml.SafeDumper):
    """Writes a list that comes twice as two lists: `runs.reading` takes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class RunFolder:
    """`<logs_dir>/<study>/<run name>/`: the run writes it, everything else reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began = time.time()
        self._status: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def drop_previous_checkpoint(self) -> None:
        """Remove the checkpoint before the last one, which only an interrupted run needs."""
        (self.checkpoints / PREVIOUS).unlink(missing_ok=True)

    def status(self) -> dict[str, Any]:
        """The content of `status.json`; empty where there is no run yet.

        Raises:
            Damaged: it cannot be read, or is not there among other files of a run. What such a run
                was is not known, so nothing of it may be changed.
        """
        try:
            status, here = read_status(self.path), self.path.resolve().name
            if status.get("run", here) != here:
                raise Damaged(self.path / "status.json", f"is of another run, {status['run']}")
            return status
        except Damaged as damage:
            missing = isinstance(damage.__cause__, FileNotFoundError)
            if missing and not any((self.path / name).exists() for name in WRITTEN):
                return {}
            raise

    def state(self) -> str | None:
        """The state in `status.json`; None where there is no run yet.

        Raises:
            Damaged: see `status`.
        """
        state = self.status().get("state")
        return None if state is None else str(state)

    def ended(self, checkpoints: bool = False) -> bool:
        """Whether nothing is left to train, and the results are those that the run wrote.

        Args:
            checkpoints: whether to look at the checkpoints too, which are large.

        Raises:
            Damaged: a file cannot be read, or has another content.
        """
        status = self.status()
        if status.get("state") not in ENDED:
            return False
        verify(self.path, status, tuple(status.get("files") or ()) if checkpoints else None)
        return True

    def set_aside(self) -> Path:
        """Give the folder another name in one move, before the run is trained anew. What it held
        is removed by `drop_set_aside` only once the new run is done."""
        names = (f"{self.name}{BEFORE}{'' if k < 2 else f'-{k}'}" for k in range(1, 10**6))
        paths = (self.path.with_name(name) for name in names)
        aside = next(path for path in paths if not os.path.lexists(path))
        json_file.write_text(self.path / MARK, self.name)
        self.path.rename(aside)
        return aside

    def set_aside_before(self) -> list[Path]:
        """The folders that `set_aside` has given another name, and that this run replaces."""
        found = []
        for path in sorted(self.path.parent.glob(f"{self.name}{BEFORE}*")):
            with contextlib.suppress(Damaged):
                if not path.is_symlink() and read_bytes(path / MARK) == self.name.encode():
                    found.append(path)
        return found

    def drop_set_aside(self) -> None:
        """Remove what skewlab wrote of the runs before this one, which is done. What somebody else
        put there comes back into the run's folder; a second file of one name stays where it is.

        Raises:
            OSError: something cannot be moved or removed.
        """
        for aside in self.set_aside_before():
            remove_written(aside)
            for path in [
                path for path in aside.rglob("*") if path.is_symlink() or not path.is_dir()
            ]:
                back = self.path / path.relative_to(aside)
                if path.name != MARK and not os.path.lexists(back):
                    back.parent.mkdir(parents=True, exist_ok=True)
                    path.rename(back)
            (aside / MARK).unlink()
            for place, _, _ in os.walk(aside, topdown=False):
                with contextlib.suppress(OSError):  # not empty
                    Path(place).rmdir()

    def clear(self) -> None:
        """Remove what an earlier training wrote that has no checkpoint to go on from."""
        remove_written(self.path)

    def check_writable(self) -> None:
        """Refuse a folder in which something else has the name of a file that will be written.

        Raises:
            Damaged: names it.
        """
        for name in ("checkpoints", *WRITTEN):
            path, folder = self.path / name, name == "checkpoints"
            try:
                kind = path.lstat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise Damaged(path, f"cannot be read ({error.strerror})") from error
            if not (stat.S_ISDIR(kind) if folder else stat.S_ISREG(kind)):
                raise Damaged(path, f"must be {'a folder' if folder else 'an ordinary file'}")

    def start(
        self, config: dict[str, Any], origin: Mapping[str, Any], resumed_at: int | None = None
    ) -> None:
        """Write the configuration and the state `running`.

        Args:
            config: the run's configuration, as dicts, lists and values.
            origin: where the run comes from, see `runs.provenance`.
            resumed_at: the step from which an interrupted run goes on; None for a new run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        before = self.status() if resumed_at is not None else {}
        resumed = [*before.get("resumed_at", []), resumed_at] if resumed_at is not None else []
        self._began = time.time()
        now = _clock(self._began)
        self._status = {
            "run": self.name,
            "created": before.get("created", now),
            "started": now,
            "resumed_at": resumed,
            "process": os.getpid(),
            "provenance": dict(origin),
        }
        json_file.clear_leftovers(self.path)
        # First of all files: whatever else is there belongs to a run with a state.
        self._write(RUNNING)
        # As YAML: this file can be given to Hydra's command line again.
        text = yaml.dump(config, Dumper=_WithoutAliases, sort_keys=False, allow_unicode=True)
        json_file.write_text(self.path / "config.yaml", text)

    @property
    def created(self) -> str:
        """When the run was first started; a resumed run keeps this time."""
        return str((self._status or self.status())["created"])

    def finish(self, state: str, **details: Any) -> None:
        """Write how the run ended: `done`; `failed` or `preempted` with `reason`; `diverged` with
        `step` and `reason`. What has ended gets the digests of its files."""
        if state in ENDED:
            names = [name for name in KEPT if (self.path / name).exists()]
            details["files"] = {name: sha256(self.path / name) for name in names}
            details["curves"] = last_step(self.path)
        self._write(state, **details)

    def _write(self, state: str, **details: Any) -> None:
        seconds = round(time.time() - self._began, 1)
        # Where several processes train together, only one has called `start`, but any can fail.
        status = {**(self._status or self.status()), "seconds": seconds}
        for key in ("state", "step", "reason", "files", "curves", "digest"):
            status.pop(key, None)
        status = json_file.as_json({"state": state, **details, **status})
        json_file.write(self.path / "status.json", {**status, "digest": digest_of(status)})


def remove_written(folder: Path) -> None:
    """Remove what skewlab wrote into a run's folder, and nothing else."""
    wandb_files.remove(folder)
    written = [folder / name for name in WRITTEN]
    written += [
        p for place, files in OF_LOGGERS.items() for f in files for p in (folder / place).glob(f)
    ]
    for path in written:
        # Through a link it would be somebody else's file.
        if not path.parent.is_symlink() and (path.is_symlink() or path.is_file()):
            path.unlink()
    for place in ("checkpoints", *OF_LOGGERS):
        with contextlib.suppress(OSError):  # it is not empty, or not there
            (folder / place).rmdir()


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
