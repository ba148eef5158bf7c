"""Every job of a sweep is checked before the first one starts."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skewlab import distributed
from skewlab.config import schema
from skewlab.config.parts import NOT_ARGUMENTS, Component, build, check_arguments
from skewlab.config.schema import RunConfig
from skewlab.data.plan import plan
from skewlab.errors import ConfigError
from skewlab.launch.process import read_module
from skewlab.runs.folder import ENDED, RunFolder
from skewlab.runs.identity import run_path

# How many arguments the program itself gives to each part of a method.
METHOD_ARGUMENTS = {
    **{"loss": 1, "weights": 1, "mixing": 1, "head": 1, "sampler": 2, "gradient": 2},
    "second_stage": 0,
}
# To each part of the configuration, or to each of several with a name of their own.
GIVEN_ARGUMENTS = {
    **{"data.source": 0, "model": 2, "optimizer": 1, "scheduler": 2},
    **{f"method.{name}": given for name, given in METHOD_ARGUMENTS.items()},
    **{"method.post_hoc": 1, "curves.probes": 1, "logger": 2},
}


def given_arguments(key: str) -> int:
    """How many arguments the program itself gives to the part at a key, before the configured."""
    of_many = key.rpartition(".")[0]
    return GIVEN_ARGUMENTS.get(key, GIVEN_ARGUMENTS.get(of_many, 0))


def check_jobs(jobs: Sequence[dict[str, Any]]) -> list[Path]:
    """Check every job as far as that goes without training; of one whose run has ended already only
    what the configuration says, as nothing of it will be built.

    Returns:
        The folder of each job's run.

    Raises:
        ConfigError: a mistake in any of them.
    """
    # Cheap checks of all jobs first: a typo in the last one is found before torch is imported, and
    # a class that has too few samples for it before Lightning is.
    settings = [schema.check(job) for job in jobs]
    for job in settings:
        _check_processes(job)
    seen: set[str] = set()

    def new(*parts: object) -> bool:
        key = repr(parts)
        return key not in seen and not seen.add(key)  # type: ignore[func-returns-value]

    paths = [run_path(job) for job in settings]
    ahead = [
        job
        for job, path in zip(settings, paths, strict=True)
        if job.overwrite or RunFolder(path).state() not in ENDED
    ]
    if ahead:
        read_module("torch")
    for job in ahead:
        parts = {
            "data.source": job.data.source,
            **{f"method.{name}": getattr(job.method, name) for name in METHOD_ARGUMENTS},
            **{f"method.post_hoc.{name}": rule for name, rule in job.method.rules.items()},
            **{name: getattr(job, name) for name in ("model", "optimizer", "scheduler")},
            **{f"curves.probes.{name}": probe for name, probe in job.curves.probes.items()},
        }
        for key, component in parts.items():
            if component is not None and new(key, component):
                check_arguments(component, key, given_arguments(key))
    for job in ahead:
        if new("data", job.data, job.imbalance, job.ratio, job.data_seed):
            plan(job)
    for job in ahead:
        for name, logger in (job.logger or {}).items():
            if new("logger", name, logger):
                from skewlab import loggers

                check_arguments(logger, key := f"logger.{name}", given_arguments(key))
                loggers.check(name, logger)
        if new("parts", job.data, job.model, job.method, job.optimizer, job.scheduler, job.curves):
            _check_parts(job)
        course = (job.imbalance, job.ratio, job.trainer.max_epochs, job.trainer.updates)
        if new("method", job.data, job.model, job.method, job.trainer.strategy, course):
            _check_method(job)
    return paths


def _check_processes(job: RunConfig) -> None:
    """As many processes as the strategy wants, and started as it wants them."""
    processes = distributed.started()
    several = job.trainer.strategy == "ddp"
    if several and processes is None:
        arguments = shlex.join(sys.argv[1:]) or "trainer=ddp"
        raise ConfigError(
            "trainer=ddp: trains each run on several processes, which must be started together: "
            f"torchrun --standalone --nproc_per_node=2 train.py {arguments}"
        )
    if not several and processes is not None and processes.by_torchrun:
        raise ConfigError(
            f"trainer=default: torchrun has started {processes.count} processes, each of "
            "which would train the same runs; add trainer=ddp, or start without torchrun"
        )


def _check_parts(job: RunConfig) -> None:
    """Build what the configuration names once: what a part refuses is found before training."""
    read_module("skewlab.training.run")
    import torch

    if job.trainer.accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator=gpu: there is no CUDA device; allowed here: cpu")
    source, subset = plan(job)
    network = _try("model", job.model, source.image_shape, len(source.class_names))
    _check_probes(job, network, source, subset)
    _try("optimizer", job.optimizer, network.parameters())
    _try("scheduler", job.scheduler, 0.5, job.trainer.max_epochs)


def _check_probes(job: RunConfig, network: Any, source: Any, subset: Any) -> None:
    """Build each probe once, and hold what it needs against what the run has."""
    from skewlab.models.network import has_parts
    from skewlab.probes.probe import Moment
    from skewlab.training.run import run_facts

    about = run_facts(job, source, subset, run_path(job))
    for name, component in job.curves.probes.items():
        probe = _try(f"curves.probes.{name}", component, about)
        if probe.splits_network and not has_parts(network):
            raise ConfigError(
                f"curves/probes={name}: needs a network with `features` and `head`, as "
                f"skewlab.models.network has; {job.model['_target_']} gives none"
            )
        if not probe.every_process and job.trainer.strategy == "ddp":
            raise ConfigError(
                f"curves/probes={name}: looks at single steps of one process; not with trainer=ddp"
            )
        if "val" in probe.wants(Moment(0, 0, False, False)) and job.data.val_per_class < 2:
            raise ConfigError(
                f"data.val_per_class={job.data.val_per_class}: must be at least 2 for "
                f"curves/probes={name}, which is fitted to val"
            )


def _check_method(job: RunConfig) -> None:
    from skewlab.launch.method_checks import check_method

    source, subset = plan(job)
    network = _try("model", job.model, source.image_shape, len(source.class_names))
    check_method(job, source, subset, network, _try)


def _try(key: str, component: Component, *positional: Any) -> Any:
    try:
        return build(component, *positional, key=key)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        arguments = {k: v for k, v in component.items() if k not in NOT_ARGUMENTS}
        raise ConfigError(f"{key}={arguments}: cannot be built: {error}") from error
