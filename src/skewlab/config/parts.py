"""Parts: what the configuration builds from a `_target_`, by `hydra.utils.instantiate`.

A fork adds a part by writing a function or a class and naming it; nothing of skewlab is changed.
"""

import contextlib
import difflib
import functools
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from hydra.errors import HydraException
from hydra.utils import instantiate
from pydantic import ConfigDict, TypeAdapter, ValidationError

from skewlab.errors import ConfigError, suggestion

Part = dict[str, Any]
# Hydra's own keys of a part; none of them is an argument of the target.
HYDRA_KEYS = ("_target_", "_args_", "_convert_", "_partial_", "_recursive_")
# Names a part in run names and tables. It is an argument only where the target has one so called.
LABEL = "name"
LOOSE = ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=True)
# Mismatches that say little: many targets make an array of a list, or look a name up.
TOLERATED = ("is_instance_of", "callable_type", "enum")


def target_of(part: Mapping[str, Any], key: str) -> Callable[..., Any]:
    """The function or class that a part names.

    Args:
        part: has `_target_`.
        key: where in the configuration it stands, for the message.

    Raises:
        ConfigError: there is no such thing, or it cannot be called.
    """
    path = part["_target_"]
    try:
        target = pkgutil.resolve_name(path)
    except Exception as error:  # a module can fail in any way when it is imported
        reason = " ".join(str(error.__cause__ or error).split())
        raise ConfigError(
            f"{key}._target_={path}: must be the path of a function or class ({reason})"
            f"{_alike(path)}"
        ) from error
    if not callable(target):
        raise ConfigError(f"{key}._target_={path}: must be a function or class")
    return target  # type: ignore[no-any-return]


def _alike(path: str) -> str:
    """Which of the names beside a mistaken one was meant, if that can be told."""
    module, _, name = path.rpartition(".")
    there = vars(sys.modules[module]) if module in sys.modules else {}
    close = difflib.get_close_matches(name, [n for n, found in there.items() if callable(found)])
    return f"; did you mean {module}.{close[0]}?" if close else ""


def configured(part: Mapping[str, Any], key: str) -> Callable[..., Any]:
    """A part's target with the configured arguments filled in; nested parts are built.

    Lists and mappings arrive as Python's own, unless the part sets `_convert_`.

    Raises:
        ConfigError: the target cannot be found, or a nested part cannot be built.
    """
    target_of(part, key)
    arguments = {name: value for name, value in part.items() if name != LABEL}
    if LABEL in part and LABEL in parameters_of(part, key, 0)[0]:
        arguments[LABEL] = part[LABEL]
    try:
        built: Any = instantiate({"_convert_": "all", **arguments, "_partial_": True})
    except HydraException as error:
        reason = error.__cause__ or error
        if isinstance(reason, ConfigError):
            raise reason from None
        raise ConfigError(f"{key}: cannot be built: {' '.join(str(reason).split())}") from error
    # Hydra's own partial would check its target again at every call.
    return functools.partial(built.func, *built.args, **built.keywords)


def build(part: Mapping[str, Any], *given: Any, key: str, **named: Any) -> Any:
    """Call a part's target with what the program gives and the configured arguments.

    Args:
        part: `_target_` and arguments.
        given: what the program gives, by position: the target's first arguments, but after those
            that `_args_` sets.
        key: where in the configuration the part stands, for messages.
        named: what the program gives by name.
    """
    return configured(part, key)(*given, **named)


def offered(part: Mapping[str, Any], key: str, **offers: Any) -> dict[str, Any]:
    """Of some arguments that the program offers, those that a part's target names and the
    configuration does not set."""
    known, _ = parameters_of(part, key, 0)
    return {name: value for name, value in offers.items() if name in known and name not in part}


