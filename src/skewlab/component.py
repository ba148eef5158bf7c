"""Parts that the configuration names: `_target_` is the path of a function or class, the other
keys are its arguments. This is what lets a fork add a part without touching skewlab."""

import functools
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from skewlab.errors import ConfigError, suggestion

Component = dict[str, Any]
# `name` labels a part in run names and tables; it is not an argument.
NOT_ARGUMENTS = ("_target_", "name")
LOOSE = ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=True)


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


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, or can be read as it; True where nobody can tell."""
    try:
        TypeAdapter(hint, config=LOOSE).validate_python(value)
    except ValidationError:
        return False
    except PydanticUserError:
        pass
    return True


def _in_words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    return f"of type {re.sub(r'[a-zA-Z_.]+[.]', '', inspect.formatannotation(hint))}"


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
    try:
        signature = inspect.signature(target_of(component, key), eval_str=True)
    except (ValueError, NameError):  # a built-in without one, or with types that are not there
        return
    parameters = list(signature.parameters.values())[positional:]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = {p.name: p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    for name, value in component.items():
        if name not in known and name not in NOT_ARGUMENTS:
            raise ConfigError(f"{key}.{name}={value}: no such key" + suggestion(name, known))
        if name in known and not _fits(value, hint := known[name].annotation):
            raise ConfigError(f"{key}.{name}={value}: must be {_in_words(hint)}")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in component:
            raise ConfigError(f"{key}.{name}: must be given; {component['_target_']} needs it")
