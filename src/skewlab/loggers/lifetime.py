"""A run's loggers from its start to its end; none of them may cost the job."""

import contextlib
import math
from collections.abc import Iterator

from pytorch_lightning.loggers import Logger

from skewlab.config.parts import build
from skewlab.config.schema import RunConfig
from skewlab.distributed import ALONE, Processes
from skewlab.errors import Diverged, Preempted
from skewlab.loggers.ending import Ending, Ends
from skewlab.runs import json_file as json_file
from skewlab.runs.folder import DIVERGED, DONE, FAILED, PREEMPTED, RunFolder
from skewlab.terminal import logger_failed


@contextlib.contextmanager
def loggers(
    settings: RunConfig, folder: RunFolder, processes: Processes
) -> Iterator[tuple[list[Logger], dict[str, float]]]:
    """Start a run's loggers and, whatever happens to it, tell them how it ended.

    Of several processes that train together only the first one has any.

    Yields:
        The loggers, and the run's summary for the caller to fill.
    """
    started: list[Logger] = []
    summary: dict[str, float] = {}
    for name, logger in (settings.logger or {}).items() if processes.first else ():
        try:
            started.append(build(logger, settings, folder, key=f"logger.{name}"))
        except Exception as error:
            logger_failed(str(logger["_target_"]), error)
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
        for one in started:
            if isinstance(one, Ends):
                try:
                    one.end(Ending(folder.path, state, summary))
                except Exception as error:
                    logger_failed(type(one).__name__, error)


def retell(settings: RunConfig, folder: RunFolder) -> None:
    """Tell a run's loggers what is on disk of a run that is done or has diverged."""
    with contextlib.suppress(Diverged), loggers(settings, folder, ALONE) as (started, summary):
        for logger in started:
            try:
                for row in Ending(folder.path, DONE, summary).rows():
                    logger.log_metrics(row, int(row.pop("step")))
            except Exception as error:
                logger_failed(type(logger).__name__, error)
        status = folder.status()
        if status.get("state") == DIVERGED:
            raise Diverged(int(status["step"]))
        on_disk = json_file.read(folder.path / "summary.json")
        summary.update({k: math.nan if v is None else v for k, v in on_disk.items()})
