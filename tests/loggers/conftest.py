"""A run that was really trained, to be told to loggers; and a server for those that want one."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wandb
from program import TINY, composed_at
from trained import train_at
from wandb_server import WandbServer, serving

from skewlab.config.schema import RunConfig, checked
from skewlab.runs.folder import RunFolder
from skewlab.runs.identity import run_path

# The last epoch is evaluated at its end only: what is there at its other steps is of probes alone.
# Classes are absent from its batches, and are not predicted: some of their numbers are NaN.
PROBES = ("curves/probes=[gradients,calibration,samples]", "curves.early_epochs=1")
RUN = ("ratio=10", "model=mlp", "study=told", *TINY, *PROBES)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs of one run, trained in this process without a logger."""
    logs = tmp_path_factory.mktemp("trained")
    train_at(logs, *RUN, "logger=none")
    return logs


class Told:
    """A copy of the trained run, and its configuration with another logger."""

    def __init__(self, trained: Path, logs: Path, *overrides: str) -> None:
        if not logs.exists():
            shutil.copytree(trained, logs)
        self.config: RunConfig = checked(composed_at(logs, *RUN, *overrides))
        self.folder = RunFolder(run_path(self.config))
        self.path = self.folder.path


@pytest.fixture
def told(trained: Path, tmp_path: Path) -> Callable[..., Told]:
    return lambda *overrides: Told(trained, tmp_path / "logs", *overrides)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A stand-in for the server, which W&B is told is the real one."""
    with serving() as stand_in:
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", stand_in.address)
        monkeypatch.setattr("skewlab.loggers.wandb.BEGIN_TIMEOUT", 4.0)
        monkeypatch.setattr("skewlab.loggers.wandb.END_TIMEOUT", 4.0)
        monkeypatch.setattr("skewlab.loggers.wandb.REACH_TIMEOUT", 2.0)
        monkeypatch.setattr("skewlab.loggers.wandb._gave_up", None)
        monkeypatch.setattr("skewlab.loggers.wandb._said", set())
        monkeypatch.setattr("skewlab.loggers.wandb._unread", "")
        for name in ("WANDB_MODE", "WANDB_DISABLED"):
            monkeypatch.delenv(name, raising=False)
        wandb.teardown()  # it reads its settings once
        yield stand_in
        wandb.teardown()
