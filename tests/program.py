"""The real command line, in a process of its own; and the configuration that it would compose."""

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from skewlab.launch.sweep import resolved

ROOT = Path(__file__).parents[1]
# One thread each: test processes that run side by side would otherwise wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A run of a few seconds that still learns something.
TINY = (
    "imbalance.n_max=30",
    "data.val_per_class=20",
    "trainer.max_epochs=2",
    "training.checkpoint_seconds=0",  # after each epoch
)


def command(
    *arguments: str, cwd: Path = ROOT, timeout: int = 300
) -> subprocess.CompletedProcess[str]:
    """Run a script of the repository as a user does."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=timeout
    )


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Has everything imported; ends with this process."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "faults" / "inject.py")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def forked(
    *arguments: str, fault: str = "none", timeout: int = 300, program: str = "train.py"
) -> subprocess.CompletedProcess[str]:
    """Run a program as `command` does, in a process forked from one that has imported everything
    already: what takes longest is done once, for all runs.

    Args:
        arguments: of the command line.
        fault: one of `faults/inject.py`, which the process comes to.
        timeout: seconds after which it is killed.
        program: `train.py`, `eval.py` or `report.py`.
    """
    server = _server()
    assert server.stdin
    assert server.stdout
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        request = {
            "arguments": arguments,
            "environment": dict(os.environ),
            "fault": fault,
            "said": str(said),
            "seconds": timeout,
            "program": program,
        }
        print(json.dumps(request), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        out, err = (said.with_suffix(f".{name}").read_text() for name in ("out", "err"))
    return subprocess.CompletedProcess(arguments, code, out, err)


def composed_at(logs: Path, *overrides: str) -> dict[str, Any]:
    """The configuration of Python's own types that some overrides give, writing to a folder."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return resolved(compose("train", [f"logs_dir={logs}", *overrides]))
