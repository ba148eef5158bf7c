"""A sweep from its command line to its last line.

Hydra calls `SweepCallback` before the first job and after the last one, also for a single job. In
this order: the launcher and the folders are checked, the jobs are composed, every job is checked,
Hydra launches them, and their results are reported. Nothing here imports torch before that.
"""

import contextlib
import importlib.util
import itertools
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from skewlab import distributed, terminal
from skewlab.errors import ConfigError, Damaged
from skewlab.launch.checks import check_jobs
from skewlab.launch.command_line import EXTRAS, exit_on_error, missing_extra
from skewlab.launch.folders import make_study
from skewlab.launch.standing import set_aside
from skewlab.preemption import HANGS_UP, STOPPED_VARIABLE
from skewlab.runs.folder import ENDED, RunFolder
from skewlab.runs.provenance import changes, provenance, targets_in
from skewlab.runs.reading import read_config

# Hydra's own folders, as configs/train.yaml sets them. Runs lie below and name themselves.
FOLDERS = {
    "hydra.run.dir": "${logs_dir}/${study}",
    "hydra.sweep.dir": "${logs_dir}/${study}",
    "hydra.sweep.subdir": ".",
}
# The choices of data= that read the user's own files. Only these may be named by data.name.
OWN_DATA = ("arrays", "huggingface", "image_folder", "image_list", "inaturalist", "table")
# How often a job that reached its SLURM time limit is queued again; it goes further each time.
TIMEOUTS = 100
# Of a study's other runs, so many are asked for their data set.
MOST_ASKED = 20
# The sweep that this process has checked and not reported yet.
_current: "SweepCallback | None" = None


