"""What Weights & Biases and trackio, which copies its interface, have in common."""

from typing import Any

from pytorch_lightning.loggers import Logger

from skewlab.runs.folder import RunFolder


class StreamedRun(Logger):
    """A run of Weights & Biases, or of a library with the same interface, as a Lightning logger.

    Args:
        library: the module: wandb or trackio.
        run: what its `init` returned.
        folder: the run's folder.
    """

    def __init__(self, library: Any, run: Any, folder: RunFolder) -> None:
        super().__init__()
        self._library, self._run, self._folder = library, run, folder

    @property
    def name(self) -> str:
        return self._folder.path.parent.name

    @property
    def version(self) -> str:
        return self._folder.name

    @property
    def experiment(self) -> Any:
        """The library's own run, for what else a fork wants to log."""
        return self._run

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the configuration was given at the start."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """One row at a training step; its `epoch` is the time axis of the charts."""
        self._run.log(dict(metrics), step=step)
