"""One run's folder: its files and the state of the run."""

import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from skewlab.runs import json_file, lock

# The states of a run in `status.json`. `queued` is a finished run that will be trained again.
RUNNING, DONE, FAILED, DIVERGED = "running", "done", "failed", "diverged"
PREEMPTED, QUEUED = "preempted", "queued"
# Files in `checkpoints/`: the last one, while the run trains the one before it, the best on val.
LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "val_best.ckpt"
# The states in which nothing is left to train.
ENDED = (DONE, DIVERGED)


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
        """The content of `status.json`; empty where the file is missing or damaged."""
        try:
            status = json_file.read(self.path / "status.json")
        except (OSError, ValueError):
            return {}
        return status if isinstance(status, dict) else {}

    def state(self) -> str | None:
        """The state in `status.json`; None without one."""
        state = self.status().get("state")
        return None if state is None else str(state)

    def queue(self) -> None:
        """Mark a run to be trained again; its files stay until then."""
        if status := self.status():
            json_file.write(self.path / "status.json", {**status, "state": QUEUED})

    def clear(self) -> None:
        """Remove all files of an earlier training but the lock, which the caller holds."""
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif not entry.name.startswith(lock.NAME):
                entry.unlink()

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
            "created": before.get("created", now),
            "started": now,
            "resumed_at": resumed,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "provenance": dict(origin),
        }
        # As YAML: this file can be given to Hydra's command line again.
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        json_file.write_text(self.path / "config.yaml", text)
        self._write(RUNNING)

    @property
    def created(self) -> str:
        """When the run was first started; a resumed run keeps this time."""
        return str((self._status or self.status())["created"])

    def finish(self, state: str, **details: Any) -> None:
        """Write how the run ended: `done`; `failed` or `preempted` with `reason`; `diverged` with
        `step` and `reason`."""
        self._write(state, **details)

    def _write(self, state: str, **details: Any) -> None:
        seconds = round(time.time() - self._began, 1)
        # Where several processes train together, only one has called `start`, but any can fail.
        status = {**(self._status or self.status()), "seconds": seconds}
        for key in ("state", "step", "reason"):
            status.pop(key, None)
        status = {"state": state, **details, **status}
        json_file.write(self.path / "status.json", status)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


# The states of a run in `status.json`. `queued` is a finished run that will be trained again.
