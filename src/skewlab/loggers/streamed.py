"""What Weights & Biases and trackio, which copies its interface, have in common."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import Logger

from skewlab.runs.folder import RunFolder


class StreamedRun(Logger):
    """A run of Weights & Biases, or of a library with the same interface, as a Lightning logger.

    Args:
        library: the module: wandb or trackio.
        folder: the run's folder.
    """

    def __init__(self, library: Any, folder: RunFolder) -> None:
        super().__init__()
        self._library, self._folder = library, folder

    def _log_to(self, run: Any) -> None:
        """Log to this run from now on.

        Args:
            run: what the library's `init` returned.
        """
        self._run, self._step, self._has_epoch = run, 0, False

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
        """Nothing: the library's `init` was given the configuration."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self._log(metrics, step)

    def _log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One row at a training step.

        Lightning counts the batch that ends as step 0, 1, ...; our curves count the updates that
        are done: 1, 2, ... So a row of Lightning can come at a step below the last one, where W&B
        would ignore it: it is logged at the last step. There W&B merges the rows of one step, and
        Lightning's `epoch`, a whole number, would replace the fraction that is the time axis of the
        charts: the first `epoch` of a step stays.
        """
        row = dict(metrics)
        if step is not None and step > self._step:
            self._step, self._has_epoch = step, False
        if self._has_epoch:
            row.pop("epoch", None)
        self._has_epoch = self._has_epoch or "epoch" in row
        self._run.log(row, step=self._step)
