"""What is in the place of a study's folder is found, and named, before anything is trained."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import refused

from skewlab.launch.folders import make_study


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("kind", ["file", "dangling", "circle", "pipe"])
def test_what_is_no_folder_is_named(tmp_path: Path, kind: str, depth: int) -> None:
    parts = ("logs", "study", "run")
    odd = tmp_path.joinpath(*parts[: depth + 1])
    odd.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        odd.touch()
    elif kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to(odd if kind == "circle" else "nowhere")
    logs = str(tmp_path / "logs")
    said = refused(lambda: make_study(logs, "study", [tmp_path.joinpath(*parts)]))
    assert said.startswith(f"logs_dir={logs}: must be a folder" if not depth else "study=study: ")
    assert str(odd) in said
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("logs", ["/proc/x", "/dev/null/x", "/proc", "/" + "x" * 300])
def test_where_nothing_can_be_written_is_named(logs: str) -> None:
    assert refused(lambda: make_study(logs, "study")).startswith(f"logs_dir={logs}: must be a fold")


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root writes all")
@pytest.mark.parametrize("closed", [".", "study"])
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, closed: str) -> None:
    """By another user, as root may write everything."""
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(0o755)
    (tmp_path / closed).mkdir(exist_ok=True)
    (tmp_path / closed).chmod(0o555)
    script = (
        "import sys; from skewlab.launch.folders import make_study\n"
        "try: make_study(sys.argv[1], 'study')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    other = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    made = subprocess.run(
        [*other, sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True
    )
    assert made.stdout.startswith(f"ConfigError logs_dir={tmp_path}: must be"), made.stderr
    assert "Permission denied" in made.stdout


def test_a_folder_is_made_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "logs").symlink_to("disk")
    for _ in range(2):
        make_study(str(tmp_path / "logs"), "study", [tmp_path / "logs" / "study" / "run"])
    assert list((tmp_path / "disk").rglob("*")) == [tmp_path / "disk" / "study"]
