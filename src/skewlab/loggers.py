"""Where a run's numbers are streamed: Weights & Biases, TensorBoard, trackio.

Each function can be a `logger._target_`: it takes the run's settings and folder, then what the
configuration sets, and returns a Lightning logger. The numbers on disk do not depend on any of
them, and none of them may cost a job.

A run that was interrupted and goes on tells its logger everything again from the start, out of
`curves.jsonl`: so each logger drops what it has of the run, or refuses what it has already.
"""

import contextlib
import hashlib
import importlib.util
import itertools
import logging
import netrc
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pytorch_lightning.loggers import Logger, TensorBoardLogger

from skewlab.component import Component
from skewlab.config import Settings
from skewlab.console import note
from skewlab.errors import ConfigError
from skewlab.runs.folder import RunFolder

# Seconds to find out whether Weights & Biases can be reached.
REACH_TIMEOUT = 3.0
# The package that a logger needs and its extra in pyproject.toml.
NEEDED_PACKAGES = {
    "skewlab.loggers.tensorboard_logger": "tensorboard",
    "skewlab.loggers.trackio_logger": "trackio",
}


def check(logger: Component) -> None:
    """Refuse a logger that cannot work, before any job starts.

    Raises:
        ConfigError: an unknown mode, or a missing package and the command that installs it.
    """
    if (mode := logger.get("mode", "offline")) not in ("offline", "online"):
        raise ConfigError(f"logger.mode={mode}: must be one of offline, online")
    package = NEEDED_PACKAGES.get(logger["_target_"])
    if package and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"logger={package}: the package {package} is not installed; "
            f"install it with: pip install 'skewlab[{package}]' (or uv sync --extra {package})"
        )


class StreamedRun(Logger):
    """A run of Weights & Biases, or of a library with the same interface, as a Lightning logger.

    Args:
        library: the module: wandb or trackio.
        run: what its `init` returned.
        folder: the run's folder, for its name.
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
        """One row; `epoch` and `step` are columns of it, the time axis of every chart."""
        self._run.log({"step": step, **metrics})


class WandbRun(StreamedRun):
    """A run of Weights & Biases."""

    def __init__(self, library: Any, run: Any, folder: RunFolder) -> None:
        super().__init__(library, run, folder)
        self._rows = itertools.count()

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """One row, numbered: a run that goes on repeats rows, and those the server has already it
        leaves out."""
        self._run.log({"step": step, **metrics}, step=next(self._rows))

    def close(self, summary: dict[str, float], failed: bool) -> None:
        """Store the summary and end the run: the next job of the process begins its own."""
        # On a full disk the library's own log would bury under tracebacks what the job has to say.
        logging.raiseExceptions = not failed
        self._run.summary.update(summary)
        self._run.finish(exit_code=int(failed))
        logging.raiseExceptions = True


class TrackioRun(StreamedRun):
    """A run of trackio."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """One row; trackio keeps `step` as the row's own time."""
        self._run.log({k: v for k, v in metrics.items() if k != "step"}, step=step)

    def close(self, summary: dict[str, float], failed: bool) -> None:
        """End the run; trackio has no summary, its last row is the last evaluation."""
        with _silent():
            self._library.finish()


def wandb_logger(
    settings: Settings,
    folder: RunFolder,
    *,
    mode: Literal["offline", "online"],
    project: str,
    entity: str | None = None,
) -> Logger:
    """One W&B run for this job; `mode=online` falls back to offline where there is no key or no
    network, and says so."""
    import wandb

    # A stream that broke off is written anew.
    shutil.rmtree(folder.path / "wandb", ignore_errors=True)
    identity = f"{settings.study}/{folder.name}/{folder.created}"
    if mode == "online" and (obstacle := _why_not_online(wandb)):
        note(f"W&B stays offline ({obstacle}); upload later with: wandb sync {folder.path}/wandb/*")
        mode = "offline"
    run = wandb.init(
        mode=mode,
        # The run that was begun then, however often it was interrupted since.
        id=hashlib.sha256(identity.encode()).hexdigest()[:16],
        resume="allow" if mode == "online" else None,
        project=project,
        entity=entity,
        group=settings.study,
        job_type="train",
        name=folder.name,
        tags=[settings.data.name, str(settings.model.get("name", "model")), settings.method.name],
        config=settings.model_dump(),
        dir=folder.path,
        settings=wandb.Settings(
            silent=True,
            console="off",
            # Rows reach the disk within a second, so that a killed job keeps its stream.
            x_transaction_log_flush_interval=1.0,
        ),
    )
    run.define_metric("epoch")
    for section in ("train", "val", "test", "gap"):
        run.define_metric(f"{section}/*", step_metric="epoch")
    return WandbRun(wandb, run, folder)


def _why_not_online(wandb: Any) -> str | None:
    """Why an online run would fail; None if it would not."""
    settings = wandb.setup().settings
    address = urlsplit(str(settings.base_url))
    if not (settings.api_key or _stored_key(address.hostname or "")):
        return "no API key; run `wandb login` once"
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname or "", port), timeout=REACH_TIMEOUT).close()
    except OSError as error:
        return f"{address.hostname} cannot be reached: {error.strerror or error}"
    return None


def _stored_key(host: str) -> bool:
    """Whether `wandb login` has left a key for this host in ~/.netrc."""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _forget(trackio: Any, project: str, study: str, name: str) -> None:
    """Remove what trackio holds of a run that is trained again or goes on."""
    try:
        earlier = [run for run in trackio.Api().runs(project) if run.name == name]
    except ValueError:  # the project is new
        return
    for run in earlier:
        if (run.config or {}).get("study") == study:
            run.delete()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """trackio greets and says goodbye on the terminal, once for each run of a sweep."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def tensorboard_logger(settings: Settings, folder: RunFolder) -> Logger:
    """TensorBoard files in `<run>/tensorboard`; open with `tensorboard --logdir logs`."""
    shutil.rmtree(folder.path / "tensorboard", ignore_errors=True)
    return TensorBoardLogger(save_dir=folder.path, name="", version="tensorboard")


def trackio_logger(settings: Settings, folder: RunFolder, *, project: str) -> Logger:
    """A trackio run in `<logs_dir>/trackio`; open with `TRACKIO_DIR=logs/trackio trackio show`."""
    # trackio reads its folder once, when it is imported.
    os.environ.setdefault("TRACKIO_DIR", str(Path(settings.logs_dir).resolve() / "trackio"))
    import trackio

    with _silent():
        _forget(trackio, project, settings.study, folder.name)
        run = trackio.init(
            project=project,
            name=folder.name,
            group=settings.study,
            config=settings.model_dump(),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
    return TrackioRun(trackio, run, folder)
