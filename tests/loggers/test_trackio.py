"""trackio holds the same numbers, read back from its own database."""

import json
import math
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lightning_rows import check_told, train_with
from logged_rows import check_rows

from skewlab.distributed import ALONE
from skewlab.loggers.lifetime import loggers, retell
from skewlab.runs.curve_file import read_curves


def numbered(value: Any) -> Any:
    """It keeps what is not a number as a word."""
    return math.nan if value == "NaN" else value


@pytest.fixture(scope="module")
def trackio_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where trackio keeps its projects: it reads this once, when it is imported."""
    folder = tmp_path_factory.mktemp("trackio")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TRACKIO_DIR", str(folder))
        yield folder


def rows_of(path: Path) -> list[dict[str, Any]]:
    database = sqlite3.connect(path)
    return [
        {"_step": step, **{k: numbered(v) for k, v in json.loads(metrics).items()}}
        for step, metrics in database.execute("select step, metrics from metrics order by id")
    ]


def test_trackio_holds_the_curves(
    told: Callable[..., Any], trackio_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = told("logger=trackio")
    for _ in range(2):  # told again, it holds the run once
        retell(run.config, run.folder)
    assert "Trackio project" not in capfd.readouterr().out
    rows = rows_of(trackio_folder / "skewlab.db")
    check_rows(rows[:-1], run.path)
    shown = rows[-1]
    assert shown["result/classes"]["_value"][0]["training samples"] == 30
    for name in ("curves", "samples"):
        picture = trackio_folder / "media" / shown[f"result/{name}"]["file_path"]
        assert picture.read_bytes() == (run.path / f"{name}.png").read_bytes()
    tests = [line for line in read_curves(run.path)[0] if line.get("split") == "test"]
    cells = shown["result/confusion"]["_value"]
    sums = [sum(v for k, v in row.items() if k != "true class") for row in cells]
    assert sums == list(tests[-1]["n"])


def test_it_keeps_no_home_folder(
    told: Callable[..., Any],
    trackio_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run = told("logger=trackio", "logger.trackio.project=shared")
    retell(run.config, run.folder)
    database = sqlite3.connect(trackio_folder / "shared.db")
    ((config,),) = database.execute("select config from configs")
    assert json.loads(config)["logs_dir"] == "~/logs"
    assert str(tmp_path).encode() not in config


def test_lightnings_own_rows_are_there_too(told: Callable[..., Any], trackio_folder: Path) -> None:
    run = told("logger=trackio", "logger.trackio.project=lightning")
    with loggers(run.config, run.folder, ALONE) as (started, _):
        train_with(*started)
    check_told(rows_of(trackio_folder / "lightning.db"))
