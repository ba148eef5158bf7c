"""Ctrl-C at any moment of a program's start: one line, and exit code 130."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from program import ROOT, TINY


def interrupted_at(module: str, *arguments: str) -> tuple[int, list[str]]:
    """Run a program, and send it SIGINT once a module is imported; its exit code, and what it says.

    Python itself tells of each import in a line on standard error.
    """
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job, as the tests may be one, ignores interruptions.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr
    for line in process.stderr:
        if line.rpartition("|")[2].strip() == module:
            process.send_signal(signal.SIGINT)
            break
    out, rest = process.communicate(timeout=100)
    said = [line for line in rest.splitlines() if not line.startswith("import time:")]
    return process.returncode, [*out.splitlines(), *said]


@pytest.mark.parametrize(
    ("program", "module"),
    [
        *(("train.py", "skewlab.startup"), ("eval.py", "hydra"), ("report.py", "matplotlib")),
        *(
            pytest.param(program, module, marks=pytest.mark.slow)
            for program, modules in (
                ("train.py", ("omegaconf", "pydantic", "numpy", "torch._C", "torch.nn")),
                ("eval.py", ("skewlab.startup", "numpy", "torch._C")),
                ("report.py", ("skewlab.startup", "numpy")),
            )
            for module in modules
        ),
    ],
)
def test_an_interruption_while_modules_are_imported(
    program: str, module: str, tmp_path: Path
) -> None:
    arguments = {
        "train.py": ["ratio=1", "model=mlp", "logger=none", f"logs_dir={tmp_path}", *TINY],
        "eval.py": [f"run={tmp_path}"],
        "report.py": [str(tmp_path)],
    }
    code, (said,) = interrupted_at(module, program, *arguments[program])
    assert code == 130
    assert said.startswith("stopped")


@pytest.mark.parametrize(
    "program",
    [
        "train.py",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("eval.py", "report.py")),
    ],
)
def test_who_ignores_interruptions_goes_on_ignoring_them(program: str) -> None:
    """As a shell's background jobs do."""
    process = subprocess.run(
        [sys.executable, "-c", f"import runpy; runpy.run_path({program!r}, run_name='imported');"
         "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('on')"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    assert process.stdout.strip() == "on"
