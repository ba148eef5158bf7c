"""A run that is really trained, in this process."""

from pathlib import Path
from typing import Any

from program import composed_at

from skewlab.config.schema import checked
from skewlab.preemption import StopRequest
from skewlab.runs.folder import DONE, RunFolder
from skewlab.runs.identity import run_path
from skewlab.training.run import train


def train_at(logs: Path, *overrides: str, **parts: Any) -> RunFolder:
    """Train one run; the `parts` replace whole ones of what the overrides give."""
    given = composed_at(logs, *overrides) | parts
    config = checked(given)
    folder = RunFolder(run_path(config))
    folder.start(given, {})
    with StopRequest() as stop:
        train(config, folder, "", stop)
    folder.finish(DONE)
    return folder
