"""Where a run's numbers are streamed: Weights & Biases, TensorBoard, trackio, CSV, MLflow.

A `logger._target_` is any Lightning logger, see `lifetime.build_logger`. The numbers on disk do not
depend on any of them, and a logger that fails never costs a job.

A run that was interrupted and goes on tells its loggers all its curves again from the start, out of
`curves.jsonl`. So each logger here removes what it has of the run, or keeps what it has already.
"""

import importlib.util

from skewlab.config.parts import Part
from skewlab.errors import ConfigError, installed_by

# `wandb agent` sets it: the run is one of a W&B sweep.
SWEEP_VARIABLE = "WANDB_SWEEP_ID"
# The module that a logger imports when it starts, and the package that has it: an extra of
# pyproject.toml, or one that a user of Lightning's own logger installs.
EXTRAS = ("mlflow", "tensorboard", "trackio")
NEEDED_PACKAGES = {
    "skewlab.loggers.mlflow.MLflowRun": "mlflow",
    "skewlab.loggers.tensorboard.TensorBoardRun": "tensorboard",
    "skewlab.loggers.trackio.TrackioRun": "trackio",
    "pytorch_lightning.loggers.CometLogger": "comet_ml",
    "pytorch_lightning.loggers.MLFlowLogger": "mlflow",
    "pytorch_lightning.loggers.NeptuneLogger": "neptune",
    "pytorch_lightning.loggers.TensorBoardLogger": "tensorboard",
}


class LoggerOff(Exception):
    """The user's environment switches a logger off, which is no failure."""


def check(name: str, logger: Part) -> None:
    """Refuse a logger whose package is missing, before any job starts.

    Args:
        name: its key in `logger`.
        logger: its `_target_` and arguments.

    Raises:
        ConfigError: names the package and the command that installs it.
    """
    package = NEEDED_PACKAGES.get(target := logger["_target_"])
    if package is None or importlib.util.find_spec(package) is not None:
        return
    command = f"pip install {package.replace('_', '-')}"
    if package in EXTRAS:
        command = installed_by(package)
    raise ConfigError(
        f"logger.{name}._target_={target}: the package {package} is not installed; "
        f"install it with: {command}"
    )
