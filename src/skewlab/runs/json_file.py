"""JSON files that every JSON reader can read (NaN is null), and that are never half-written."""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from skewlab.processes import lives


def as_json(value: Any) -> Any:
    """The value as JSON can hold it: NumPy values as lists and numbers, floats with 9 significant
    digits, NaN and infinity as None.

    9 digits are enough to restore every float32 exactly.
    """
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    if isinstance(value, (int, str)):  # the most frequent case; a tuple is faster here than a union
        return value
    if isinstance(value, dict):
        return {key: as_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(entry) for entry in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return as_json(value.tolist())
    return value


def write(path: Path, value: Any) -> None:
    """Replace a JSON file in one move: a reader sees either the old file or the new one."""
    write_text(path, json.dumps(as_json(value), indent=1, allow_nan=False) + "\n")


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


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes of this machine were about to move into place in a folder."""
    for path in folder.glob(".*"):
        found = re.fullmatch(r"\..+\.(\d+)", path.name)
        if found and not lives(int(found[1])) and (path.is_file() or path.is_symlink()):
            path.unlink(missing_ok=True)
