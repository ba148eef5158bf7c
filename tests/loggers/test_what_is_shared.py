"""What loggers are told says nothing of the person and the machine."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wandb_server import WandbServer

from skewlab.loggers.lifetime import retell


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(socket, "gethostname", lambda: "secret-host.example")
    for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize("logger", ["csv", "tensorboard"])
def test_what_lies_on_disk(told: Callable[..., Any], home: Path, logger: str) -> None:
    run = told(f"logger={logger}", f"data_dir={home}/data")
    retell(run.config, run.folder)
    written = [path for path in (run.path / logger).rglob("*") if path.is_file()]
    assert any(b"mnist5k" in path.read_bytes() for path in written), "it has the configuration"
    for path in written:
        assert str(home).encode() not in path.read_bytes()
        assert b"secret-host" not in path.name.encode() + path.read_bytes()


def test_what_wandbs_server_gets(told: Callable[..., Any], home: Path, server: WandbServer) -> None:
    run = told("logger=wandb_online", f"data_dir={home}/data")
    retell(run.config, run.folder)
    (stored,) = (run for run in server.runs.values() if run.about)
    assert stored.config["data_dir"]["value"] == "~/data"
    assert not stored.about.get("host")
    everything = repr([vars(run) for run in server.runs.values()])
    assert "test/balanced_accuracy" in everything
    for secret in (str(home), "secret-host", "train.py", "/bin/python", "wandb-metadata.json"):
        assert secret not in everything


def test_what_is_kept_for_wandb_to_upload_later(told: Callable[..., Any], home: Path) -> None:
    run = told("logger=wandb", f"data_dir={home}/data")
    retell(run.config, run.folder)
    (record,) = run.path.glob("wandb/offline-run-*/*.wandb")
    assert b"~/data" in record.read_bytes()
    for secret in (str(home), "secret-host", "/bin/python"):
        assert secret.encode() not in record.read_bytes()
    assert not (record.parent / "files" / "wandb-metadata.json").exists()
