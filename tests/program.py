"""The real command line, in a process of its own; and the configuration that it would compose."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from skewlab.sweep import plain

ROOT = Path(__file__).parents[1]
# One thread each: test processes that run side by side would otherwise wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A run of a few seconds that still learns something.
TINY = (
    "imbalance.n_max=30",
    "data.val_per_class=20",
    "trainer.max_epochs=2",
    "trainer.checkpoint_seconds=0",  # after each epoch
)


def command(
    *arguments: str, cwd: Path = ROOT, timeout: int = 300
) -> subprocess.CompletedProcess[str]:
    """Run a script of the repository as a user does."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=timeout
    )


def composed_at(logs: Path, *overrides: str) -> dict[str, Any]:
    """The plain configuration that some overrides give, writing to a folder."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return plain(compose("train", [f"logs_dir={logs}", *overrides]))
