"""One run's folder: what it holds and in which state the run is."""

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from skewlab.runs import jsonfile

PACKAGES = ("skewlab", "torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "wandb")
# `status.json`: the states a run can be in.
RUNNING, DONE, FAILED, DIVERGED = "running", "done", "failed", "diverged"


class RunFolder:
    """`<logs_dir>/<study>/<run name>/`, written by the run and read by everything else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started = time.time()
        self._provenance: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def state(self) -> str | None:
        """What `status.json` says; None where there is none that can be read."""
        try:
            return str(jsonfile.read(self.path / "status.json")["state"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def start(self, config: dict[str, Any]) -> None:
        """Make the folder anew, with the configuration and the state `running`."""
        if self.path.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True)
        self._started = time.time()
        self._provenance = provenance()
        # Hydra's command line can be given this file again; its own comments say so.
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        jsonfile.write_text(self.path / "config.yaml", text)
        self._write_status(RUNNING)

    def finish(self, state: str, **details: Any) -> None:
        """Write the last state: `done`, `failed` with `reason`, or `diverged` with `step`."""
        self._write_status(state, **details)

    def _write_status(self, state: str, **details: Any) -> None:
        now = time.time()
        status = {
            "state": state,
            **details,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._started)),
            "seconds": round(now - self._started, 1),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "provenance": self._provenance,
        }
        jsonfile.write(self.path / "status.json", status)


def provenance() -> dict[str, Any]:
    """What produced a run: the command, the code's version, the packages, the machine."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "commit": _git("rev-parse", "HEAD"),
        "changed_since_commit": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "packages": versions,
        "machine": platform.machine(),
        "processors": os.cpu_count(),
    }


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
