"""Every job of a sweep is checked before the first one starts."""

import difflib
import inspect
import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skewlab import distributed
from skewlab.config.parts import HYDRA_KEYS, LABEL, Part, build, check_arguments, offered, target_of
from skewlab.config.schema import RunConfig, checked
from skewlab.data.plan import plan
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset
from skewlab.errors import ConfigError, Damaged
from skewlab.launch.standing import check_data, is_done
from skewlab.launch.validation_checks import check_enough, check_validation
from skewlab.metrics.rankings import RANKINGS
from skewlab.metrics.scores import METRICS, scalars
from skewlab.report.claims import load_claims
from skewlab.runs.folder import DONE, LAST, RunFolder
from skewlab.runs.identity import run_path
from skewlab.runs.reading import verify
from skewlab.terminal import note, quiet_lightning

# How many arguments the program itself gives to each part of a method.
METHOD_ARGUMENTS = {
    **{"loss": 1, "weights": 1, "mixing": 1, "head": 1, "sampler": 2, "gradient": 2},
    **{"second_stage": 0, "algorithm": 2},
}
SECOND_STAGE_ARGUMENTS = {
    name: METHOD_ARGUMENTS[name] for name in ("loss", "weights", "sampler", "mixing")
}
# To each part of the configuration, or to each of several with a name of their own.
GIVEN_ARGUMENTS = {
    **{"data.source": 0, "data.transform": 0, "model": 2, "optimizer": 1, "scheduler": 2},
    **{f"method.{name}": given for name, given in METHOD_ARGUMENTS.items()},
    **{"method.post_hoc": 1, "curves.probes": 1, "curves.metrics": 0, "callbacks": 0, "logger": 0},
    **{"module": 0, "datamodule": 0},
    **{
        f"method.second_stage.{name}": given
        for name, given in {**SECOND_STAGE_ARGUMENTS, "scheduler": 2}.items()
    },
}
# What it offers by name, where the target takes it and the configuration does not set it.
OFFERS = {
    "curves.metrics": frozenset({"num_classes"}),
    "model": frozenset({"vocabulary"}),
    "data.transform": frozenset({"input_shape"}),
    "logger": frozenset({"config", "folder", "save_dir"}),
    "module": frozenset(
        {"model", "method", "optimizer", "scheduler", "input_shape", "train_counts", "mean", "std"}
        | {"init_seed", "order_seed", "second_epochs", "kind", "vocabulary", "processes"}
    ),
    "datamodule": frozenset(
        {"source", "subset", "batch_size", "evaluation_batch_size", "order_seed", "workers"}
        | {"crop", "flip", "transform", "drop_last", "rows", "processes"}
    ),
}
# Arguments of pl.Trainer that are set elsewhere, and where.
SET_ELSEWHERE = {
    "callbacks": "callbacks are chosen as callbacks=..., or +callbacks.<name>._target_=...",
    "logger": "loggers are chosen as logger=...",
    "default_root_dir": "a run writes into <logs_dir>/<study>/<run name>",
}


def given_arguments(key: str, part: Part) -> int:
    """How many arguments the program itself gives to the part at a key, before the configured."""
    if key == "scheduler" and inspect.isclass(target_of(part, key)):
        return 1  # PyTorch's own take the optimiser; functions take the time and the length
    return GIVEN_ARGUMENTS.get(key, GIVEN_ARGUMENTS.get(key.rpartition(".")[0], 0))


def offers_to(key: str) -> frozenset[str]:
    """What the program offers by name to the part at a key."""
    return OFFERS.get(key, OFFERS.get(key.rpartition(".")[0], frozenset()))


class CheckedJobs(NamedTuple):
    """What was found of the runs of some jobs.

    Attributes:
        paths: the folder of each job's run.
        refused: why a folder cannot be used, for those that hold something else than they should.
        unfit: why a run cannot be trained, for those whose parts do not fit together.
    """

    paths: list[Path]
    refused: dict[Path, str]
    unfit: dict[Path, str]


