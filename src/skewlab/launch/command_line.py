"""How the program answers: one line for a user's mistake, a traceback for a bug."""

import contextlib
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from skewlab import distributed
from skewlab.config.parts import NOT_ARGUMENTS, keyword_arguments
from skewlab.config.schema import RunConfig
from skewlab.errors import BAD_INPUT, FAILED, INTERRUPTED, ConfigError, suggestion
from skewlab.launch.checks import given_arguments
from skewlab.launch.process import end_process
from skewlab.terminal import note

# Groups of which several can be chosen together.
SEVERAL = ("curves/probes", "method/post_hoc", "logger")
# How often a sweep goes on by itself after a worker was killed.
TRIES_VARIABLE, MOST_TRIES = "SKEWLAB_TRIES", 3
# What a group's choice needs, and the extra of pyproject.toml that has it.
EXTRAS = {
    "hydra_joblib_launcher": ("hydra/launcher=joblib", "parallel"),
    "hydra_submitit_launcher": ("hydra/launcher=submitit_slurm", "slurm"),
    "hydra_ray_launcher": ("hydra/launcher=ray", "ray"),
    "hydra_optuna_sweeper": ("hparams_search=optuna", "search"),
}
# Seconds that the other processes of a distributed run leave the first one to say what is wrong:
# where one ends, torchrun ends all.
TO_SAY_IT = 20.0


def command_line(main: Callable[[], Any], conclude: Callable[[], Any]) -> NoReturn:
    """Run a Hydra main function so that the user's mistakes are answered with one line each, and
    end the process.

    `HYDRA_FULL_ERROR=1` shows tracebacks for mistakes too.

    Args:
        main: decorated with `hydra.main`.
        conclude: tells how the jobs ended, where Hydra gives up before it could.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        main()
        sys.exit()
    # Lets Hydra's errors through to us, who say them in one line.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with said_here():
            main()
    except KeyboardInterrupt:
        note("stopped; the same command goes on from the last checkpoints")
        end_process(INTERRUPTED)
    except SystemExit as end:
        if end.code == FAILED:
            if _a_worker_was_killed(end.__context__):
                _go_on()
            conclude()
        if not isinstance(end.code, int | None):
            raise
        end_process(end.code or 0)
    end_process(0)


def _a_worker_was_killed(error: BaseException | None) -> bool:
    """Whether joblib gave up because one of its processes died, by the system's hand perhaps."""
    return type(error).__name__ in ("TerminatedWorkerError", "BrokenProcessPool")


def _go_on() -> None:
    """Start the command again in this process's place, a few times: what has ended is skipped,
    what was interrupted goes on. Otherwise one killed worker would cost all runs after it."""
    import psutil

    tries = int(os.environ.get(TRIES_VARIABLE, 0)) + 1
    if tries > MOST_TRIES:
        return
    note(f"a worker was killed; starting again ({tries} of at most {MOST_TRIES} times)")
    workers = psutil.Process().children(recursive=True)
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers, timeout=10)
    os.environ[TRIES_VARIABLE] = str(tries)
    del os.environ["HYDRA_FULL_ERROR"]
    again = [argument for argument in sys.orig_argv if not argument.startswith("overwrite=")]
    os.execv(sys.executable, [sys.executable, *again[1:], "overwrite=false"])


@contextlib.contextmanager
def said_here() -> Iterator[None]:
    """End the program on an error, with its message for a mistake and a traceback for a bug.

    Also inside a callback, whose exceptions Hydra would turn into a warning and go on.
    """
    try:
        yield
    except ConfigError as error:
        message = str(error)
    except (HydraException, OmegaConfBaseException) as error:
        message = _one_line(error)
    except Exception as error:
        if "Config group override must be" in str(error):
            note("error: a group cannot be null on the command line; leave it out")
            sys.exit(BAD_INPUT)
        if not _a_worker_was_killed(error):
            traceback.print_exc()
        sys.exit(FAILED)
    else:
        return
    processes = distributed.started()
    if processes and not processes.first:
        time.sleep(TO_SAY_IT)
        sys.exit(BAD_INPUT)
    for line in message.splitlines():
        note(f"error: {line}")
    sys.exit(BAD_INPUT)


