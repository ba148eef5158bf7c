"""Parts that the configuration names: `_target_` is the path of a function or class, the other
keys are its arguments. This is what lets a fork add a part without touching skewlab."""

import contextlib
import functools
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from skewlab.errors import ConfigError, suggestion

Component = dict[str, Any]
# `name` labels a part in run names and tables; it is not an argument.
NOT_ARGUMENTS = ("_target_", "name")
LOOSE = ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=True)
# Mismatches that say little: many targets make an array of a list, or look a name up.
TOLERATED = ("is_instance_of", "callable_type", "enum")


def target_of(component: Mapping[str, Any], key: str) -> Any:
    """The function or class that a component names.

    Args:
        component: has `_target_`.
        key: where in the configuration it stands, for the message.

    Raises:
        ConfigError: there is no such thing, or it cannot be called.
    """
    path = component["_target_"]
    try:
        target = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{key}._target_={path}: must be the path of a function or class ({error})"
        ) from error
    if not callable(target):
        raise ConfigError(f"{key}._target_={path}: must be a function or class")
    return target


def configured(component: Mapping[str, Any], key: str) -> Callable[..., Any]:
    """A component's target with the configured arguments filled in."""
    arguments = {name: value for name, value in component.items() if name not in NOT_ARGUMENTS}
    return functools.partial(target_of(component, key), **arguments)


def build(component: Mapping[str, Any], *positional: Any, key: str) -> Any:
    """Call a component's target with what the program gives and the configured arguments."""
    return configured(component, key)(*positional)


def _fits(value: Any, parameter: inspect.Parameter) -> bool:
    """Whether a value can be read as the type a signature names; True where nobody can tell."""
    hint, default = parameter.annotation, parameter.default
    if hint is parameter.empty or isinstance(hint, str):
        return True
    if type(value) is type(default) and value == default:  # also `argument: float = None`
        return True
    try:
        TypeAdapter(hint, config=LOOSE).validate_python(value)
    except ValidationError as error:
        tolerated = [detail["type"] in TOLERATED for detail in error.errors()]
        # A word for a number is one also where an array would do.
        return all(tolerated) if isinstance(value, str) else any(tolerated)
    except Exception:  # a hint that pydantic cannot make anything of
        return True
    return True


def _in_words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    return f"of type {re.sub(r'[a-zA-Z_.]+[.]', '', inspect.formatannotation(hint))}"


def keyword_arguments(
    component: Mapping[str, Any], key: str, positional: int
) -> tuple[dict[str, inspect.Parameter], bool]:
    """What a component's target takes by name.

    Args:
        component: `_target_` and arguments.
        key: where in the configuration it stands.
        positional: how many arguments the program itself gives, before the configured ones.

    Returns:
        The parameters by name, and whether any other name is taken too.
    """
    target = target_of(component, key)
    for evaluated in (True, False):  # a hint can name what only a type checker has imported
        with contextlib.suppress(Exception):
            signature = inspect.signature(target, eval_str=evaluated)
            break
    else:  # a built-in that has none
        return {}, True
    parameters = list(signature.parameters.values())[positional:]
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return (
        {p.name: p for p in parameters if p.kind in named},
        any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def check_arguments(component: Mapping[str, Any], key: str, positional: int) -> None:
    """Hold a component's arguments against its target's signature: their names, and their values
    where it says of what type they are.

    Args:
        component: `_target_` and arguments.
        key: where in the configuration it stands.
        positional: how many arguments the program itself gives, before the configured ones.

    Raises:
        ConfigError: an argument that the target does not take, one that it lacks, or a value of
            another type.
    """
    known, takes_any = keyword_arguments(component, key, positional)
    if takes_any:
        return
    for name, value in component.items():
        if name not in known and name not in NOT_ARGUMENTS:
            raise ConfigError(f"{key}.{name}={value}: no such key" + suggestion(name, known))
        if name in known and not _fits(value, known[name]):
            raise ConfigError(f"{key}.{name}={value}: must be {_in_words(known[name].annotation)}")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in component:
            raise ConfigError(f"{key}.{name}: must be given; {component['_target_']} needs it")