def check_jobs(
    jobs: Sequence[dict[str, Any]],
    at_once: int = 1,
    searches: bool = False,
    whichever_fit: bool = False,
) -> CheckedJobs:
    """Check every job as far as that goes without training; of one whose run has ended already only
    what the configuration says and whether its files and data are the same, as nothing of it will
    be built.

    Args:
        jobs: the configuration of each.
        at_once: how many train on this machine at a time.
        searches: whether a search chooses among them.
        whichever_fit: whether jobs whose parts do not fit together are told and not refused: those
            of `method=glob(*)`, which asks for all that there are. One at least must fit.

    Raises:
        ConfigError: a mistake in any of them.
    """
    # Cheap checks of all jobs first: a typo in the last one is found before torch is imported, and
    # a class that has too few samples for it before Lightning is.
    runs = [checked(job) for job in jobs]
    for run in runs:
        _check_processes(run)
        _check_start(run)
        load_claims(run.report_claims, "report_claims")
        if run.report_sections:  # they draw, and matplotlib takes long to import
            from skewlab.report.sections.own import load_sections

            load_sections(run.report_sections, "report_sections")
    seen: set[str] = set()

    def new(*parts: object) -> bool:
        key = repr(parts)
        return key not in seen and not seen.add(key)  # type: ignore[func-returns-value]

    paths = [run_path(run) for run in runs]
    ahead, kept, refused = [], {}, {}
    for run, path in zip(runs, paths, strict=True):
        try:
            done = not run.overwrite and is_done(RunFolder(path), run)
        except Damaged as damage:
            refused[path] = str(damage)
            continue
        if not done:
            ahead.append(run)
        if not run.overwrite:
            kept[path] = run
    for run in ahead:
        for key, part in _parts(run).items():
            if new(key, part):
                check_arguments(part, key, given_arguments(key, part), offers_to(key))
    for run in ahead:
        if new("data", run.data, run.imbalance, run.ratio, run.data_seed):
            plan(run)
        if new("val", run.data, run.callbacks, run.scheduler):
            check_validation(run, *plan(run), searches)
    for run in ahead:
        for name, logger in (run.logger or {}).items():
            if new("logger", name, logger):
                from skewlab import loggers

                loggers.check(name, logger)
        graphs = run.training.cuda_graphs is True and (run.method, run.module)
        if new("trainer", run.trainer, run.callbacks, run.curves.every_n_epochs, graphs):
            _check_trainer(run)
    unfit: dict[Path, str] = {}
    misfits: dict[str, str] = {}
    for run in ahead:
        length = (run.imbalance, run.ratio, run.trainer.max_epochs, run.training.updates)
        trained = (run.model, run.method, run.optimizer, run.scheduler, run.trainer.strategy)
        alike = repr((run.data, trained, length, run.curves))
        if new("fit", alike):
            try:
                if new("parts", run.data, run.curves, trained):
                    _check_parts(run)
                    _check_memory(run, at_once)
                if new("method", run.data, trained, length):
                    _check_method(run)
            except ConfigError as misfit:
                if not whichever_fit:
                    raise
                misfits[alike] = str(misfit)
        if alike in misfits:
            unfit[run_path(run)] = misfits[alike]
    if unfit and set(unfit) == set(paths):
        raise ConfigError(next(iter(unfit.values())))
    for path, run in kept.items():
        try:
            check_data(path, *plan(run))
        except Damaged as damage:
            refused[path] = str(damage)
        except ConfigError as error:
            note(f"{path.name}: its data cannot be compared with those of today: {error}")
    return CheckedJobs(paths, refused, unfit)


def _parts(run: RunConfig) -> dict[str, Part]:
    """Every part of a run by its key."""
    several = {
        "method.post_hoc": run.method.rules,
        "curves.probes": run.curves.probes,
        "curves.metrics": run.curves.metrics,
        "callbacks": run.callbacks or {},
        "logger": run.logger or {},
    }
    alone = {
        "data.source": run.data.source,
        "data.transform": run.data.transform,
        **{f"method.{name}": getattr(run.method, name) for name in METHOD_ARGUMENTS},
        **{name: getattr(run, name) for name in ("model", "optimizer", "scheduler")},
        "module": run.module,
        "datamodule": run.datamodule,
    }
    found = {key: part for key, part in alone.items() if part is not None}
    for name in (*SECOND_STAGE_ARGUMENTS, "scheduler"):
        if part := (run.method.second_stage or {}).get(name):
            found[f"method.second_stage.{name}"] = part
    for group, parts in several.items():
        found |= {f"{group}.{name}": part for name, part in parts.items()}
    return found