class SweepCallback(Callback):
    """Checks every job before the first one starts, and reports the results after the last one.

    Attributes:
        runs: the folder of each job's run; None in a search, which chooses its jobs as it goes.
        study: the folder that they lie in.
        objective: what a search maximises.
        overwrites: whether finished runs are trained again.
        claims, sections: paths of those of the user's own, for the report.
        refused: why a run's folder is left as it is, for those that hold something else.
    """

    def __init__(self) -> None:
        self.runs: list[Path] | None = []
        self.study = Path()
        self.objective = ""
        self.overwrites = False
        self.claims: list[str] = []
        self.sections: list[str] = []
        self.refused: dict[Path, str] = {}

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with exit_on_error():
            _check_folders(config)
            _check_label(_as_given(config.hydra.overrides.task))
            HydraConfig.instance().set_config(config)
            self._check(config, [resolved(config)])

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with exit_on_error():
            _check_launcher(config)
            _check_folders(config)
            _check_label(_as_given(config.hydra.overrides.task))
            _complete_launcher(config)
            # An experiment file can bring a sweep of its own; the command line overrides it.
            params = config.hydra.sweeper.params or {}
            words = [f"{key}={value}" for key, value in params.items()]
            overrides = _parse([*words, *_as_given(config.hydra.overrides.task)])
            swept = [override for override in overrides if override.is_sweep_override()]
            if _searches(config):
                # Optuna prints that it has created a "study", a word that means a folder here.
                import optuna

                optuna.logging.set_verbosity(optuna.logging.WARNING)
                overrides = [one for one in overrides if not one.is_sweep_override()]
            jobs = [_compose(config, job) for job in product(overrides)]
            # A pattern asks for whatever there is, and a list for just that.
            whichever_fit = any(one.value_type == ValueType.GLOB_CHOICE_SWEEP for one in swept)
            keys = [str(override.key_or_group) for override in swept]
            self._check(config, jobs, keys, whichever_fit)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        self._report_results()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if _by_joblib(config):
            from joblib.externals.loky import get_reusable_executor

            # They have nothing left to do, and take a second or two to end by themselves.
            get_reusable_executor(reuse=True).shutdown(kill_workers=True)
        self._report_results()

    def _check(
        self,
        config: DictConfig,
        jobs: Sequence[dict[str, Any]],
        swept: Sequence[str] = (),
        whichever_fit: bool = False,
    ) -> None:
        """Check all jobs, and prepare what launched processes find in their environment.

        Args:
            config: of the command line, with Hydra's section.
            jobs: the configuration of each job.
            swept: the keys in which they differ.
            whichever_fit: whether jobs whose parts do not fit together are left out.

        Raises:
            ConfigError: a mistake in any of them.
        """
        global _current
        searches = _searches(config)
        self.overwrites = any(job["overwrite"] for job in jobs)
        if searches and self.overwrites:
            raise ConfigError(
                "overwrite=true: a search goes on where it stopped; choose another study"
            )
        at_once = min(int(config.hydra.launcher.n_jobs), len(jobs)) if _by_joblib(config) else 1
        paths, self.refused, unfit = check_jobs(jobs, at_once, searches, whichever_fit)
        for path, reason in unfit.items():
            terminal.note(f"{path.name} is left out: {reason}")
        several = any(job["trainer"]["strategy"] == "ddp" for job in jobs)
        if several and "BasicLauncher" not in str(config.hydra.launcher._target_):
            raise ConfigError(
                "trainer=ddp: needs hydra/launcher=basic; torchrun or srun start its processes"
            )
        folders = [path for path in dict.fromkeys(paths) if path not in unfit]
        places = {(str(job["logs_dir"]), str(job["study"])) for job in jobs}
        for logs_dir, study in sorted(places):
            make_study(logs_dir, study, () if searches else folders)
        ended: set[Path] = set()
        processes = distributed.started() if several else None
        if processes and not processes.first:
            terminal.silence()
        elif self.overwrites:
            again = dict.fromkeys(
                path
                for path, job in zip(paths, jobs, strict=True)
                if job["overwrite"] and path not in unfit
            )
            aside = [found for path in again if (found := set_aside(RunFolder(path)))]
            if aside:
                terminal.note(
                    f"{len(aside)} of {len(folders)} runs are trained anew; what they hold now is "
                    f"kept until then ({aside[0]})"
                )
        elif not searches:
            known = [folder for folder in folders if folder not in self.refused]
            ended = _note_finished(known, set().union(*map(targets_in, jobs)))
        _note_other_data({str(job["data"]["name"]) for job in jobs}, paths)
        self.runs, self.study = None if searches else folders, folders[0].parent
        self.objective = str(jobs[0]["objective"])
        self.claims, self.sections = (
            list(dict.fromkeys(path for job in jobs for path in job[key]))
            for key in ("report_claims", "report_sections")
        )
        count = config.hydra.sweeper.n_trials if searches else len(jobs)
        terminal.note(_in_words(jobs, int(count) - len(unfit), self.study))
        done = ended.union(self.refused)
        ahead = [] if searches else [path for path in folders if path not in done]
        terminal.announce(int(count), swept, [path.name for path in unfit], ahead)
        _current = self

    def _report_results(self) -> None:
        with exit_on_error():
            code = report_results()
        if code:
            sys.exit(code)


def _in_words(jobs: Sequence[dict[str, Any]], count: int, study: Path) -> str:
    """What a command trains, in one line; where jobs differ, in how many ways."""

    def of(several: str, values: Iterable[Any]) -> str:
        different = list(dict.fromkeys(map(str, values)))
        return different[0] if len(different) == 1 else f"{len(different)} {several}"

    network = of("networks", (job["model"].get("name") or job["model"]["_target_"] for job in jobs))
    data = of("data sets", (job["data"]["name"] for job in jobs))
    method = of("methods", (f"method {job['method']['name']}" for job in jobs))
    epochs = of("numbers of", (job["trainer"]["max_epochs"] for job in jobs))
    runs = "run" if count == 1 else "runs"
    return f"{count} {runs}: {network} on {data}, {method}, {epochs} epochs, into {study}/"


def _check_launcher(config: DictConfig) -> None:
    """Refuse a launcher or a sweeper that cannot work here."""
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


