"""A run's loggers from its start to its end; none of them can make the run fail."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast

from pytorch_lightning.loggers import Logger

from skewlab.config.parts import Part, build, offered
from skewlab.config.schema import RunConfig
from skewlab.distributed import ALONE, Processes
from skewlab.errors import Diverged, Preempted
from skewlab.loggers import LoggerOff
from skewlab.loggers.ending import Ending, Ends
from skewlab.privacy import shareable
from skewlab.runs.folder import DIVERGED, DONE, ENDED, FAILED, PREEMPTED, RunFolder
from skewlab.runs.reading import read_numbers
from skewlab.terminal import logger_failed

# What Lightning and our curves call.
CALLED = (
    "log_hyperparams",
    "log_metrics",
    "log_graph",
    "save",
    "after_save_checkpoint",
    "finalize",
)


def build_logger(part: Part, name: str, config: RunConfig, folder: RunFolder) -> Logger:
    """Build a logger: one of ours, of Lightning's, or of a fork.

    It is given `config`, `folder` and `save_dir` (the run's folder, a str), as far as its signature
    names them and the configuration does not set them.

    Args:
        part: its `_target_` and arguments.
        name: its key in `logger`.
        config: of the run.
        folder: of the run.

    Raises:
        ConfigError: there is no such target.
    """
    key = f"logger.{name}"
    given = offered(part, key, config=config, folder=folder, save_dir=str(folder.path))
    return cast(Logger, build(part, key=key, **given))


@contextlib.contextmanager
def loggers(
    config: RunConfig, folder: RunFolder, processes: Processes
) -> Iterator[tuple[list[Logger], dict[str, float]]]:
    """Start a run's loggers and, whatever happens to it, tell them how it ended.

    A logger that fails says so in one line and is told no more rows. Of several processes that
    train together only the first one has loggers.

    Yields:
        The loggers, and the run's summary for the caller to fill.
    """
    started: list[Logger] = []
    summary: dict[str, float] = {}
    for name, part in (config.logger or {}).items() if processes.first else ():
        try:
            with warnings.catch_warnings():
                # CSVLogger's; a run that goes on is to write its table anew.
                warnings.filterwarnings("ignore", message="Experiment logs directory")
                logger = build_logger(part, name, config, folder)
                # Many of Lightning's begin their run only here.
                getattr(logger, "experiment", None)
            _guard(logger)
            started.append(logger)
        except LoggerOff:
            pass
        except Exception as error:
            logger_failed(str(part["_target_"]), error)
    state = FAILED
    try:
        yield started, summary
        state = DONE
    except Diverged:
        state = DIVERGED
        raise
    except (Preempted, KeyboardInterrupt, SystemExit):
        state = PREEMPTED
        raise
    finally:
        for logger in started:
            try:
                if isinstance(logger, Ends):
                    logger.end(Ending(folder.path, state, summary))
                else:  # Lightning does so only where its Trainer has begun
                    logger.finalize("success" if state in ENDED else "failed")
            except Exception as error:
                logger_failed(type(logger).__name__, error)


def _guard(logger: Logger) -> None:
    """Make a logger's first error a line on the terminal, and its later calls do nothing."""
    failed = False

    def guarded(call: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(call)
        def safe(*args: Any, **kwargs: Any) -> None:
            nonlocal failed
            if failed:
                return
            try:
                call(*args, **kwargs)
            except Exception as error:
                failed = True
                logger_failed(type(logger).__name__, error)

        return safe

    for name in CALLED:
        setattr(logger, name, guarded(getattr(logger, name)))


def retell(config: RunConfig, folder: RunFolder) -> None:
    """Tell a run's loggers what is on disk of a run that is done or has diverged."""
    with contextlib.suppress(Diverged), loggers(config, folder, ALONE) as (started, summary):
        for logger in started:
            logger.log_hyperparams(shareable(config.model_dump()))
        for row in Ending(folder.path, DONE, summary).rows() if started else ():
            step = int(row.pop("step"))
            for logger in started:
                logger.log_metrics(dict(row), step)
        status = folder.status()
        if status.get("state") == DIVERGED:
            raise Diverged(int(status["step"]))
        summary.update(read_numbers(folder.path / "summary.json"))