def _check_start(run: RunConfig) -> None:
    """The run whose weights are started from is there, and finished."""
    if run.from_run is None:
        return
    folder = RunFolder(Path(run.from_run))
    status = folder.status()
    if (state := status.get("state")) != DONE:
        raise ConfigError(
            f"from_run={run.from_run}: must be the folder of a finished run, "
            f"<logs_dir>/<study>/<run name>, and this one is {state or 'no run'}"
        )
    if not (folder.checkpoints / LAST).exists():
        raise ConfigError(f"from_run={run.from_run}: has no checkpoints/{LAST}")
    verify(folder.path, status, (f"checkpoints/{LAST}",))


def _check_processes(run: RunConfig) -> None:
    """As many processes as the strategy wants, and started as it wants them."""
    processes = distributed.started()
    several = run.trainer.strategy == "ddp"
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
    wanted = run.trainer.arguments().get("devices", "auto")
    one = len(wanted) == 1 if isinstance(wanted, list) else str(wanted) in ("auto", "1")
    if not several and not one:
        raise ConfigError(
            f"trainer.devices={wanted}: must be auto, 1, or the number of one GPU in brackets; "
            "several devices train one run with trainer=ddp, see docs/scaling.md"
        )


def _check_trainer(run: RunConfig) -> None:
    """The arguments of Lightning's Trainer: their names, their types, and what it says of them."""
    import pytorch_lightning as pl
    import torch

    given = run.trainer.arguments()
    for key, reason in SET_ELSEWHERE.items():
        if key in given:
            raise ConfigError(f"trainer.{key}={given[key]}: set elsewhere; {reason}")
    if given.get("barebones"):
        raise ConfigError("trainer.barebones=true: leaves out the callbacks that record a run")
    if given.get("enable_checkpointing") is False:
        raise ConfigError(
            "trainer.enable_checkpointing=false: an interrupted run goes on from its checkpoints; "
            "leave it out"
        )
    target = {"_target_": "pytorch_lightning.Trainer", **given}
    check_arguments(target, "trainer", 0)
    if run.trainer.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator=gpu: there is no CUDA device; allowed here: cpu")
    if run.training.cuda_graphs is True:
        from skewlab.training import cuda_graphs, devices

        on_gpu = devices.accelerator(run) == "gpu"
        why_not = cuda_graphs.why_not(run) if on_gpu else "there is no GPU to train on"
        if why_not is not None:
            raise ConfigError(f"training.cuda_graphs=true: {why_not}; allowed here: auto, false")
    from skewlab.training.run import trainer_arguments

    arguments = trainer_arguments(run)
    try:
        with quiet_lightning():
            pl.Trainer(
                **arguments | {"accelerator": "cpu", "devices": 1, "strategy": "auto"},
                logger=False,
            )
    except Exception as error:  # Lightning has many kinds
        reason = " ".join(str(error).split())
        raise ConfigError(f"trainer: Lightning refuses its arguments: {reason}") from error
    for name, callback in (run.callbacks or {}).items():
        built = _try(f"callbacks.{name}", callback)
        _check_monitor(f"callbacks.{name}.monitor", getattr(built, "monitor", None))


def _check_monitor(key: str, monitor: Any) -> None:
    """Refuse a monitor that is nearly a name of the curves. Any other name may be logged by a
    callback or a module of one's own."""
    ones = dict.fromkeys([*METRICS, *RANKINGS, "n"], np.ones(3))
    splits = dict.fromkeys(("train", "val", "test"), ones)
    members = {name: [0, 1, 2] for name in ("majority", "minority", "many", "medium", "few")}
    known = scalars(splits, members)
    if isinstance(monitor, str) and monitor not in known:
        close = difflib.get_close_matches(monitor, known, n=1, cutoff=0.9)
        if close:
            raise ConfigError(f"{key}={monitor}: no such number; did you mean {close[0]}?")


