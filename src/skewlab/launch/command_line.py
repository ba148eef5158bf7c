"""How the program answers: one line for a user's mistake, a traceback for a bug."""

import argparse
import contextlib
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic.fields import FieldInfo

from skewlab import distributed
from skewlab.config.parts import HYDRA_KEYS, LABEL, parameters_of
from skewlab.config.schema import RunConfig, Trainer
from skewlab.errors import (
    BAD_INPUT,
    DISK_ERRORS,
    FAILED,
    INTERRUPTED,
    ConfigError,
    installed_by,
    suggestion,
)
from skewlab.launch.checks import given_arguments
from skewlab.terminal import make_unfailing, note

# Groups of which several can be chosen together.
SEVERAL = ("curves/probes", "method/post_hoc", "logger")
# How often a sweep starts again by itself after a worker was killed.
RESTARTS_VARIABLE, MOST_RESTARTS = "SKEWLAB_RESTARTS", 3
# What a group's choice needs, and the extra of pyproject.toml that has it.
EXTRAS = {
    "hydra_joblib_launcher": ("hydra/launcher=joblib", "parallel"),
    "hydra_submitit_launcher": ("hydra/launcher=submitit_slurm", "slurm"),
    "hydra_ray_launcher": ("hydra/launcher=ray", "ray"),
    "hydra_optuna_sweeper": ("hparams_search=optuna", "search"),
}
# Seconds that the other processes of a distributed run wait before they end with an error.
# torchrun ends all processes with the first that ends, and the first one has to print the error.
WAIT_FOR_FIRST_PROCESS = 20.0


def command_line(main: Callable[[], Any], report_results: Callable[[], Any]) -> None:
    """Run a Hydra main function, and end with one line for each of the user's mistakes.

    `HYDRA_FULL_ERROR=1` shows tracebacks for mistakes too.

    Args:
        main: decorated with `hydra.main`.
        report_results: prints how the jobs ended, where Hydra ends before it calls back.

    Raises:
        SystemExit: with an exit code of `skewlab.errors` if not all went well.
    """
    make_unfailing()
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        main()
        return
    # Hydra then raises its errors and prints nothing; `exit_on_error` prints them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with exit_on_error():
            _check_search_path(sys.argv[1:])
            main()
    except KeyboardInterrupt:
        trains = _config_name() == "train"
        note("stopped" + ("; the same command goes on from the last checkpoints" if trains else ""))
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code == FAILED:
            if _a_worker_was_killed(end.__context__):
                _start_again()
            report_results()
        raise


def _check_search_path(words: Sequence[str]) -> None:
    """Refuse a folder of configurations that is not there: Hydra would only warn of it."""
    for word in words:
        if word.lstrip("+").startswith("hydra.searchpath="):
            for folder in re.findall(r"file://([^\],'\"]+)", word):
                if not Path(folder).is_dir():
                    raise ConfigError(f"hydra.searchpath: there is no folder {folder}")


@contextlib.contextmanager
def exit_on_error() -> Iterator[None]:
    """End the program on an error, with its message for a mistake and a traceback for a bug.

    Needed inside a callback too, whose exceptions Hydra would turn into a warning.
    """
    try:
        yield
    except ConfigError as error:
        message = str(error)
    except (HydraException, OmegaConfBaseException) as error:
        message = one_line(error)
    except Exception as error:
        # Hydra raises these two as ordinary exceptions.
        if "Config group override must be" in str(error):
            message = "a group cannot be null on the command line; leave it out"
        elif re.match("Only one of --run|The --resolve flag", str(error)):
            message = f"{error}; leave out one of them"
        else:
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                note(f"error: cannot write: {error.strerror}: {error.filename or 'see logs_dir'}")
            elif not _a_worker_was_killed(error):
                traceback.print_exc()
            sys.exit(FAILED)
    else:
        return
    processes = distributed.started()
    if processes and not processes.first:
        time.sleep(WAIT_FOR_FIRST_PROCESS)
        sys.exit(BAD_INPUT)
    for line in message.splitlines():
        note(f"error: {line}")
    sys.exit(BAD_INPUT)


def _a_worker_was_killed(error: BaseException | None) -> bool:
    """Whether joblib ended because one of its processes was killed, by the system for example."""
    return type(error).__name__ in ("TerminatedWorkerError", "BrokenProcessPool")


def _start_again() -> None:
    """Run the command again in place of this process, unless that was done too often already.

    Finished runs are skipped then, and interrupted ones go on. Otherwise one killed worker would
    cost all runs after its own.
    """
    import psutil

    restarts = int(os.environ.get(RESTARTS_VARIABLE, 0)) + 1
    if restarts > MOST_RESTARTS:
        return
    note(f"a worker was killed; starting again ({restarts} of at most {MOST_RESTARTS} times)")
    workers = psutil.Process().children(recursive=True)
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers, timeout=10)
    os.environ[RESTARTS_VARIABLE] = str(restarts)
    del os.environ["HYDRA_FULL_ERROR"]
    again = [argument for argument in sys.orig_argv if not argument.startswith("overwrite=")]
    os.execv(sys.executable, [sys.executable, *again[1:], "overwrite=false"])


def missing_extra(package: str) -> str:
    """The line that says how to install what a choice needs."""
    choice, extra = EXTRAS[package]
    return (
        f"{choice}: the package {package.replace('_', '-')} is not installed; "
        f"install it with: {installed_by(extra)}"
    )


