"""What a study brings to its report from a package of its own."""

import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

from skewlab.errors import ConfigError

Part = TypeVar("Part")


def imported(path: str, key: str, what: str, checked: Callable[[Any], Part]) -> Part:
    """What a path names, checked.

    Args:
        path: such as `mypaper.claims.WorstClass`. It is imported: take it from the person who runs
            the program, never from a file of a run.
        key: where the path was given, for the message.
        what: what it must be the path of.
        checked: gives it back, or what is made of it; raises where it is something else.

    Raises:
        ConfigError: it cannot be imported, or is something else.
    """
    try:
        return checked(pkgutil.resolve_name(path))
    except Exception as error:  # the module is somebody's, and may raise anything
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{key}={path}: must be the path of {what} ({type(error).__name__}: {reason})"
        ) from error
