"""What runs say of a person and a machine, left out of what is shared: of reports and of loggers.

What a run's own folder holds stays as it is: to go on, the machine needs it.
"""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Usual homes, also below one or two folders that a cluster mounts them in: those of others.
USUAL = r"(?:/[\w.-]+){0,2}/(?:home|Users)/[^/\s'\"]+|/root|[A-Za-z]:\\Users\\[^\\\s'\"]+"


def shareable(value: Any) -> Any:
    """The value with `~` for each home folder in its texts, nested ones and keys too."""
    own: list[str] = []
    with contextlib.suppress(RuntimeError):  # there is no home
        own = [re.escape(str(home)) for home in (Path.home().resolve(), Path.home()) if home.name]
    homes = "|".join([*own, USUAL])
    return _replaced(value, re.compile(rf"(?<![\w.~-])(?:{homes})(?![\w.-])"))


def _replaced(value: Any, homes: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return homes.sub("~", value)
    if isinstance(value, Mapping):
        return {_replaced(key, homes): _replaced(inner, homes) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(inner, homes) for inner in value]
    return value
