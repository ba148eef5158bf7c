"""A disk that fills, memory that runs out: a clear line, and what was there stays."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from program import ROOT, TINY, command, forked

from skewlab.runs.curve_file import read_curves

ARGUMENTS = ("ratio=10", *TINY, "trainer.max_epochs=4")


def inject(fault: str, logs: Path, *arguments: str) -> tuple[int, str]:
    """The exit code and what was said."""
    given = [*arguments, *ARGUMENTS, f"logs_dir={logs}", "study=study"]
    done = forked(*given, fault=fault)
    return done.returncode, done.stdout + done.stderr


def states(study: Path) -> list[str]:
    return [json.loads(path.read_text())["state"] for path in sorted(study.glob("*/status.json"))]


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path, row: Callable[..., None]) -> None:
    """No file can grow from the third checkpoint on."""
    code, said = inject("full_disk", tmp_path, "logger=wandb")
    assert code == 1
    assert "Traceback" not in said
    assert re.search(r"error: cannot write to \S+: File too large; what is there stays", said)
    (folder,) = (tmp_path / "study").glob("mnist5k-*")
    assert states(tmp_path / "study") == ["failed"]
    lines, problems = read_curves(folder)
    assert len(lines) == 3 * 10
    assert not problems
    assert not list((folder / "checkpoints").glob(".*")), "no half checkpoint fills the disk"
    # There is room again.
    code, said = inject("nothing", tmp_path, "logger=none")
    assert code == 0
    assert "goes on from step 6" in said
    assert len(read_curves(folder)[0]) == 3 * 11
    row(
        "no file can grow any more (disk full, quota)",
        "a line that says so, exit code 1, what is there stays readable",
        "so; with room again the same command went on and ended",
        "3 of 12 steps trained again",
    )


@pytest.mark.slow
def test_memory_runs_out_in_one_job(tmp_path: Path, row: Callable[..., None]) -> None:
    code, said = inject("starved", tmp_path, "-m", "seed=0,1,2", "logger=none")
    assert code == 1
    assert states(tmp_path / "study") == ["failed", "done", "done"]
    assert "1 of 3 runs failed" in said
    assert "can't allocate memory" in said
    row("memory runs out in one of three jobs", "the others end; exit code 1", "so", "that job")


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A real file system with so many kilobytes of room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "none", str(disk)],
        capture_output=True,
    )
    if mounted.returncode or os.name != "posix":
        pytest.skip("needs the right to mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("small_disk", [4, 200, 500, 1000, 2000], indirect=True)
def test_a_small_disk(
    small_disk: Path, request: pytest.FixtureRequest, row: Callable[..., None]
) -> None:
    """Not even the status can be written, or the checkpoints, or the report."""
    arguments = [*ARGUMENTS, "trainer.max_epochs=8", "seed=0,1", f"logs_dir={small_disk}"]
    full = command("train.py", "-m", *arguments)
    assert full.returncode == 1, full.stderr
    assert "No space left on device" in full.stderr + full.stdout
    assert "Traceback" not in full.stderr, full.stderr
    for curves in small_disk.glob("default/*/curves.jsonl"):
        assert len(read_curves(curves.parent)[1]) <= 1, "at most the line that was being written"
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    again = command("train.py", "-m", *arguments, cwd=ROOT)
    assert again.returncode == 0, again.stderr + again.stdout
    assert states(small_disk / "default") == ["done", "done"]
    row(
        f"a file system with {request.node.callspec.params['small_disk']} kB of room",
        "a line for what cannot be written, exit code 1; with room the same command ends the sweep",
        "so",
        "steps since the last checkpoint",
    )


@pytest.mark.slow
def test_somebody_elses_study(tmp_path: Path, row: Callable[..., None]) -> None:
    """A folder that may be read and not written: root gives up its right to write anywhere."""
    rights = "-dac_override,-dac_read_search,-fowner"
    bounded = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
    if os.geteuid() or shutil.which("setpriv") is None:
        pytest.skip("needs root, who gives up rights with setpriv")
    study = tmp_path / "logs" / "default"
    study.mkdir(parents=True)
    os.chown(study, 12345, 12345)
    arguments = [*ARGUMENTS, "logger=none", f"logs_dir={tmp_path}/logs"]
    ended = subprocess.run(
        [*bounded, sys.executable, "train.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode != 0
    assert "Permission denied" in ended.stderr
    assert "Traceback" not in ended.stderr, ended.stderr
    row("the study is somebody else's", "a line that says so, exit code not 0", "so", "nothing")
