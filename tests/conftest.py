"""What tests share: the configuration as a user composes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from program import ROOT

from skewlab.sweep import plain


@pytest.fixture
def composed(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The plain configuration that some overrides give, writing below `tmp_path`."""

    def compose_with(*overrides: str) -> dict[str, Any]:
        with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            return plain(compose("train", [f"logs_dir={tmp_path}/logs", *overrides]))

    return compose_with
