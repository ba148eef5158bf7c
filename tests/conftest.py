"""What tests share: the configuration as a user composes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import composed_at

# Files that start many real command lines, longest first.
LONG = (
    "test_interrupted.py",
    "test_launchers.py",
    "test_command_line.py",
    "test_runs.py",
    "test_two_sweeps.py",
    "test_distributed.py",
    "test_probed_runs.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files, so that no process is left alone with one at the end."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


@pytest.fixture
def composed(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The plain configuration that some overrides give, writing below `tmp_path`."""

    return lambda *overrides: composed_at(tmp_path / "logs", *overrides)
