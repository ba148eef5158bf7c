"""A run's folder and its status."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from skewlab.runs.folder import DIVERGED, DONE, PREEMPTED, RunFolder

CONFIG = {"ratio": 10, "name": "größe"}


def status_of(run: RunFolder) -> dict[str, Any]:
    status: dict[str, Any] = json.loads((run.path / "status.json").read_text())
    return status


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "study" / "run")
    assert run.status() == {}
    assert run.state() is None
    run.start(CONFIG, {"device": "cpu"})
    status = status_of(run)
    assert (status["state"], run.state()) == ("running", "running")
    assert status["resumed_at"] == []
    assert status["created"] == status["started"] == run.created
    assert status["provenance"]["device"] == "cpu"
    assert yaml.safe_load((run.path / "config.yaml").read_text()) == CONFIG
    run.finish(DIVERGED, step=7, reason="its loss is no number")
    status = status_of(run)
    assert (status["state"], status["step"]) == (DIVERGED, 7)
    RunFolder(run.path).finish(DONE)  # by another process, which has only the file
    assert status_of(run) == {
        **{key: value for key, value in status.items() if key not in ("step", "reason")},
        **{"state": DONE, "seconds": status_of(run)["seconds"]},
    }, "without the step and the reason of the end before"


def test_a_resumed_run_keeps_when_it_was_created(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.start(CONFIG, {})
    run.finish(PREEMPTED, reason="asked to stop")
    file = tmp_path / "status.json"
    file.write_text(json.dumps({**status_of(run), "created": "2020-01-01T00:00:00Z"}))
    for step in (3, 5):
        run = RunFolder(tmp_path)
        run.start(CONFIG, {}, resumed_at=step)
        assert run.created == "2020-01-01T00:00:00Z"
    status = status_of(run)
    assert status["resumed_at"] == [3, 5]
    assert status["started"] > status["created"]
    assert "reason" not in status
    run = RunFolder(tmp_path)
    run.start(CONFIG, {})
    assert run.created > "2020-01-01T00:00:00Z", "a run that begins again is a new one"
    assert status_of(run)["resumed_at"] == []


@pytest.mark.parametrize("text", ["", '{"state": "do', "[1, 2]"])
def test_a_damaged_status_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(text)
    assert RunFolder(tmp_path).status() == {}
    RunFolder(tmp_path).queue()
    assert (tmp_path / "status.json").read_text() == text


def test_a_queued_run_keeps_what_it_holds(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.start(CONFIG, {})
    run.finish(DONE)
    before = status_of(run)
    run.queue()
    assert status_of(run) == {**before, "state": "queued"}


def test_clearing_leaves_the_lock_to_its_owner(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in ("lock", "lock.json", "curves.jsonl", "checkpoints/last.ckpt"):
        (tmp_path / name).touch()
    RunFolder(tmp_path).clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "lock.json"]
