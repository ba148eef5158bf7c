"""What tests share: the configuration as a user composes it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from program import composed_at

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("skewlab", deadline=None)
settings.load_profile("skewlab")

# Files that take long, the longest first (see pytest_collection_modifyitems).
LONG = (
    "test_command_line.py",
    "test_damages.py",
    "test_contract.py",
    "test_report.py",
    "test_interrupted.py",
    "test_sections.py",
    "test_wandb.py",
    "test_terminal.py",
    "test_search.py",
    "test_datamodule.py",
    "test_method_runs.py",
    "test_probed_runs.py",
    "test_standing.py",
    "test_sweep.py",
    "test_distributed.py",
    "test_experiments.py",
    "test_notebook.py",
    "test_evaluate.py",
    "test_lock.py",
    "test_own_claims.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Where Python is told to keep no compiled modules, keep them all the same, in pytest's cache:
    otherwise each of the processes that tests start compiles PyTorch and everything else again,
    which takes longer than its run."""
    if sys.dont_write_bytecode and hasattr(config, "cache"):
        sys.dont_write_bytecode = False
        sys.pycache_prefix = str(config.cache.mkdir("bytecode"))
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files, so that no process is left alone with one at the end."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


@pytest.fixture
def composed(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The plain configuration that some overrides give, writing below `tmp_path`."""

    return lambda *overrides: composed_at(tmp_path / "logs", *overrides)
