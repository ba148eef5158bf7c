"""Where a run's numbers are streamed: Weights & Biases, TensorBoard, trackio.

Each is a Lightning logger and can be a `logger._target_`: it takes the run's settings and folder,
then what the configuration sets. The numbers on disk do not depend on any of them, and none of them
may cost a job.

A run that was interrupted and goes on tells its logger everything again from the start, out of
`curves.jsonl`: so each logger drops what it has of the run, or refuses what it has already.
"""

import importlib.util

from skewlab.config.parts import Component
from skewlab.errors import ConfigError

# `wandb agent` sets it: the run is one of a W&B sweep.
SWEEP_VARIABLE = "WANDB_SWEEP_ID"
# The package that a logger needs and its extra in pyproject.toml.
NEEDED_PACKAGES = {
    "skewlab.loggers.tensorboard.TensorBoardRun": "tensorboard",
    "skewlab.loggers.trackio.TrackioRun": "trackio",
}


def check(name: str, logger: Component) -> None:
    """Refuse a logger that cannot work, before any job starts.

    Args:
        name: its key in `logger`.
        logger: its `_target_` and arguments.

    Raises:
        ConfigError: an unknown mode, or a missing package and the command that installs it.
    """
    if (mode := logger.get("mode", "offline")) not in ("offline", "online"):
        raise ConfigError(f"logger.{name}.mode={mode}: must be one of offline, online")
    package = NEEDED_PACKAGES.get(logger["_target_"])
    if package and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"logger={package}: the package {package} is not installed; "
            f"install it with: pip install 'skewlab[{package}]' (or uv sync --extra {package})"
        )
