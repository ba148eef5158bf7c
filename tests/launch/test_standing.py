"""What a command makes of the folder that it finds: the same run, another one, other data."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from program import forked

from skewlab.config.schema import checked
from skewlab.errors import Damaged
from skewlab.launch.standing import is_done
from skewlab.runs.folder import RunFolder
from skewlab.runs.identity import run_path

SMALL = (
    *("ratio=5", "imbalance.n_max=20", "data.val_per_class=4", "trainer.max_epochs=2"),
    *("training.checkpoint_seconds=0", "curves.early_points=0", "logger=none"),
    *("model=mlp", "model.hidden=[4]", "data.batch_size=16"),
)


def save(path: Path, shuffled: bool = False) -> None:
    """Noise of three classes; the same images with other labels where they are shuffled."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (120, 6, 6), dtype=np.uint8)
    labels = np.arange(120) % 3
    given = random.permutation(labels) if shuffled else labels
    np.savez(path, x_train=images, y_train=given, x_test=images[:30], y_test=labels[:30])


def train(place: Path, *more: str, fault: str = "nothing") -> CompletedProcess[str]:
    data = ("data=arrays", f"data.source.path={place}/data.npz", f"logs_dir={place}/logs")
    return forked(*SMALL, *data, *more, fault=fault, timeout=60)


def the_run(place: Path) -> Path:
    (status,) = place.glob("logs/*/*/status.json")
    return status.parent


def summary(run: Path) -> Any:
    return json.loads((run / "summary.json").read_text())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    save(tmp_path / "data.npz")
    return tmp_path


def test_other_data_are_named_and_never_mixed(place: Path) -> None:
    assert train(place).returncode == 0
    before = (the_run(place) / "curves.jsonl").read_bytes()
    save(place / "data.npz", shuffled=True)
    again = train(place)
    assert again.returncode == 1
    assert f"{the_run(place) / 'data.json'}: is of other data than those of today" in again.stdout
    assert "fingerprint=" in again.stdout
    assert (the_run(place) / "curves.jsonl").read_bytes() == before
    assert train(place, "overwrite=true").returncode == 0
    assert (the_run(place) / "curves.jsonl").read_bytes() != before
    assert train(place).returncode == 0, "it is of these data now"


def test_an_interrupted_run_does_not_go_on_with_other_data(place: Path) -> None:
    assert train(place, fault="sigterm@2").returncode == 143
    save(place / "data.npz", shuffled=True)
    again = train(place)
    assert again.returncode == 1
    assert "is of other data than those of today" in again.stdout
    save(place / "data.npz")
    assert "goes on from step 2" in train(place).stderr


def test_data_that_are_gone_cost_no_finished_run(place: Path) -> None:
    assert train(place).returncode == 0
    (place / "data.npz").unlink()
    again = train(place)
    assert again.returncode == 0
    assert "its data cannot be compared with those of today" in again.stderr


def test_two_configurations_with_one_hash_are_two_runs(
    tmp_path: Path, composed: Callable[..., dict[str, Any]]
) -> None:
    """A name is a hash of few digits. Here the folder of one has the name of the other."""
    one, other = (checked(composed(f"optimizer.lr={rate}")) for rate in ("0.014101", "0.024734"))
    folder = RunFolder(run_path(one))
    folder.start(composed("optimizer.lr=0.024734"), {})
    with pytest.raises(Damaged, match=r"optimizer\.lr=0\.024734 there, 0\.014101 here"):
        is_done(folder, one)
    assert not is_done(RunFolder(run_path(other)), other)


def test_a_run_that_is_trained_anew_replaces_the_old_one_once_it_is_done(place: Path) -> None:
    assert train(place).returncode == 0
    run = the_run(place)
    old = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    (run / "notes.txt").write_text("mine")
    stopped = train(place, "overwrite=true", fault="sigterm@2")
    assert stopped.returncode == 143
    aside = run.with_name(f"{run.name}.before")
    assert f"kept until then ({aside})" in stopped.stderr
    assert {name: (aside / name).read_bytes() for name in old} == old
    # Until then the old one counts.
    report = forked(f"{place}/logs", program="report.py")
    assert report.returncode == 0, report.stderr
    assert report.stdout.startswith("At ratio 5 the minority is")
    assert train(place).returncode == 0
    assert summary(run)["step"] == summary_step(old)
    assert not aside.exists()
    assert (run / "notes.txt").read_text() == "mine"
    assert (run / "curves.jsonl").read_bytes() == old["curves.jsonl"]


def summary_step(old: dict[str, bytes]) -> int:
    return int(json.loads(old["summary.json"])["step"])


def test_one_bad_folder_leaves_the_other_jobs(place: Path) -> None:
    assert train(place).returncode == 0
    run = the_run(place)
    (run / "status.json").write_text("")
    ended = train(place, "seed=0,1", "--multirun")
    assert ended.returncode == 1
    assert f"{run / 'status.json'}: is empty" in ended.stdout
    assert (run / "curves.jsonl").exists()
    states = [
        json.loads(path.read_text())["state"]
        for path in place.glob("logs/*/*/status.json")
        if path.parent != run
    ]
    assert states == ["done"]


def test_a_study_that_is_removed_in_mid_run_is_a_failure(place: Path) -> None:
    ended = train(place, "trainer.max_epochs=4", fault="removed")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_runs_of_two_data_sets_of_one_name_are_two_settings(place: Path) -> None:
    assert train(place).returncode == 0
    shutil.move(place / "logs" / "default", place / "logs" / "first")
    save(place / "data.npz", shuffled=True)
    assert train(place, "seed=1").returncode == 0
    report = forked(f"{place}/logs", program="report.py")
    assert report.returncode == 0, report.stderr
    rows = (place / "logs" / "report" / "results.csv").read_text().splitlines()
    assert len(rows) == 3, "a row for each, and no mean of both"
