"""A command line from start to end: check every job, launch them, conclude.

Hydra composes the jobs and launches them; `SweepCallback` is what it calls before the first and
after the last one, also for a single job. Imports no torch before the jobs are checked.
"""

import importlib.util
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from skewlab import distributed, terminal
from skewlab.errors import ConfigError
from skewlab.launch.checks import check_jobs
from skewlab.launch.command_line import EXTRAS, missing_extra, said_here
from skewlab.launch.composing import ComposedOnce
from skewlab.preemption import STOPPED_VARIABLE
from skewlab.runs.folder import ENDED, RunFolder, changes, provenance

# How often a job that a SLURM time limit has ended is queued again; each time it goes further.
TIMEOUTS = 100
# The sweep that this process has checked and launched, for who must conclude it.
_current: "SweepCallback | None" = None


def parallel_jobs() -> int:
    """How many jobs a machine trains at once: one on each GPU or, without any, on each core."""
    visible, all_gpus = os.environ.get("CUDA_VISIBLE_DEVICES"), Path("/proc/driver/nvidia/gpus")
    if visible is not None:
        gpus = len([device for device in visible.split(",") if device])
    else:
        gpus = len(list(all_gpus.iterdir())) if all_gpus.is_dir() else 0
    import joblib

    return gpus or int(joblib.cpu_count())


