"""A command line from start to end: check every job, run them, conclude.

Hydra composes the jobs and launches them; `SweepCallback` is what it calls before the first and
after the last one, also for a single job. Imports no torch before the first job starts.
"""

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from skewlab import config as schema
from skewlab.component import NOT_ARGUMENTS, Component, build, check_arguments
from skewlab.config import Settings
from skewlab.console import JOBS_VARIABLE, job_label, note
from skewlab.errors import ConfigError, Diverged, suggestion
from skewlab.runs.folder import DIVERGED, DONE, FAILED, RunFolder
from skewlab.runs.identity import run_path

BAD_INPUT = 2
TERMINATED = 143
# How many arguments the program itself gives to each part of the configuration.
GIVEN_ARGUMENTS = {"model": 2, "optimizer": 1, "scheduler": 2, "logger": 2}


def plain(config: DictConfig) -> dict[str, Any]:
    """The job's own configuration, resolved, as plain types, without Hydra's section."""
    job = {key: config[key] for key in config if key != "hydra"}
    container = OmegaConf.to_container(OmegaConf.create(job), resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def command_line(main: Callable[[], Any]) -> None:
    """Run a Hydra main function so that the user's mistakes are answered with one line each.

    A traceback is left to bugs. `HYDRA_FULL_ERROR=1` shows it for mistakes too.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        main()
        return
    # Lets Hydra's errors through to us, who say them in one line.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with _said_here():
        main()


@contextlib.contextmanager
def _said_here() -> Iterator[None]:
    """End the program on an error, with its message for a mistake and a traceback for a bug.

    Also inside a callback, whose exceptions Hydra would turn into a warning and go on.
    """
    try:
        yield
    except ConfigError as error:
        message = str(error)
    except (HydraException, OmegaConfBaseException) as error:
        message = _one_line(error)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    else:
        return
    for line in message.splitlines():
        note(f"error: {line}")
    sys.exit(BAD_INPUT)


def _one_line(error: Exception) -> str:
    """Hydra's and OmegaConf's messages as `key=value: what is allowed`."""
    text = str(error.__cause__ or error) if isinstance(error, HydraException) else str(error)
    whole = f"{error}\n{text}"
    if unknown := re.search(r"Could not override '([^']*)'", whole):
        key = unknown[1]
        given = next((a for a in sys.argv[1:] if a.lstrip("+~").startswith(f"{key}=")), key)
        known = _known_keys(key)
        place = f" in the chosen {key.rpartition('.')[0]}" if not known else ""
        return f"{given}: no such key{place}" + suggestion(key, known)
    if choice := re.search(r"Could not find '([^']*)/([^'/]*)'", whole):
        options = re.findall(r"^\s+(\S+)$", whole.partition("Available options")[2], re.MULTILINE)
        return f"{choice[1]}={choice[2]}: no such choice" + suggestion(choice[2], options)
    return " ".join(text.split())


def _known_keys(key: str) -> list[str]:
    """The keys that stand where this one was looked for."""
    section: Any = Settings
    path = key.split(".")[:-1]
    for part in path:
        field = getattr(section, "model_fields", {}).get(part)
        section = field.annotation if field else None
    return [".".join([*path, name]) for name in getattr(section, "model_fields", {})]


class SweepCallback(Callback):
    """Checks every job before the first starts, and tells how they ended after the last."""

    def __init__(self) -> None:
        self._runs: list[Path] = []

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._check([config])

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        hydra = GlobalHydra.instance().config_loader()
        with _said_here():
            # An experiment file can bring its own sweep; the command line overrides it.
            sweep = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
            overrides = OverridesParser.create(config_loader=hydra).parse_overrides(
                [*sweep, *config.hydra.overrides.task]
            )
            (jobs,) = BasicSweeper.split_arguments(overrides, None)
            composed = [hydra.load_sweep_config(config, list(job)) for job in jobs]
        self._check(composed)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        self._conclude()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        self._conclude()

    def _check(self, configs: Sequence[DictConfig]) -> None:
        with _said_here():
            self._runs = list(dict.fromkeys(check_jobs([plain(config) for config in configs])))
        os.environ[JOBS_VARIABLE] = str(len(configs))

    def _conclude(self) -> None:
        from skewlab.report.conclude import conclude

        with _said_here():
            if not conclude(self._runs):
                sys.exit(1)


def check_jobs(jobs: Sequence[dict[str, Any]]) -> list[Path]:
    """Check every job as far as that goes without training.

    Returns:
        The folder of each job's run.

    Raises:
        ConfigError: a mistake in any of them.
    """
    # Cheap checks of all jobs first: a typo in the last one is found before torch is imported.
    settings = [schema.check(job) for job in jobs]
    seen: set[str] = set()

    def new(*parts: object) -> bool:
        key = repr(parts)
        return key not in seen and not seen.add(key)  # type: ignore[func-returns-value]

    for job in settings:
        parts = {
            "data.source": (job.data.source, 0),
            "method.loss": (job.method.loss, 1),
            **{name: (getattr(job, name), given) for name, given in GIVEN_ARGUMENTS.items()},
        }
        for key, (component, given) in parts.items():
            if component is not None and new(key, component):
                check_arguments(component, key, given)
        if job.logger is not None and new("logger check", job.logger):
            from skewlab import loggers

            loggers.check(job.logger)
        if new("data", job.data, job.imbalance, job.ratio, job.data_seed):
            _check_data(job)
        if new("parts", job.data, job.model, job.method, job.optimizer, job.scheduler):
            _check_parts(job)
    return [run_path(job) for job in settings]


def _check_data(job: Settings) -> None:
    from skewlab.train import plan

    plan(job)


def _check_parts(job: Settings) -> None:
    """Build what the configuration names once: what a part refuses is found before training."""
    import torch

    from skewlab.train import plan

    if job.trainer.accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator=gpu: there is no CUDA device; allowed here: cpu")
    source, subset = plan(job)
    network = _try("model", job.model, source.image_shape, len(source.class_names))
    if "representation" in job.curves.probes:
        if not (hasattr(network, "features") and hasattr(network, "head")):
            raise ConfigError(
                f"curves.probes={job.curves.probes}: needs a network with `features` and `head`, "
                f"as skewlab.models.network has; {job.model['_target_']} gives none"
            )
        if job.data.val_per_class < 2:
            raise ConfigError(
                f"data.val_per_class={job.data.val_per_class}: must be at least 2 for "
                f"curves.probes={job.curves.probes}, which is fitted to val"
            )
    _try("method.loss", job.method.loss, torch.from_numpy(subset.counts))
    _try("optimizer", job.optimizer, network.parameters())
    _try("scheduler", job.scheduler, 0.5, job.trainer.max_epochs)


def _try(key: str, component: Component, *positional: Any) -> Any:
    try:
        return build(component, *positional, key=key)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        arguments = {k: v for k, v in component.items() if k not in NOT_ARGUMENTS}
        raise ConfigError(f"{key}={arguments}: cannot be built: {error}") from error


def run_job(config: DictConfig) -> None:
    """One job of a sweep. Whatever happens to it is in its folder; the next job goes on."""
    settings = schema.check(plain(config))
    folder = RunFolder(run_path(settings))
    label = _label(settings)
    if folder.state() == DONE and not settings.overwrite:
        note(f"{label} is done already ({folder.path}); overwrite=true trains it again")
        return
    from skewlab.train import train

    folder.start(plain(config))
    try:
        train(settings, folder, label)
    except Diverged as error:
        note(f"{label} {error}: the loss is no finite number")
        folder.finish(DIVERGED, step=error.step, reason=str(error))
    except ConfigError as error:  # found only in training: an image that cannot be read
        note(f"{label} error: {error}")
        folder.finish(FAILED, reason=str(error))
    except Exception as error:
        traceback.print_exc()
        folder.finish(FAILED, reason=traceback.format_exception_only(error)[-1].strip())
    except (KeyboardInterrupt, SystemExit) as error:
        # Ctrl-C, or SIGTERM, which Lightning turns into an exit without a code. The run is not
        # done, and the sweep ends here.
        folder.finish(FAILED, reason="interrupted")
        sys.exit(getattr(error, "code", None) or TERMINATED)
    else:
        folder.finish(DONE)


def _label(settings: Settings) -> str:
    job = HydraConfig.get().job
    number = 0 if OmegaConf.is_missing(job, "num") else job.num  # missing outside a sweep
    ratio = "" if settings.ratio is None else f" ratio {settings.ratio:g}"
    return f"{job_label(number)}{ratio} seed {settings.seed}"
