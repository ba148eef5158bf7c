"""What tests share: the configuration as a user composes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import composed_at


@pytest.fixture
def composed(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The plain configuration that some overrides give, writing below `tmp_path`."""

    return lambda *overrides: composed_at(tmp_path / "logs", *overrides)