def _check_folders(config: DictConfig) -> None:
    """Refuse folders of Hydra's other than those of configs/train.yaml: they would not be used."""
    for key, expected in FOLDERS.items():
        section, name = key.split(".")[1:]
        values = OmegaConf.to_container(config.hydra[section], resolve=False)
        assert isinstance(values, dict)
        if values[name] != expected:
            raise ConfigError(
                f"{key}={values[name]}: must be left out; each run names its own folder, "
                "<logs_dir>/<study>/<run name>; set logs_dir and study"
            )
    if config.hydra.job.chdir:
        raise ConfigError(
            "hydra.job.chdir=true: must be false; each run names its own folder, "
            "<logs_dir>/<study>/<run name>, from where the command starts; set logs_dir and study"
        )


def _check_label(words: Sequence[str]) -> None:
    """Refuse `data.name=...` on the command line, where it looks like a choice of data: one's own
    files may be named, a known set may not."""
    if any(f"data={kind}" in words for kind in OWN_DATA):
        return
    for word in words:
        if word.lstrip("+").startswith("data.name="):
            raise ConfigError(
                f"{word}: only names the data in run names, and chooses none; choose data by "
                "data=..., such as data=fashion_mnist"
            )


def _complete_launcher(config: DictConfig) -> None:
    """Set what the launcher's configuration leaves open."""
    launcher = config.hydra.launcher
    target = str(launcher._target_)
    if _by_joblib(config):
        if launcher.n_jobs == -1:
            launcher.n_jobs = parallel_jobs()
        signal.signal(signal.SIGTERM, _stop_workers)
        signal.signal(signal.SIGINT, _stop_workers)
        if HANGS_UP is not None and signal.getsignal(HANGS_UP) is not signal.SIG_IGN:
            signal.signal(HANGS_UP, _stop_workers)
        terminal.note(f"up to {launcher.n_jobs} jobs at a time (hydra/launcher=joblib)")
    if target.endswith("SlurmLauncher") and not launcher.max_num_timeout:
        launcher.max_num_timeout = TIMEOUTS
    if target.endswith("RayLauncher") and launcher.ray.init.get("address"):
        # The plugin's default is for a cluster that it starts. Ray refuses it for another one.
        with open_dict(launcher.ray.init):
            launcher.ray.init.object_store_memory = None


def parallel_jobs() -> int:
    """How many jobs a machine trains at once: one on each GPU or, without any, on each core."""
    visible, all_gpus = os.environ.get("CUDA_VISIBLE_DEVICES"), Path("/proc/driver/nvidia/gpus")
    if visible is not None:
        gpus = len([device for device in visible.split(",") if device])
    else:
        gpus = len(list(all_gpus.iterdir())) if all_gpus.is_dir() else 0
    import joblib

    return gpus or int(joblib.cpu_count())


def _stop_workers(number: int, frame: FrameType | None) -> None:
    """Pass a request to stop on to the processes that train. Each of them writes a checkpoint.

    Ctrl-C has reached them already: the terminal sends it to all. A second one ends at once.
    """
    import psutil

    if number == signal.SIGINT and STOPPED_VARIABLE in os.environ:
        raise KeyboardInterrupt
    os.environ[STOPPED_VARIABLE] = "1"  # for processes that are not started yet
    if number in (signal.SIGTERM, HANGS_UP):
        for process in psutil.Process().children():
            process.send_signal(number)


def _by_joblib(config: DictConfig) -> bool:
    return str(config.hydra.launcher._target_).endswith("JoblibLauncher")


def _searches(config: DictConfig) -> bool:
    return "optuna" in str(config.hydra.sweeper._target_)


def _as_given(overrides: ListConfig) -> list[str]:
    """Words of the command line; what they interpolate is the job's, and is left as it stands."""
    words = OmegaConf.to_container(overrides, resolve=False)
    assert isinstance(words, list)
    return words


def _parse(words: Sequence[str]) -> list[Override]:
    loader = GlobalHydra.instance().config_loader()
    return OverridesParser.create(config_loader=loader).parse_overrides(list(words))


def product(overrides: Sequence[Override]) -> list[list[str]]:
    """The jobs of a sweep, in the order in which Hydra's own sweeper launches them.

    Args:
        overrides: of a command line. A key that comes twice has the last one's values.

    Returns:
        The overrides of each job, without any sweep.

    Raises:
        ConfigError: an interval, which only a search can choose from.
    """
    choices: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            values = [override.get_value_element_as_str()]
        elif override.is_discrete_sweep():
            values = list(override.sweep_string_iterator())
        else:
            raise ConfigError(
                f"{override.input_line}: needs a search (hparams_search=optuna); a sweep takes "
                "values, as in 1,2,3 or range(1,4)"
            )
        choices[key] = [f"{key}={value}" for value in values]
    return [list(job) for job in itertools.product(*choices.values())]


