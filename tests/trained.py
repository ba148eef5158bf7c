"""A run that is really trained, in this process."""

from pathlib import Path
from typing import Any

from program import composed_at

from skewlab.config.schema import check
from skewlab.preemption import StopRequest
from skewlab.runs.folder import DONE, RunFolder
from skewlab.runs.identity import run_path
from skewlab.training.run import train


def train_at(logs: Path, *overrides: str, **settings: Any) -> RunFolder:
    """Train one run; the `settings` replace whole parts of what the overrides give."""
    config = composed_at(logs, *overrides) | settings
    checked = check(config)
    folder = RunFolder(run_path(checked))
    folder.start(config, {})
    with StopRequest() as stop:
        train(checked, folder, "", stop)
    folder.finish(DONE)
    return folder
