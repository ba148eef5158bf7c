"""One run's folder: what it holds and in which state the run is."""

import functools
import hashlib
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from skewlab.runs import json_file, lock

PACKAGES = ("skewlab", "torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "wandb")
# `status.json`: the states a run can be in. `queued` is a finished run that is to be trained again.
RUNNING, DONE, FAILED, DIVERGED = "running", "done", "failed", "diverged"
PREEMPTED, QUEUED = "preempted", "queued"
# `checkpoints/`: the last one, the one before it while the run trains, the best one on val.
LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "val_best.ckpt"
NO_PART_IN_RESULTS = ("report", "loggers", "dashboard")
# Nothing is left to train in these.
ENDED = (DONE, DIVERGED)


class RunFolder:
    """`<logs_dir>/<study>/<run name>/`, written by the run and read by everything else."""

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
        """Remove what only an interrupted run would need."""
        (self.checkpoints / PREVIOUS).unlink(missing_ok=True)

    def status(self) -> dict[str, Any]:
        """What `status.json` says; empty where there is none that can be read."""
        try:
            status = json_file.read(self.path / "status.json")
        except (OSError, ValueError):
            return {}
        return status if isinstance(status, dict) else {}

    def state(self) -> str | None:
        """The state that `status.json` says; None where there is none."""
        state = self.status().get("state")
        return None if state is None else str(state)

    def queue(self) -> None:
        """Mark a run to be trained anew; what it holds stays until then."""
        if status := self.status():
            json_file.write(self.path / "status.json", {**status, "state": QUEUED})

    def clear(self) -> None:
        """Remove what an earlier training left; not the lock, which is the caller's."""
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
            config: the run's configuration, plain.
            origin: what else there is to know of where the run comes from.
            resumed_at: the step that an interrupted run goes on from; None for a run's start.
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
            "provenance": {**provenance(), **origin},
        }
        # Hydra's command line can be given this file again; its own comments say so.
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        json_file.write_text(self.path / "config.yaml", text)
        self._write(RUNNING)

    @property
    def created(self) -> str:
        """When this run was begun, by the first of the processes that trained it."""
        return str((self._status or self.status())["created"])

    def finish(self, state: str, **details: Any) -> None:
        """Write how it ended: `done`; `failed` or `preempted` with `reason`; `diverged` with
        `step` and `reason`."""
        self._write(state, **details)

    def _write(self, state: str, **details: Any) -> None:
        seconds = round(time.time() - self._began, 1)
        # Of several processes that train together one has begun the run; any can fail.
        status = {**(self._status or self.status()), "seconds": seconds}
        for key in ("state", "step", "reason"):
            status.pop(key, None)
        status = {"state": state, **details, **status}
        json_file.write(self.path / "status.json", status)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@functools.cache
def provenance() -> dict[str, Any]:
    """What produces a run: the code's version, the packages, the machine."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed_since_commit": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "code": code_sha256(),
        "python": platform.python_version(),
        "packages": versions,
        "machine": platform.machine(),
        "processors": os.cpu_count(),
    }


@functools.cache
def code_sha256() -> str:
    """A hash of the package's sources, but for those that no run's result depends on."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] not in NO_PART_IN_RESULTS:
            digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What has changed, of what can change a result, between two runs' provenance."""
    found = []
    if then.get("code") != now["code"]:
        commits = [str(p.get("commit"))[:8] for p in (then, now)]
        moved = f" (commit {commits[0]}, now {commits[1]})" if commits[0] != commits[1] else ""
        found.append(f"skewlab's code{moved}")
    versions = then.get("packages", {})
    found += [
        f"{package} {versions.get(package)}, now {version}"
        for package, version in now["packages"].items()
        if package in ("torch", "pytorch-lightning", "numpy") and versions.get(package) != version
    ]
    found += [
        f"{key} {then[key]}, now {now[key]}"
        for key in ("threads", "device")
        if key in then and key in now and then[key] != now[key]
    ]
    return found


def _git(*arguments: str) -> str | None:
    """git's answer about the code that runs; None where there is no repository or no git."""
    try:
        answer = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
