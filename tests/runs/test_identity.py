"""A run's name: the same whatever the order in which its configuration is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from skewlab.config.schema import checked
from skewlab.runs.identity import run_name, run_path


def test_the_order_of_keys_has_no_part_in_the_name(composed: Callable[..., dict[str, Any]]) -> None:
    config = composed("ratio=10", "seed=3")
    name = run_name(checked(config))
    assert name.startswith("mnist5k-step-ratio10-")
    assert "-ce-seed3-" in name
    for key in ("optimizer", "model"):
        config[key] = dict(reversed(config[key].items()))
    assert run_name(checked(config)) == name
    assert run_path(checked(config)) == Path(config["logs_dir"]) / config["study"] / name
