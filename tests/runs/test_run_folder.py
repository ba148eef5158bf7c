"""A run's folder and its status."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from skewlab.errors import Damaged
from skewlab.runs.folder import DIVERGED, DONE, PREEMPTED, RunFolder
from skewlab.runs.reading import digest_of

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
    of_the_end = ("step", "reason", "digest", "files")
    assert status_of(run) == {
        **{key: value for key, value in status.items() if key not in of_the_end},
        **{key: status_of(run)[key] for key in ("seconds", "digest", "files")},
        "state": DONE,
    }, "without the step and the reason of the end before"
    assert status_of(run)["files"] == {
        "config.yaml": hashlib.sha256((run.path / "config.yaml").read_bytes()).hexdigest()
    }


def test_a_resumed_run_keeps_when_it_was_created(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.start(CONFIG, {})
    run.finish(PREEMPTED, reason="asked to stop")
    file = tmp_path / "status.json"
    status = {**status_of(run), "created": "2020-01-01T00:00:00Z"}
    file.write_text(json.dumps({**status, "digest": digest_of(status)}))
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


@pytest.mark.parametrize("text", ["", '{"state": "do', "[1, 2]", '{"state": "done"}'])
def test_a_damaged_status_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(Damaged, match=r"status\.json: "):
        RunFolder(tmp_path).status()
    assert (tmp_path / "status.json").read_text() == text


def test_files_without_a_status_are_no_new_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert RunFolder(tmp_path).status() == {}
    (tmp_path / "summary.json").touch()
    with pytest.raises(Damaged, match=r"status\.json: is not there"):
        RunFolder(tmp_path).status()


def test_another_runs_status_is_named(tmp_path: Path) -> None:
    RunFolder(tmp_path / "one").start(CONFIG, {})
    (tmp_path / "one").rename(tmp_path / "two")
    with pytest.raises(Damaged, match="of another run, one"):
        RunFolder(tmp_path / "two").status()


def test_what_was_set_aside_goes_once_the_new_run_is_done(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    for text in ("first", "second"):
        run.start(CONFIG, {})
        (run.path / "summary.json").write_text(text)
        (run.path / "notes.txt").write_text(text)
        run.set_aside()
    assert not run.path.exists()
    assert [(path / "summary.json").read_text() for path in run.set_aside_before()] == [
        "first",
        "second",
    ]
    run.start(CONFIG, {})
    run.finish(DONE)
    run.drop_set_aside()
    assert (run.path / "notes.txt").read_text() == "first"
    # A second file of that name stays where it is.
    (left,) = tmp_path.glob("run.before*")
    assert [path.name for path in left.iterdir()] == ["notes.txt"]


def test_only_what_was_set_aside_is_removed(tmp_path: Path) -> None:
    """Links, other runs and copies can have such names too."""
    run = RunFolder(tmp_path / "run")
    run.start(CONFIG, {})
    other = RunFolder(tmp_path / "other")
    other.start(CONFIG, {})
    other.set_aside().rename(tmp_path / "run.before-2")
    (tmp_path / "run.before").symlink_to("run.before-2")
    RunFolder(tmp_path / "run.before-3").start(CONFIG, {})
    (tmp_path / "run.before-4").touch()
    assert run.set_aside_before() == []
    run.drop_set_aside()
    for name in ("run.before", "run.before-2", "run.before-3"):
        assert (tmp_path / name / "status.json").exists()
    assert run.set_aside().name == "run.before-5"


def test_what_others_put_into_a_run_comes_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.start(CONFIG, {})
    own = ("checkpoints/own.ckpt", "notes/a/b.txt", "wandb/my.txt", "tensorboard/my.txt")
    written = ("checkpoints/last.ckpt", "csv/metrics.csv", "tensorboard/events.out.tfevents.1")
    for name in (*own, *written, "wandb/offline-run-1-x/run-x.wandb"):
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).touch()
    run.set_aside()
    run.start(CONFIG, {})
    run.finish(DONE)
    run.drop_set_aside()
    left = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert left == {*own, "config.yaml", "status.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.start(CONFIG, {})
    for place, name in (("checkpoints", "last.ckpt"), ("csv", "metrics.csv"), ("wandb", "a")):
        (tmp_path / place).mkdir()
        (tmp_path / place / name).touch()
        (run.path / place).symlink_to(tmp_path / place)
    with pytest.raises(Damaged, match="checkpoints: must be a folder"):
        run.check_writable()
    run.clear()
    for place, name in (("checkpoints", "last.ckpt"), ("csv", "metrics.csv"), ("wandb", "a")):
        assert (tmp_path / place / name).exists()


def test_clearing_leaves_what_skewlab_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    written = ("curves.jsonl", "checkpoints/last.ckpt", "summary.json", ".curves.jsonl")
    others = ("lock", "notes.txt", "checkpoints/mine.ckpt")
    for name in (*written, *others):
        (tmp_path / name).touch()
    RunFolder(tmp_path).clear()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(others)


@pytest.mark.parametrize("name", ["config.yaml", "curves.jsonl", "checkpoints/last.ckpt"])
def test_what_is_done_is_held_against_its_digests(tmp_path: Path, name: str) -> None:
    run = RunFolder(tmp_path)
    run.start(CONFIG, {})
    assert not run.ended()
    (tmp_path / "checkpoints").mkdir()
    for written in ("curves.jsonl", "checkpoints/last.ckpt"):
        (tmp_path / written).write_text("written")
    run.finish(DONE)
    assert run.ended(checkpoints=True)
    (tmp_path / name).write_text("changed")
    with pytest.raises(Damaged, match=f"{name}: is not what the run wrote"):
        run.ended(checkpoints=True)
    if name.startswith("checkpoints"):
        assert run.ended(), "checkpoints are large, and looked at only where it matters"
    (tmp_path / name).unlink()
    with pytest.raises(Damaged, match=f"{name}: is not there"):
        run.ended(checkpoints=True)


def test_a_status_holds_its_own_digest(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.start(CONFIG, {"threads": 2})
    text = (tmp_path / "status.json").read_text()
    (tmp_path / "status.json").write_text(text.replace('"threads": 2', '"threads": 3'))
    with pytest.raises(Damaged, match="is not what the run wrote"):
        RunFolder(tmp_path).status()


@pytest.mark.parametrize("name", ["checkpoints", "curves.jsonl", "run.log"])
def test_what_will_be_written_must_be_a_file(tmp_path: Path, name: str) -> None:
    run = RunFolder(tmp_path)
    run.check_writable()
    if name == "checkpoints":
        (tmp_path / name).write_text("")
    else:
        (tmp_path / name).symlink_to("/etc/passwd")
    with pytest.raises(Damaged, match=f"{name}: must be"):
        run.check_writable()
