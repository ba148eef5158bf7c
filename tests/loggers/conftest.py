"""A run that was really trained, to be told to loggers; and a server for those that want one."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wandb
from program import TINY, composed_at
from wandb_server import WandbServer, serving

from skewlab.config import Settings, check
from skewlab.preemption import StopRequest
from skewlab.runs.folder import DONE, RunFolder
from skewlab.runs.identity import run_path
from skewlab.train import train

RUN = ("ratio=10", "model=mlp", "study=told", *TINY)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs of one run, trained in this process without a logger."""
    logs = tmp_path_factory.mktemp("trained")
    config = composed_at(logs, *RUN, "logger=none")
    settings = check(config)
    folder = RunFolder(run_path(settings))
    folder.start(config, {})
    with StopRequest() as stop:
        train(settings, folder, "", stop)
    folder.finish(DONE)
    return logs


class Told:
    """A copy of the trained run, and settings that differ by their logger."""

    def __init__(self, trained: Path, logs: Path, *overrides: str) -> None:
        if not logs.exists():
            shutil.copytree(trained, logs)
        self.settings: Settings = check(composed_at(logs, *RUN, *overrides))
        self.folder = RunFolder(run_path(self.settings))
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
        wandb.teardown()  # it reads its settings once
        yield stand_in
        wandb.teardown()