def missing_extra(package: str) -> str:
    """The line that says how to install what a choice needs."""
    choice, extra = EXTRAS[package]
    return (
        f"{choice}: the package {package.replace('_', '-')} is not installed; "
        f"install it with: pip install 'skewlab[{extra}]' (or uv sync --extra {extra})"
    )


def _one_line(error: Exception) -> str:
    """Hydra's and OmegaConf's messages as `key=value: what is allowed`."""
    text = str(error.__cause__ or error) if isinstance(error, HydraException) else str(error)
    whole = f"{error}\n{text}"
    if unknown := re.search(r"Could not override '([^']*)'", whole):
        return _no_such_key(unknown[1])
    if "hydra/sweeper/optuna" in whole or "hydra/sweeper/sampler/tpe" in whole:
        return missing_extra("hydra_optuna_sweeper")
    if "Cannot merge DictConfig with ListConfig" in whole and "curves.probes" in whole:
        return "curves.probes: probes are chosen as 'curves/probes=[representation,geometry]'"
    if ambiguous := re.search(r"Ambiguous value for argument '(([^']*)=([^']*))'", whole):
        if ambiguous[2] in SEVERAL:
            return (
                f"{ambiguous[1]}: several together are chosen as '{ambiguous[2]}=[{ambiguous[3]}]'"
                "; add -m to sweep over them, one at a time"
            )
        return f"{ambiguous[1]}: several values are a sweep; add -m: python train.py -m ..."
    if launcher := re.search(r"hydra/launcher/(joblib|submitit_slurm|submitit_local|ray)'", whole):
        package = f"hydra_{launcher[1].partition('_')[0]}_launcher"
        return missing_extra(package)
    if choice := re.search(r"Could not find '([^']*)/([^'/]*)'", whole):
        options = re.findall(r"^\s+(\S+)$", whole.partition("Available options")[2], re.MULTILINE)
        return f"{choice[1]}={choice[2]}: no such choice" + suggestion(choice[2], options)
    return " ".join(text.split())


def _no_such_key(key: str) -> str:
    """What to say of a key that the configuration lacks: how to add it, or which there are."""
    given = next((a for a in sys.argv[1:] if a.lstrip("+~").startswith(f"{key}=")), key)
    place, _, name = key.rpartition(".")
    section: Any = RunConfig
    for part in filter(None, place.split(".")):
        field = getattr(section, "model_fields", {}).get(part)
        section = field.annotation if field else None
    known = getattr(section, "model_fields", None)
    if known is None:
        chosen = OmegaConf.select(_chosen(), place)
        if not isinstance(chosen, DictConfig):
            return f"{given}: no such key; the choices made have no {place}"
        known = _arguments(chosen, place)
        if name in known:
            return f"{given}: not in the configuration yet; add it as +{given.lstrip('+')}"
    if not known:
        return f"{given}: no such key; {place} has none"
    return f"{given}: no such key" + suggestion(name, known, f"{place}." if place else "")


def _arguments(part: DictConfig, key: str) -> set[str]:
    """The keys that a chosen part has or can be given."""
    component = {str(name): part._get_node(name) for name in part}
    names = {name for name in component if name not in NOT_ARGUMENTS}
    if "_target_" in component:
        with contextlib.suppress(ConfigError):
            target = {"_target_": str(part["_target_"])}
            names.update(keyword_arguments(target, key, given_arguments(key))[0])
    return names


def _chosen() -> DictConfig:
    """The configuration that the command line's choices give, whatever its single keys say; empty
    where it gives none."""
    arguments = get_args_parser().parse_args(sys.argv[1:])
    configs = Path(sys.argv[0]).resolve().parent / (arguments.config_path or "configs")
    parser, choices = OverridesParser.create(), []
    if arguments.config_dir:
        choices.append(f"hydra.searchpath=['file://{Path(arguments.config_dir).resolve()}']")
    with contextlib.suppress(HydraException, OmegaConfBaseException):
        for override in parser.parse_overrides(arguments.overrides):
            # Single keys, the mistaken one among them, have no say in which there are.
            if "." not in override.key_or_group or override.key_or_group == "hydra.searchpath":
                first = override.is_sweep_override() and next(override.sweep_string_iterator())
                word = f"{override.key_or_group}={first}" if first else override.input_line
                choices.append(str(word))
        with initialize_config_dir(str(configs), version_base="1.3"):
            name = arguments.config_name or "train"
            return compose(name, choices, return_hydra_config=True)
    return OmegaConf.create()
