"""How long a run trains, and what its probes are told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import refused

from skewlab.config.schema import checked
from skewlab.data.plan import plan
from skewlab.training.length import planned_epochs
from skewlab.training.run import run_facts


@pytest.mark.parametrize(
    ("overrides", "epochs"),
    [
        # 5 x 300 + 5 x 3 samples in batches of 64 are 24 steps; 3,000 are 47; 30 are 1.
        ([], 30),
        (["control=equal_updates"], 59),  # 30 x 47 / 24, rounded up
        (["control=same_minority"], 720),  # 30 x 24 / 1
        (["control=same_total"], 30),
        (["control=swapped_roles"], 30),
        (["control=equal_exposures"], 3000),  # 300 samples of a class, and 3
        (["ratio=1", "control=equal_exposures"], 30),
        (["ratio=1", "control=equal_updates"], 30),
    ],
)
def test_controls_have_the_updates_they_say(
    composed: Callable[..., dict[str, Any]], overrides: list[str], epochs: int
) -> None:
    config = checked(composed("ratio=100", *overrides))
    _, subset = plan(config)
    assert planned_epochs(config, subset) == epochs


def test_counts_at_another_ratio(composed: Callable[..., dict[str, Any]]) -> None:
    config = checked(composed("ratio=10"))
    facts = run_facts(config, *plan(config), Path())
    assert facts.counts_at(100).tolist() == [300] * 5 + [3] * 5


def test_explicit_counts_have_no_other_ratio(composed: Callable[..., dict[str, Any]]) -> None:
    config = checked(composed("imbalance=counts", "imbalance.counts=[40,40,40,40,40,4,4,4,4,4]"))
    facts = run_facts(config, *plan(config), Path())
    assert "ratio=10: imbalance=counts has no" in refused(lambda: facts.counts_at(10))
