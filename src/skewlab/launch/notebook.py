"""Training from Python: in a notebook, or in a script of one's own."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from skewlab.config.schema import checked
from skewlab.errors import ConfigError
from skewlab.launch.checks import check_jobs
from skewlab.launch.command_line import one_line
from skewlab.launch.job import run_job
from skewlab.launch.standing import set_aside
from skewlab.launch.sweep import resolved
from skewlab.preemption import STOPPED_VARIABLE
from skewlab.runs.folder import ENDED, PREEMPTED, RunFolder
from skewlab.runs.identity import run_path
from skewlab.runs.reading import read_numbers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TrainedRun:
    """A run that has ended.

    Attributes:
        path: its folder.
        state: `done`, or `diverged`.
    """

    path: Path
    state: str

    @cached_property
    def summary(self) -> dict[str, float]:
        """The last numbers, and under `val_best/` those of the epoch that was best on val; empty
        for a run that diverged."""
        path = self.path / "summary.json"
        return read_numbers(path) if path.exists() else {}

    @cached_property
    def curves(self) -> "pd.DataFrame":
        """Every curve as a frame, see `skewlab.report.load`."""
        from skewlab.report import load

        return load(self.path)

    def network(self, checkpoint: str = "last") -> Any:
        """The trained network, see `skewlab.load`."""
        from skewlab.training.loading import load

        return load(self.path, checkpoint)


def run(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> TrainedRun:
    """Train one run in this process, as `python train.py` does; one that is done is only read.

    Args:
        overrides: as on the command line, such as `["ratio=100", "seed=1"]`.
        config_dir: a folder with the configurations; None for skewlab's own.

    Raises:
        ConfigError: a mistake in the configuration, or in what it leads to.
        RuntimeError: the run failed, or another process trains it.
        KeyboardInterrupt: it was interrupted; the same call goes on from there.
    """
    folder = Path(config_dir).resolve() if config_dir else configurations()
    if flags := [word for word in overrides if word.startswith("-")]:
        raise ConfigError(f"{flags[0]}: skewlab.run trains one run, and takes key=value words only")
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            config = compose("train", list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_as_said_by_the_command_line(error, folder, overrides)) from None
    HydraConfig.instance().set_config(config)
    given = resolved(config)
    refused = check_jobs([given]).refused
    trained = RunFolder(run_path(checked(given)))
    if trained.path in refused:
        raise ConfigError(refused[trained.path])
    if given["overwrite"]:
        set_aside(trained)
    run_job(config)
    os.environ.pop(STOPPED_VARIABLE, None)  # so that the next call trains
    status = trained.status()
    state = str(status.get("state"))
    if state == PREEMPTED:
        raise KeyboardInterrupt(f"{trained.path}: {status.get('reason')}")
    if state not in ENDED:
        raise RuntimeError(f"{trained.path} is {state}: {status.get('reason', 'see above')}")
    return TrainedRun(trained.path, state)


def _as_said_by_the_command_line(
    error: Exception, configurations: Path, overrides: Sequence[str]
) -> str:
    """Hydra's message as one line, with what may have been meant."""
    before = sys.argv
    sys.argv = [str(configurations.parent / "train.py"), *overrides]
    try:
        line = one_line(error)
    finally:
        sys.argv = before
    return line.replace("add -m: python train.py -m ...", "call skewlab.run once for each value")


def configurations() -> Path:
    """The folder with skewlab's configurations: in the installed package, or in the checkout."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parents[1] / "configs"
