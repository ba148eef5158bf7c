"""A logger of a fork's own that fails costs no job."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from failing_logger import FailingLogger
from program import TINY
from trained import train_at

from skewlab.loggers.lifetime import retell


@pytest.mark.parametrize(
    ("after", "rows", "said"),
    [
        (0, 0, ["failing_logger.FailingLogger failed: no such server"]),
        (3, 3, ["FailingLogger failed: no room left", "FailingLogger failed: nor at the end"]),
    ],
)
def test_the_run_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], after: int, rows: int, said: list[str]
) -> None:
    mine = {"mine": {"_target_": "failing_logger.FailingLogger", "after": after}}
    overrides = ("ratio=10", "model=mlp", *TINY, "trainer.max_epochs=1")
    folder = train_at(tmp_path, *overrides, logger=mine)
    assert json.loads((folder.path / "summary.json").read_text())["epoch"] == 1
    lines = [line.split(";")[0] for line in capfd.readouterr().err.splitlines()]
    # What a process trains on is said once, by whichever test is the first in it.
    lines = [line for line in lines if not line.startswith("data:")]
    assert lines == said, "each failure is said once"
    assert FailingLogger.rows == rows, "after it has failed it is told no more"
    if after:
        assert FailingLogger.ended is not None
        assert FailingLogger.ended.state == "done"
        assert len(FailingLogger.ended.classes) == 10
        assert next(FailingLogger.ended.rows())["step"] == 0


def test_telling_a_run_again_costs_nothing_either(
    told: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    run = told("logger=none")
    mine = {"mine": {"_target_": "failing_logger.FailingLogger", "after": 2}}
    retell(run.config.model_copy(update={"logger": mine}), run.folder)
    assert FailingLogger.rows == 2
    assert "FailingLogger failed: no room left" in capfd.readouterr().err
    assert json.loads((run.path / "status.json").read_text())["state"] == "done"