def _check_parts(run: RunConfig) -> None:
    """Build what the configuration names once: what a part refuses is found before training."""
    from skewlab.launch.data_checks import check_inputs
    from skewlab.models.network import trained_parameters

    source, subset = plan(run)
    network = _trained_network(run, source, subset)
    check_inputs(run, source, network)
    _check_probes(run, network, source, subset)
    own = {*METRICS, *(RANKINGS if run.curves.rankings else ()), "n", "confusion"}
    for name, metric in run.curves.metrics.items():
        key = f"curves.metrics.{name}"
        if name in own:
            raise ConfigError(
                f"{key}: is measured already; give yours another name"
                + (", or set curves.rankings=false" if name in RANKINGS else "")
            )
        built = _try(key, metric, **offered(metric, key, num_classes=len(source.class_names)))
        _check_metric(key, built, len(source.class_names))
    parameters = trained_parameters(network, network, run.optimizer)
    optimizer = _try("optimizer", run.optimizer, parameters)
    from torch.optim.lr_scheduler import LRScheduler

    target = target_of(run.scheduler, "scheduler")
    if inspect.isclass(target) and issubclass(target, LRScheduler):
        _try("scheduler", run.scheduler, optimizer)
    else:
        _try("scheduler", run.scheduler, 0.5, run.trainer.max_epochs)


def _check_metric(key: str, metric: Any, classes: int) -> None:
    """A metric takes logits and labels, and gives a number for each class."""
    import torch

    try:
        metric.update(torch.eye(classes), torch.arange(classes))
        found = metric.compute()
        metric.reset()
    except Exception as error:  # whatever is wrong with it
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise ConfigError(f"{key}: fails on logits and labels: {reason}") from error
    if tuple(getattr(found, "shape", ())) != (classes,):
        raise ConfigError(
            f"{key}: must compute a number for each class, shape [{classes}], not "
            f"{list(getattr(found, 'shape', []))}; torchmetrics has average=none for it"
        )


def _check_memory(run: RunConfig, at_once: int) -> None:
    """On a GPU: the runs that train there at a time fit into its memory."""
    from skewlab.training import memory

    memory.check(run, plan(run)[0], at_once)


def _check_probes(run: RunConfig, network: Any, source: Any, subset: Any) -> None:
    """Build each probe once, and hold what it needs against what the run has."""
    from skewlab.models.network import has_parts
    from skewlab.probes.probe import Moment, wanted_splits
    from skewlab.training.run import run_facts

    about = run_facts(run, source, subset, run_path(run))
    for name, component in run.curves.probes.items():
        probe = _try(f"curves.probes.{name}", component, about)
        if probe.splits_network and not has_parts(network):
            raise ConfigError(
                f"curves/probes={name}: needs a network with `features` and `head`, as "
                f"skewlab.models.network has; {run.model['_target_']} gives none"
            )
        if not probe.every_process and run.trainer.strategy == "ddp":
            raise ConfigError(
                f"curves/probes={name}: looks at single steps of one process; not with trainer=ddp"
            )
        wanted_splits(name, probe, Moment(run.trainer.max_epochs, 1, True, True))
        if "val" in wanted_splits(name, probe, Moment(0, 0, False, False)):
            needing = f"curves/probes={name}, which is fitted to val"
            check_enough(run, source, subset, 2, needing)


def _check_method(run: RunConfig) -> None:
    from skewlab.launch.method_checks import check_method
    from skewlab.models.network import network_offers

    source, subset = plan(run)
    given = network_offers(run.model, source.vocabulary)
    network = _try("model", run.model, source.input_shape, len(source.class_names), **given)
    check_method(run, source, subset, network, _try)


def _trained_network(run: RunConfig, source: Source, subset: Subset) -> Any:
    """The network with the head or algorithm of the method, built once."""
    import torch

    from skewlab.methods.algorithms import trained_network

    return trained_network(
        run.model,
        run.method.parts,
        source.input_shape,
        torch.from_numpy(subset.counts),
        source.vocabulary,
        lambda part, *given, key, **named: _try(key, part, *given, **named),
    )


def _try(key: str, part: Part, *given: Any, **named: Any) -> Any:
    """Build a part; what it refuses is a mistake of the configuration."""
    try:
        return build(part, *given, key=key, **named)
    except ConfigError:
        raise
    except Exception as error:
        arguments = {k: v for k, v in part.items() if k not in (*HYDRA_KEYS, LABEL)}
        raise ConfigError(f"{key}={arguments}: cannot be built: {error}") from error
