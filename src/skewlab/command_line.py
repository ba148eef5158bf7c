"""How the program answers: one line for a user's mistake, a traceback for a bug."""

import contextlib
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from skewlab import distributed
from skewlab.component import NOT_ARGUMENTS
from skewlab.config import Settings
from skewlab.console import note
from skewlab.errors import BAD_INPUT, FAILED, INTERRUPTED, ConfigError, suggestion

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


def command_line(main: Callable[[], Any], conclude: Callable[[], Any]) -> None:
    """Run a Hydra main function so that the user's mistakes are answered with one line each.

    `HYDRA_FULL_ERROR=1` shows tracebacks for mistakes too.

    Args:
        main: decorated with `hydra.main`.
        conclude: tells how the jobs ended, where Hydra gives up before it could.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        main()
        return
    # Lets Hydra's errors through to us, who say them in one line.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with said_here():
            main()
    except KeyboardInterrupt:
        note("stopped; the same command goes on from the last checkpoints")
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code == FAILED:
            if _a_worker_was_killed(end.__context__):
                _go_on()
            conclude()
        raise


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
        key = unknown[1]
        given = next((a for a in sys.argv[1:] if a.lstrip("+~").startswith(f"{key}=")), key)
        known = _known_keys(key)
        place = "" if known else f"; there are none in {key.rpartition('.')[0]}"
        return f"{given}: no such key{place}" + suggestion(key, known)
    if "hydra/sweeper/optuna" in whole or "hydra/sweeper/sampler/tpe" in whole:
        return missing_extra("hydra_optuna_sweeper")
    if "Cannot merge DictConfig with ListConfig" in whole and "curves.probes" in whole:
        return "curves.probes: probes are chosen as 'curves/probes=[representation,geometry]'"
    if ambiguous := re.search(r"Ambiguous value for argument '(([^']*)=([^']*))'", whole):
        if ambiguous[2] in SEVERAL:
            return (
                f"{ambiguous[1]}: several together are chosen as '{ambiguous[2]}=[{ambiguous[3]}]'"
            )
        return f"{ambiguous[1]}: several values are a sweep; add -m: python train.py -m ..."
    if launcher := re.search(r"hydra/launcher/(joblib|submitit_slurm|submitit_local|ray)'", whole):
        package = f"hydra_{launcher[1].partition('_')[0]}_launcher"
        return missing_extra(package)
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
    names = getattr(section, "model_fields", None) or _keys_of_chosen(".".join(path))
    return [".".join([*path, name]) for name in names]


def _keys_of_chosen(place: str) -> list[str]:
    """The keys that a part has by the choices of the command line; none where these cannot be
    composed, or there is no such part."""
    configs = Path(sys.argv[0]).resolve().parent / "configs"
    parser, choices = OverridesParser.create(), []
    with contextlib.suppress(HydraException, OmegaConfBaseException):
        for word in sys.argv[1:]:
            override = None if word.startswith("-") else parser.parse_override(word)
            # Values of single keys, the mistaken one among them, have no say in which there are.
            if override and "." not in override.key_or_group:
                first = override.is_sweep_override() and next(override.sweep_string_iterator())
                choices.append(f"{override.key_or_group}={first}" if first else word)
        with initialize_config_dir(str(configs), version_base="1.3"):
            part = OmegaConf.select(compose("train", choices), place)
        if isinstance(part, DictConfig):
            return [str(key) for key in part if key not in NOT_ARGUMENTS]
    return []
