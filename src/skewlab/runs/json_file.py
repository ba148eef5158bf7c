"""JSON that any reader understands (NaN is null) and that is never seen half-written."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """The value with floats shortened to 9 significant digits and NaN or infinity as None.

    Nine digits hold every float32 exactly.
    """
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    if isinstance(value, (int, str)):  # most of all; a union would be made anew each time
        return value
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return value


def write(path: Path, value: Any) -> None:
    """Replace a JSON file in one move: a reader sees the old one or the new one."""
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one move."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one move."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def read(path: Path) -> Any:
    """The value of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