def _compose(config: DictConfig, job: list[str]) -> dict[str, Any]:
    """The configuration of one job of a sweep, as Hydra composes it when the job starts."""
    words = [*_as_given(config.hydra.overrides.hydra), *job]
    composed = compose(config.hydra.job.config_name, words, return_hydra_config=True)
    HydraConfig.instance().set_config(composed)  # for values such as ${hydra:runtime.choices.model}
    return resolved(composed)


def resolved(config: DictConfig) -> dict[str, Any]:
    """The job's own configuration, resolved, as plain types, without Hydra's section."""
    job = {key: config[key] for key in config if key != "hydra"}
    container = OmegaConf.to_container(OmegaConf.create(job), resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _note_other_data(names: set[str], paths: Sequence[Path]) -> None:
    """Tell the user where a study has runs of other data too. Only a few runs are looked at: a
    study may have thousands.

    Args:
        names: of the jobs' data.
        paths: the folders of their runs.
    """
    own = set(paths)
    for study in sorted({path.parent for path in paths}):
        others = (file.parent for file in study.glob("*/config.yaml") if file.parent not in own)
        found: set[str] = set()
        for folder in itertools.islice(others, MOST_ASKED):
            with contextlib.suppress(Damaged):
                found.add(str(read_config(folder)[0]["data"]["name"]))
        if other := sorted(found - names):
            terminal.note(
                f"{study}/ holds runs of {terminal.printable(', '.join(other))} too; "
                "study=NAME keeps them apart"
            )


def _note_finished(folders: Sequence[Path], targets: set[str]) -> set[Path]:
    """Tell the user which runs are skipped, and whether other code has trained any of them.

    Args:
        folders: of all jobs' runs.
        targets: the paths of their parts.

    Returns:
        The folders of those that are skipped.
    """
    statuses = {path: RunFolder(path).status() for path in folders}
    ended = {path: found for path, found in statuses.items() if found.get("state") in ENDED}
    if not ended:
        return set()
    several = f"{len(ended)} of {len(folders)} runs are" if len(folders) > 1 else "the run is"
    terminal.note(
        f"{several} done already and skipped; overwrite=true trains again ({next(iter(ended))})"
    )
    now = provenance(targets)
    found = [changes(status.get("provenance", {}), now) for status in ended.values()]
    if any(found):
        what = sorted({change for one in found for change in one})
        terminal.note(f"{sum(map(bool, found))} trained with another version: {'; '.join(what)}")
    return set(ended)


def report_results() -> int:
    """Print how the jobs of this command line ended, and write the report of their study.

    Returns:
        The exit code: that of `report.sweep_summary`; 0 where no job was launched.
    """
    global _current
    sweep, _current = _current, None
    processes = distributed.started()
    if sweep is None or (processes and not processes.first):
        return 0
    from skewlab.report import sweep_summary

    rerun = _rerun_command(sweep.overwrites)
    if sweep.runs is None:
        return sweep_summary.end_search(sweep.study, sweep.objective, rerun)
    return sweep_summary.end_sweep(sweep.runs, rerun, sweep.claims, sweep.sections, sweep.refused)


def _rerun_command(overwrites: bool) -> str:
    """The command line that trains only the runs that are not done.

    Args:
        overwrites: whether this command line trains finished runs again.
    """
    arguments = [a for a in sys.argv[1:] if not a.startswith("overwrite=")]
    if overwrites:
        arguments.append("overwrite=false")
    processes = distributed.started()
    program = "python"
    if processes is not None and processes.by_torchrun:
        where = "--standalone " if processes.hosts == 1 else ""
        program = f"torchrun {where}--nproc_per_node={processes.per_host}"
    return f"{program} {shlex.join([sys.argv[0], *arguments])}"
