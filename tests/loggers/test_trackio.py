"""trackio holds the same numbers, read back from its own database."""

import json
import math
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from logged_rows import check_rows

from skewlab.loggers.lifetime import retell
from skewlab.runs.curve_file import read_curves


def numbered(value: Any) -> Any:
    """It keeps what is not a number as a word."""
    return math.nan if value == "NaN" else value


def test_trackio_holds_the_curves(
    told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = told("logger=trackio")
    trackio_folder = run.path.parents[1] / "trackio"
    monkeypatch.setenv("TRACKIO_DIR", str(trackio_folder))
    for _ in range(2):  # told again, it holds the run once
        retell(run.settings, run.folder)
    assert "Trackio project" not in capfd.readouterr().out
    database = sqlite3.connect(trackio_folder / "skewlab.db")
    rows = [
        {"_step": step, **{k: numbered(v) for k, v in json.loads(metrics).items()}}
        for step, metrics in database.execute("select step, metrics from metrics order by id")
    ]
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
