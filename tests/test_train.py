"""How long a run trains."""

from collections.abc import Callable
from typing import Any

import pytest

from skewlab.config import check
from skewlab.course import planned_epochs
from skewlab.train import plan


@pytest.mark.parametrize(
    ("overrides", "epochs"),
    [
        # 5 x 300 + 5 x 3 samples in batches of 64 are 24 steps; 3,000 are 47; 30 are 1.
        ([], 30),
        (["control=equal_updates"], 59),  # 30 x 47 / 24, rounded up
        (["control=same_minority"], 720),  # 30 x 24 / 1
        (["control=same_total"], 30),
        (["ratio=1", "control=equal_updates"], 30),
    ],
)
def test_controls_have_the_updates_they_say(
    composed: Callable[..., dict[str, Any]], overrides: list[str], epochs: int
) -> None:
    settings = check(composed("ratio=100", *overrides))
    _, subset = plan(settings)
    assert planned_epochs(settings, subset) == epochs
