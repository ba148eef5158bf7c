"""Pages of the documentation, executed as they are printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from program import ROOT

PARTS = re.compile(
    r"^`(?P<path>[\w/.]+)`:\n\n```\w+\n(?P<file>.*?)^```$"  # a file, under its name
    r"|^```python\n(?P<python>.*?)^```$"
    r"|^    (?P<command>python .*?)$",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository, as far as its user's commands need it."""
    for name in ("train.py", "eval.py", "report.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "skewlab").symlink_to(ROOT / "src" / "skewlab")
    if (ROOT / "data").is_dir():
        (tmp_path / "data").symlink_to(ROOT / "data")
    return tmp_path


def run(checkout: Path, *command: str) -> str:
    """What a command prints; it must succeed."""
    path = os.pathsep.join([str(checkout / "src"), os.environ.get("PYTHONPATH", "")])
    python = Path(sys.executable).parent
    ended = subprocess.run(
        command,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": path, "PATH": f"{python}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout[-2000:]}\n{ended.stderr[-3000:]}"
    return ended.stdout + ended.stderr


def execute(page: Path, checkout: Path) -> dict[str, str]:
    """Write each file of a page, run each command and each piece of Python, in their order; what
    they print, by command."""
    printed: dict[str, str] = {}
    code = ""

    def flush() -> None:
        nonlocal code
        if code:
            printed["python"] = printed.get("python", "") + run(checkout, "python", "-c", code)
        code = ""

    for part in PARTS.finditer(page.read_text()):
        if part["path"]:
            file = checkout / part["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(part["file"])
        elif part["python"]:
            code += part["python"]
        else:
            flush()
            printed[part["command"]] = run(checkout, "bash", "-c", part["command"])
    flush()
    return printed


@pytest.mark.slow
def test_extending(checkout: Path) -> None:
    printed = execute(ROOT / "docs" / "extending.md", checkout)
    assert len(printed) >= 12
    runs = {path.parent for path in (checkout / "logs").glob("*/*/status.json")}
    assert all('"state": "done"' in (run / "status.json").read_text() for run in runs)
    (ranked,) = (checkout / "logs" / "ranked").glob("*/curves.jsonl")
    assert '"specificity":[' in ranked.read_text()
    # Commands further down the page have written the report anew, without claim and section.
    own = ("--claim", "mypaper.claims.WorstClass", "--section", "mypaper.sections.WORST")
    run(checkout, "python", "report.py", "logs/default", *own)
    report = checkout / "logs" / "default" / "report"
    assert "WorstClass" in (report / "verdicts.csv").read_text()
    assert "recall of the worst class" in (report / "worst-class" / "worst_class.csv").read_text()
    assert '"mypaper":' in next((checkout / "logs" / "mypaper").glob("*/status.json")).read_text()


@pytest.mark.slow
def test_evaluating(checkout: Path) -> None:
    printed = execute(ROOT / "docs" / "evaluate.md", checkout)
    evaluated = next(text for command, text in printed.items() if "eval.py" in command)
    accuracy = re.search(r"balanced accuracy\s+([\d.]+)", evaluated)
    assert accuracy
    assert float(printed["python"].split()[0]) == pytest.approx(float(accuracy[1]), abs=1e-4)


@pytest.mark.slow
def test_the_callback_elsewhere(checkout: Path) -> None:
    printed = execute(ROOT / "docs" / "callback.md", checkout)
    assert "recall of the minority on test" in printed["python mine.py"]
    assert (checkout / "logs" / "mine" / "report" / "index.html").exists()


@pytest.mark.slow
def test_imbalance_as_the_data_have_it(checkout: Path) -> None:
    printed = execute(ROOT / "docs" / "data.md", checkout)
    first = next(text for command, text in printed.items() if "imbalance=natural" in command)
    assert "the data as they are have the ratio 10: 540 to 54 samples a class" in first
    runs = {path.parent for path in (checkout / "logs").glob("*/*/status.json")}
    assert all('"state": "done"' in (run / "status.json").read_text() for run in runs)
    report = checkout / "logs" / "default" / "report"
    assert "bright" in (report / "binary.csv").read_text()


@pytest.mark.slow
def test_own_data(checkout: Path) -> None:
    printed = execute(ROOT / "docs" / "own_data.md", checkout)
    trained = [text for command, text in printed.items() if "train.py" in command]
    assert len(trained) >= 10
    for text in trained:
        assert "data: " in text
        assert "report  " in text
    assert len(list((checkout / "decoded").glob("*.npy"))) == 4
