"""Lightning's CSV logger and MLflow hold the same numbers, read back from their own files."""

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from logged_rows import check_rows
from program import TINY, forked
from trained import train_at

from skewlab.loggers.lifetime import retell
from skewlab.runs.folder import RunFolder
from skewlab.runs.reading import digest_of

SMALL = ("ratio=10", "model=mlp", *TINY)


def table_of(run: Path) -> list[dict[str, float]]:
    """Its rows; an empty cell is a name that a row does not have."""
    with (run / "csv" / "metrics.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    rows = [{name: float(cell) for name, cell in line.items() if cell} for line in lines]
    return [{"_step": row.pop("step"), **row} for row in rows]


def evaluations_of(run: Path) -> list[dict[str, float]]:
    return [row for row in table_of(run) if "test/loss" in row]


def test_csv_holds_the_curves(tmp_path: Path) -> None:
    folder = train_at(tmp_path, *SMALL, "logger=csv")
    check_rows(evaluations_of(folder.path), folder.path)


def test_csv_told_again_holds_the_run_once(told: Callable[..., Any]) -> None:
    run = told("logger=csv")
    for _ in range(2):
        retell(run.config, run.folder)
    check_rows(table_of(run.path), run.path)
    configuration = yaml.safe_load((run.path / "csv" / "hparams.yaml").read_text())
    assert configuration["ratio"] == 10


@pytest.mark.slow
def test_csv_of_an_interrupted_run_holds_it_once(tmp_path: Path) -> None:
    arguments = [*SMALL, "trainer.max_epochs=4", "logger=csv", f"logs_dir={tmp_path}", "study=s"]
    killed = forked(*arguments, fault="in_an_evaluation")
    assert killed.returncode == -signal.SIGKILL
    again = forked(*arguments)
    assert "goes on from step 6" in again.stderr
    assert "Experiment logs directory" not in again.stderr, "Lightning's warning"
    (status,) = (tmp_path / "s").glob("*/status.json")
    check_rows(evaluations_of(status.parent), status.parent)


def mlflow_runs(logs: Path, study: str) -> tuple[Any, list[Any]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{logs / 'mlflow.db'}")
    return client, client.search_runs([client.get_experiment_by_name(study).experiment_id])


def mlflow_rows(client: Any, run_id: str) -> list[dict[str, float]]:
    rows: dict[int, dict[str, float]] = {}
    for name in client.get_run(run_id).data.metrics:
        for point in client.get_metric_history(run_id, name):
            row = rows.setdefault(point.step, {"_step": float(point.step)})
            assert name not in row, "it is told once"
            row[name] = point.value
    return [rows[step] for step in sorted(rows)]


def test_mlflow_holds_the_curves(
    told: Callable[..., Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("skewlab.loggers.mlflow.MOST_AT_ONCE", 100)
    run = told("logger=mlflow")
    for _ in range(2):  # told again, it holds the run once
        retell(run.config, run.folder)
    assert "failed" not in capfd.readouterr().err
    client, (stored,) = mlflow_runs(run.path.parents[1], "told")
    assert (stored.info.run_name, stored.info.status) == (run.path.name, "FINISHED")
    assert stored.data.params["data/name"] == "mnist5k"
    check_rows(mlflow_rows(client, stored.info.run_id), run.path)


def test_a_run_that_is_trained_again_is_another_one_of_mlflow(
    told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = told("logger=mlflow")
    retell(run.config, run.folder)
    status = json.loads((run.path / "status.json").read_text())
    status |= {"created": "later"}
    status["digest"] = digest_of(status)
    (run.path / "status.json").write_text(json.dumps(status))
    retell(run.config, RunFolder(run.path))
    assert len(mlflow_runs(run.path.parents[1], "told")[1]) == 2
