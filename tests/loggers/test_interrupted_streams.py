"""Loggers of runs that were killed, and loggers that are not there."""

import json
import re
import signal
import sqlite3
from pathlib import Path

import pytest
from logged_rows import check_rows
from program import TINY, forked
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb_records import read_run

from skewlab.errors import ConfigError
from skewlab.loggers import check

# At every evaluation.
TOLD = "test/recall/minority"


def only_run(study: Path) -> Path:
    (path,) = study.glob("*/status.json")
    return path.parent


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("skewlab.loggers.trackio.TrackioRun", "uv sync --extra trackio"),
        ("pytorch_lightning.loggers.CometLogger", "pip install comet-ml"),
    ],
)
def test_a_logger_that_is_not_installed_names_the_command(
    monkeypatch: pytest.MonkeyPatch, target: str, command: str
) -> None:
    """Python is told that there is no such package, whether there is one here or not."""
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=re.escape(command)) as refused:
        check("mine", {"_target_": target})
    assert str(refused.value).startswith(f"logger.mine._target_={target}: the package ")
    check("mine", {"_target_": "pytorch_lightning.loggers.CSVLogger"})


@pytest.mark.slow
@pytest.mark.parametrize("logger", ["wandb", "trackio", "tensorboard"])
def test_an_interrupted_runs_logger_holds_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: str
) -> None:
    """Killed in an evaluation, when its stream was ahead of its last checkpoint; at the steps 10
    and 11 there is what a probe has found, and no evaluation."""
    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    arguments = ["ratio=10", *TINY, "trainer.max_epochs=4"]
    arguments += ["curves/probes=initial_drop", f"logger={logger}", f"logs_dir={tmp_path}"]
    killed = forked(*arguments, "study=study", fault="in_an_evaluation")
    assert killed.returncode == -signal.SIGKILL
    again = forked(*arguments, "study=study")
    assert "goes on from step 6" in again.stderr
    folder = only_run(tmp_path / "study")
    if logger == "wandb":
        run = read_run(folder)
        assert run.exit_code == 0
        check_rows(run.history, folder)
        steps = [row["_step"] for row in run.history]
        assert steps == list(range(13))
        steps = [row["_step"] for row in run.history if TOLD in row]
    elif logger == "trackio":
        database = sqlite3.connect(tmp_path / "trackio" / "skewlab.db")
        rows = database.execute("select step, metrics from metrics order by step")
        steps = [step for step, metrics in rows if TOLD in json.loads(metrics)]
    else:
        events = EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        steps = [event.step for event in events.Scalars(TOLD)]
    assert steps == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12]