def parameters_of(
    part: Mapping[str, Any], key: str, positional: int
) -> tuple[dict[str, inspect.Parameter], bool]:
    """What a part's target takes by name. A class that hands on `**arguments` is asked with the
    bases that it hands them to.

    Args:
        part: `_target_` and arguments.
        key: where in the configuration it stands.
        positional: how many arguments the program itself gives, before the configured ones.

    Returns:
        The parameters by name, and whether any other name is taken too.
    """
    target = target_of(part, key)
    for evaluated in (True, False):  # a hint can name what only a type checker has imported
        with contextlib.suppress(Exception):
            signature = inspect.signature(target, eval_str=evaluated)
            break
    else:  # a built-in that has none
        return {}, True
    parameters = list(signature.parameters.values())[positional:]
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = {p.name: p for p in parameters if p.kind in named}
    hands_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for base in inspect.getmro(target)[1:] if inspect.isclass(target) and not positional else ():
        if not hands_on or base is object:
            break
        if "__init__" in vars(base):
            its_own = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
            by_name = [p for p in its_own if p.kind in named]
            # The class may give those without a default itself.
            optional = [p.replace(default=None) if p.default is p.empty else p for p in by_name]
            known = {**{p.name: p for p in optional}, **known}
            hands_on = any(p.kind is p.VAR_KEYWORD for p in its_own)
    return known, hands_on


def check_arguments(
    part: Mapping[str, Any], key: str, positional: int, offers: frozenset[str] = frozenset()
) -> None:
    """Hold a part's arguments against its target's signature: their names, and their values where
    the signature says of what type they are. Nested parts are checked too.

    Args:
        part: `_target_` and arguments.
        key: where in the configuration it stands.
        positional: how many arguments the program itself gives, before the configured ones.
        offers: what the program gives by name where the configuration does not.

    Raises:
        ConfigError: an argument that the target does not take, one that it lacks, or a value of
            another type.
    """
    known, takes_any = parameters_of(part, key, positional)
    for name, value in part.items():
        if name in HYDRA_KEYS:
            continue
        nested = list(_parts_in(value, f"{key}.{name}"))
        if part.get("_recursive_", True):  # else they are built later, with what nobody knows here
            for place, inner in nested:
                check_arguments(inner, place, 0)
        if name not in known:
            if not takes_any and name != LABEL:
                raise ConfigError(f"{key}.{name}={value}: no such key" + suggestion(name, known))
        elif not nested and not _fits(value, known[name]):
            raise ConfigError(f"{key}.{name}={value}: must be {_in_words(known[name].annotation)}")
    if "_args_" in part or part.get("_partial_"):
        return
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in part and name not in offers:
            raise ConfigError(f"{key}.{name}: must be given; {part['_target_']} needs it")


def _parts_in(value: Any, key: str) -> Iterator[tuple[str, Part]]:
    """The parts that a value is or holds, and where they stand; not those inside of them."""
    if isinstance(value, Mapping) and "_target_" in value:
        yield key, dict(value)
    elif isinstance(value, Mapping | list):
        places = value.items() if isinstance(value, Mapping) else enumerate(value)
        for place, inner in places:
            yield from _parts_in(inner, f"{key}.{place}")


def _fits(value: Any, parameter: inspect.Parameter) -> bool:
    """Whether a value can be read as the type a signature names; True where nobody can tell."""
    hint, default = parameter.annotation, parameter.default
    if hint is parameter.empty or isinstance(hint, str):
        return True
    if type(value) is type(default) and value == default:  # also `argument: float = None`
        return True
    try:
        _adapter(hint).validate_python(value)
    except ValidationError as error:
        tolerated = [detail["type"] in TOLERATED for detail in error.errors()]
        # A word for a number is an error also where an array would do.
        return all(tolerated) if isinstance(value, str) else any(tolerated)
    except Exception:  # a hint that pydantic cannot make anything of
        return True
    return True


@functools.cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=LOOSE)


def _in_words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    return f"of type {re.sub(r'[a-zA-Z_.]+[.]', '', inspect.formatannotation(hint))}"
