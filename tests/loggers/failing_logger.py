"""A fork's logger, with troubles of its own."""

from typing import Any

from pytorch_lightning.loggers import Logger

from skewlab.config.schema import RunConfig
from skewlab.loggers.ending import Ending
from skewlab.runs.folder import RunFolder


class FailingLogger(Logger):
    """Fails at its start (`after` is 0), or at a row; counts what it was told."""

    rows = 0
    ended: Ending | None = None

    def __init__(self, config: RunConfig, folder: RunFolder, after: int) -> None:
        super().__init__()
        FailingLogger.rows, FailingLogger.ended, self._after = 0, None, after
        if after == 0:
            raise OSError("no such server")

    name = version = "mine"  # type: ignore[assignment]

    def log_hyperparams(self, *arguments: Any, **options: Any) -> None:
        """Not of interest."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        FailingLogger.rows += 1
        if FailingLogger.rows == self._after:
            raise RuntimeError("no room left")

    def end(self, ending: Ending) -> None:
        FailingLogger.ended = ending
        raise ValueError("nor at the end")