def plain(config: DictConfig) -> dict[str, Any]:
    """The job's own configuration, resolved, as plain types, without Hydra's section."""
    job = {key: config[key] for key in config if key != "hydra"}
    container = OmegaConf.to_container(OmegaConf.create(job), resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def conclude() -> int:
    """Tell how the jobs of this command line ended.

    Returns:
        The exit code that says so; 0 where no job had been launched.
    """
    global _current
    ended, _current = _current, None
    processes = distributed.started()
    if ended is None or (processes and not processes.first):
        return 0
    from skewlab.report import conclude as say

    rerun = _rerun(ended.overwrites)
    if ended.runs is None:
        return say.search(ended.study, ended.objective, rerun)
    return say.sweep(ended.runs, rerun)


def _rerun(overwrites: bool) -> str:
    """The command line that trains what has not ended well, and only that."""
    arguments = [a for a in sys.argv[1:] if not a.startswith("overwrite=")]
    if overwrites:
        arguments.append("overwrite=false")
    processes = distributed.started()
    program = "python"
    if processes is not None and processes.by_torchrun:
        where = "--standalone " if processes.hosts == 1 else ""
        program = f"torchrun {where}--nproc_per_node={processes.per_host}"
    return f"{program} {shlex.join([sys.argv[0], *arguments])}"


def _say_what_is_done(folders: Sequence[Path]) -> None:
    """One line on the runs that will be skipped, and one if other code has trained some."""
    ended = {path: status for path in folders if (status := RunFolder(path).status())}
    ended = {path: status for path, status in ended.items() if status.get("state") in ENDED}
    if not ended:
        return
    several = f"{len(ended)} of {len(folders)} runs are" if len(folders) > 1 else "the run is"
    terminal.note(
        f"{several} done already and skipped; overwrite=true trains again ({next(iter(ended))})"
    )
    now = provenance()
    found = [changes(status.get("provenance", {}), now) for status in ended.values()]
    if any(found):
        what = sorted({change for one in found for change in one})
        terminal.note(f"{sum(map(bool, found))} trained with another version: {'; '.join(what)}")


class SweepCallback(Callback):
    """Checks every job before the first starts, and tells how they ended after the last.

    Attributes:
        runs: the folder of each job's run; None in a search, which makes them up as it goes.
        study: the folder that they lie in.
        objective: what a search maximises.
        overwrites: whether finished runs are trained again.
    """

    def __init__(self) -> None:
        self.runs: list[Path] | None = []
        self.study = Path()
        self.objective = ""
        self.overwrites = False

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with said_here():
            self._check(config, [config])

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with said_here():
            self._check_launcher(config)
            self._set_launcher(config)
            hydra = GlobalHydra.instance().config_loader()
            # An experiment file can bring its own sweep; the command line overrides it.
            sweep = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
            words = [*sweep, *config.hydra.overrides.task]
            if self._searches(config):
                # It says of each search that a "study" was created, which here is another thing.
                import optuna

                optuna.logging.set_verbosity(optuna.logging.WARNING)
                jobs = [[word for word in config.hydra.overrides.task if not _is_sweep(word)]]
            else:
                jobs = _product(words)
            once = ComposedOnce(hydra, str(config.hydra.launcher._target_))
            composed = [once(config, list(job)) for job in jobs]
            self._check(config, composed, [_key(word) for word in words if _is_sweep(word)])

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        self._conclude()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if _by_joblib(config):
            from joblib.externals.loky import get_reusable_executor

            # They have nothing left to do, and take a second or two to end by themselves.
            get_reusable_executor(reuse=True).shutdown(kill_workers=True)
        self._conclude()

    def _check(
        self, config: DictConfig, jobs: Sequence[DictConfig], swept: Sequence[str] = ()
    ) -> None:
        global _current
        configs = [plain(job) for job in jobs]
        searches = self._searches(config)
        self.overwrites = any(job["overwrite"] for job in configs)
        if searches and self.overwrites:
            raise ConfigError(
                "overwrite=true: a search goes on where it stopped; choose another study"
            )
        paths = check_jobs(configs)
        folders = list(dict.fromkeys(paths))
        several = any(job["trainer"]["strategy"] == "ddp" for job in configs)
        if several and "BasicLauncher" not in str(config.hydra.launcher._target_):
            raise ConfigError(
                "trainer=ddp: needs hydra/launcher=basic; torchrun or srun start its processes"
            )
        processes = distributed.started() if several else None
        if processes and not processes.first:
            terminal.silence()
        elif self.overwrites:
            for folder, job in zip(paths, configs, strict=True):
                if job["overwrite"]:
                    RunFolder(folder).queue()
        elif not searches:
            _say_what_is_done(folders)
        self.runs, self.study = None if searches else folders, folders[0].parent
        self.objective = str(configs[0]["objective"])
        count = config.hydra.sweeper.n_trials if searches else len(jobs)
        terminal.announce(int(count), swept)
        _current = self

    def _conclude(self) -> None:
        with said_here():
            code = conclude()
        if code:
            sys.exit(code)

    @staticmethod
    def _searches(config: DictConfig) -> bool:
        return "optuna" in str(config.hydra.sweeper._target_)

    def _check_launcher(self, config: DictConfig) -> None:
        """Refuse a launcher that cannot work here, before any job starts."""
        for part in (config.hydra.launcher, config.hydra.sweeper):
            package = str(part._target_).split(".")[1]
            if package in EXTRAS and not importlib.util.find_spec(f"hydra_plugins.{package}"):
                raise ConfigError(missing_extra(package))
        target = str(config.hydra.launcher._target_)
        if target.endswith("SlurmLauncher") and shutil.which("srun") is None:
            raise ConfigError(
                "hydra/launcher=submitit_slurm: there is no srun here; start it on a SLURM "
                "cluster's login node, or try it with hydra/launcher=submitit_local"
            )

    def _set_launcher(self, config: DictConfig) -> None:
        """What launchers leave open, as it suits jobs that go on where they were stopped."""
        launcher = config.hydra.launcher
        target = str(launcher._target_)
        if _by_joblib(config):
            if launcher.n_jobs == -1:
                launcher.n_jobs = parallel_jobs()
            signal.signal(signal.SIGTERM, _stop_workers)
            signal.signal(signal.SIGINT, _stop_workers)
            terminal.note(f"up to {launcher.n_jobs} jobs at a time (hydra/launcher=joblib)")
        if target.endswith("SlurmLauncher") and not launcher.max_num_timeout:
            launcher.max_num_timeout = TIMEOUTS
        if target.endswith("RayLauncher") and launcher.ray.init.get("address"):
            # The plugin's own default is for a cluster that it starts; Ray refuses it for another.
            with open_dict(launcher.ray.init):
                launcher.ray.init.object_store_memory = None


def _product(overrides: Sequence[str]) -> list[list[str]]:
    """The jobs of a plain sweep, as Hydra's own sweeper makes them."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    (jobs,) = BasicSweeper.split_arguments(parsed, None)
    return jobs


def _by_joblib(config: DictConfig) -> bool:
    return str(config.hydra.launcher._target_).endswith("JoblibLauncher")


def _key(override: str) -> str:
    return str(OverridesParser.create().parse_override(override).key_or_group)


def _is_sweep(override: str) -> bool:
    return bool(OverridesParser.create().parse_override(override).is_sweep_override())


def _stop_workers(number: int, frame: FrameType | None) -> None:
    """Pass a request to stop on to the processes that train; each ends at a checkpoint.

    Ctrl-C has reached them already: the terminal sends it to all. A second one does not wait.
    """
    import psutil

    if number == signal.SIGINT and STOPPED_VARIABLE in os.environ:
        raise KeyboardInterrupt
    os.environ[STOPPED_VARIABLE] = "1"  # to processes that are yet to be started
    if number == signal.SIGTERM:
        for process in psutil.Process().children():
            process.send_signal(number)
