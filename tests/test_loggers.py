"""Other loggers than W&B offline carry the same numbers, and none of them costs a job."""

import json
import sqlite3
from pathlib import Path

import pytest
from program import ROOT, TINY, command
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb_records import read_run

from skewlab.errors import ConfigError
from skewlab.loggers import check
from skewlab.runs.curvefile import read_curves

ARGUMENTS = ("ratio=10", "model=mlp", *TINY)


def only_run(study: Path) -> Path:
    (path,) = study.glob("*/status.json")
    return path.parent


def test_trackio_holds_the_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    done = command("train.py", "logger=trackio", f"logs_dir={tmp_path}", *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert "Trackio project" not in done.stdout
    database = sqlite3.connect(tmp_path / "trackio" / "skewlab.db")
    rows = database.execute("select step, metrics from metrics order by step").fetchall()
    lines, _ = read_curves(only_run(tmp_path / "default"))
    tests = [line for line in lines if line["split"] == "test"]
    assert [step for step, _ in rows] == [line["step"] for line in tests]
    for (_, metrics), line in zip(rows, tests, strict=True):
        streamed = json.loads(metrics)
        assert streamed["test/recall/minority"] == pytest.approx(line["recall"][5:].mean())
        assert streamed["epoch"] == pytest.approx(line["epoch"])


def test_online_without_a_network_goes_on_offline_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nothing listens there
    done = command("train.py", "logger=wandb_online", f"logs_dir={tmp_path}", *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert "W&B stays offline (127.0.0.1 cannot be reached" in done.stderr
    run = read_run(only_run(tmp_path / "default"))
    assert run.exit_code == 0
    assert run.history


def test_online_without_a_key_goes_on_offline_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    done = command("train.py", "logger=wandb_online", f"logs_dir={tmp_path}", *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert "W&B stays offline (no API key" in done.stderr


def test_a_logger_that_is_not_installed_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        check.__globals__["NEEDED_PACKAGES"], "skewlab.loggers.trackio_logger", "no_such_package"
    )
    with pytest.raises(ConfigError, match="pip install 'skewlab"):
        check({"_target_": "skewlab.loggers.trackio_logger"})


@pytest.mark.slow
@pytest.mark.parametrize("logger", ["wandb", "trackio", "tensorboard"])
def test_an_interrupted_runs_logger_holds_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: str
) -> None:
    """Killed in an evaluation, when its stream was ahead of its last checkpoint."""
    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    arguments = ["ratio=10", *TINY, "trainer.max_epochs=4"]
    arguments += [f"logger={logger}", f"logs_dir={tmp_path}"]
    inject = str(ROOT / "tests" / "faults" / "inject.py")
    killed = command(inject, "in_an_evaluation:study", "--", *arguments)
    assert "ended study -9" in killed.stdout
    again = command("train.py", *arguments, "study=study")
    assert "goes on from step 6" in again.stderr
    folder = only_run(tmp_path / "study")
    if logger == "wandb":
        run = read_run(folder)
        assert run.exit_code == 0
        steps = [row["step"] for row in run.history]
    elif logger == "trackio":
        database = sqlite3.connect(tmp_path / "trackio" / "skewlab.db")
        steps = [step for (step,) in database.execute("select step from metrics order by step")]
    else:
        events = EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        steps = [event.step for event in events.Scalars("test/recall/minority")]
    assert steps == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12]