def one_line(error: Exception) -> str:
    """Hydra's and OmegaConf's messages as `key=value: what is allowed`."""
    if isinstance(error, OverrideParseException):
        return _unreadable(error)
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
    if choice := re.search(r"Could not load '([^']*)/([^'/]*)'", whole):  # one of several
        folder = Path(sys.argv[0]).resolve().parent / "configs" / choice[1]
        options = sorted(path.stem for path in folder.glob("*.yaml"))
        return f"{choice[1]}={choice[2]}: no such choice" + suggestion(choice[2], options)
    return " ".join(text.split())


def _unreadable(error: OverrideParseException) -> str:
    """What to say of an argument that does not follow Hydra's grammar."""
    name, equals, value = error.override.partition("=")
    if "/" in name and "." in name.rpartition("/")[2]:  # a group's choice and a key mixed up
        return f"{error.override}: no such key; did you mean {name.replace('/', '.')}={value}?"
    if not equals:
        return f"{error.override}: no key=value; a value with spaces needs quotes"
    field: FieldInfo | None = None
    section: Any = RunConfig
    for part in name.lstrip("+").split("."):
        field = getattr(section, "model_fields", {}).get(part)
        section = field.annotation if field else None
    allowed = (field and field.description) or "_target_"
    free_text = field is not None and field.annotation is str and not field.metadata
    if "_target_" not in allowed and not free_text:
        return f"{error.override}: must be {allowed}"
    # A path, a group's choice or an argument of a part: quotes may be all that it needs.
    quoted = value.strip("'\"").replace("\\", "\\\\").replace("'", "\\'")
    return (
        f"{error.override}: spaces and special characters need quotes that the shell leaves: "
        f"\"{name}='{quoted}'\""
    )


def _no_such_key(key: str) -> str:
    """What to say of a key that the configuration lacks: how to add it, or which keys there are."""
    given = next((a for a in sys.argv[1:] if a.lstrip("+~").startswith(f"{key}=")), key)
    place, _, name = key.rpartition(".")
    section: Any = RunConfig if _config_name() == "train" else None
    for part in filter(None, place.split(".")):
        field = getattr(section, "model_fields", {}).get(part)
        section = field.annotation if field else None
    known = getattr(section, "model_fields", None)
    if section is Trainer:  # its keys are those of the file
        known = set(OmegaConf.select(_chosen(), place) or ())
    elif not place and known is None:
        known = set(_chosen(but=key)) - {"hydra"}
    if known is None:
        chosen = OmegaConf.select(_chosen(), place)
        if not isinstance(chosen, DictConfig):
            # Not typed: where Hydra puts a file of a group without a package of its own.
            if "@" in place and given == key:
                group = place.split(".")[0].split("@")[-1]
                return (
                    f"{place}: a file in configs/{group} overrides a group, and its first line is "
                    "not `# @package _global_`"
                )
            return f"{given}: no such key; the choices made have no {place}"
        known = _arguments(chosen, place)
    if name in known:  # a file of one's own need not have it
        return f"{given}: not in the configuration yet; add it as +{given.lstrip('+')}"
    if not known:
        return f"{given}: no such key; {place} has none"
    return f"{given}: no such key" + suggestion(name, known, f"{place}." if place else "")


def _config_name() -> str:
    """The configuration of the program that runs: `train`, or `eval`."""
    name = Path(sys.argv[0]).stem
    return (
        name if (Path(sys.argv[0]).resolve().parent / f"configs/{name}.yaml").exists() else "train"
    )


def _arguments(part: DictConfig, key: str) -> set[str]:
    """The keys that a chosen part has or can be given."""
    component = OmegaConf.to_container(part, resolve=False)
    assert isinstance(component, dict)
    names = {str(name) for name in component if name not in (*HYDRA_KEYS, LABEL)}
    if "_target_" in component:
        with contextlib.suppress(ConfigError):
            target = {"_target_": str(component["_target_"])}
            names.update(parameters_of(target, key, given_arguments(key, target))[0])
    return names


def _chosen(but: str = "") -> DictConfig:
    """The configuration that the command line's choices of groups give, without its single keys and
    without one more key; empty if Hydra cannot compose it."""
    flags = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    flags.add_argument("--config-path", "-cp", default="configs")
    flags.add_argument("--config-name", "-cn", default=_config_name())
    flags.add_argument("--config-dir", "-cd")
    given, words = flags.parse_known_args()
    choices = []
    if given.config_dir:
        choices.append(f"hydra.searchpath=['file://{Path(given.config_dir).resolve()}']")
    with contextlib.suppress(HydraException, OmegaConfBaseException):
        overrides = [word for word in words if "=" in word and not word.startswith("-")]
        for override in OverridesParser.create().parse_overrides(overrides):
            # One of the single keys is the mistaken one.
            if override.key_or_group != but and (
                "." not in override.key_or_group or override.key_or_group == "hydra.searchpath"
            ):
                first = override.is_sweep_override() and next(override.sweep_string_iterator())
                word = f"{override.key_or_group}={first}" if first else override.input_line
                choices.append(str(word))
        configs = Path(sys.argv[0]).resolve().parent / given.config_path
        with initialize_config_dir(str(configs), version_base="1.3"):
            return compose(given.config_name, choices, return_hydra_config=True)
    return OmegaConf.create()
