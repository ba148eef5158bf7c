"""`curves.jsonl`: one line for each evaluation of a split and for each measurement of a probe. Each
line is on disk as soon as it is written."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from skewlab.errors import Damaged
from skewlab.runs.json_file import as_json
from skewlab.runs.reading import read_bytes

CURVES = "curves.jsonl"
# The metrics that every line of a split has.
REQUIRED = ("n", "loss", "recall")
# A value of a line, as it is read: null is a single number that is missing.
NUMBERS = (int, float, np.ndarray, type(None))


class CurveFile:
    """Writes a run's curves.

    Args:
        folder: the run's folder.
        keep: how many bytes of an existing file are kept. For a resumed run these are the bytes
            that were written before its checkpoint; the run writes the later lines again.
    """

    def __init__(self, folder: Path, keep: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path, beside = folder / CURVES, folder / f".{CURVES}"
        kept = path.read_bytes()[:keep] if keep else b""
        # A new file: a process that is still alive by mistake goes on writing to the old one.
        beside.write_bytes(kept)
        beside.replace(path)
        self._file = path.open("ab")
        self._digest = hashlib.sha256(kept)

    @property
    def position(self) -> int:
        """Bytes written so far; always whole lines."""
        return self._file.tell()

    @property
    def sha256(self) -> str:
        """The digest of what was written so far."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()

    def append(
        self, epoch: float, step: int, split: str, metrics: Mapping[str, NDArray[Any]]
    ) -> None:
        """Write the line of a split: arrays over classes in label order, null where absent."""
        arrays = {
            name: (values.astype(np.int64) if name == "n" else values).tolist()
            for name, values in metrics.items()
        }
        self._write({"epoch": epoch, "step": step, "split": split, **arrays})

    def append_probe(self, epoch: float, step: int, probe: str, found: Mapping[str, Any]) -> None:
        """Write the line of a probe: numbers and arrays by name, or dicts of such values."""
        self._write({"epoch": epoch, "step": step, "probe": probe, **found})

    def _write(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(as_json(dict(line)), allow_nan=False, separators=(",", ":"))
        content = f"{text}\n".encode()
        self._digest.update(content)
        self._file.write(content)
        self._file.flush()


def last_step(folder: Path) -> dict[str, int]:
    """How many lines a run's curves have, and the last step in them."""
    lines, _ = read_curves(folder)
    return {"lines": len(lines), "last_step": max((line["step"] for line in lines), default=0)}


def begins_with(folder: Path, position: int, sha256: str) -> bool:
    """Whether the first bytes of a run's curves are those that a checkpoint knows of.

    Args:
        folder: the run's.
        position: how many bytes.
        sha256: their digest.

    Raises:
        Damaged: the file cannot be read.
    """
    kept = read_bytes(folder / CURVES)[:position]
    return len(kept) == position and hashlib.sha256(kept).hexdigest() == sha256


def read_curves(folder: Path, classes: int | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """The lines of a run's curves, arrays as float64 with NaN for null, and what is wrong.

    A line has `epoch`, `step`, and either `split` or `probe`. Nested values of a probe are made
    flat, with names such as `recall/own_head`. A line that is not whole, for example after a crash
    or on a full disk, is left out and reported as a problem.

    Args:
        folder: the run's.
        classes: how many there are; None where any number will do.
    """
    path = folder / CURVES
    try:
        content = read_bytes(path)
    except Damaged as damage:
        return [], [str(damage)]
    lines: list[dict[str, Any]] = []
    problems: list[str] = []
    for number, text in enumerate(content.splitlines(), start=1):
        try:
            lines.append(_record(text, classes))
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ) as error:
            reason = " ".join(str(error).split())[:80]
            problems.append(f"{path}: line {number} is no whole record; left out ({reason})")
    return lines, problems


def _record(text: bytes, classes: int | None) -> dict[str, Any]:
    """One line, read and checked."""
    given = from_json(text)
    if not isinstance(given, dict) or ("split" in given) == ("probe" in given):
        raise ValueError("must be an object with split or probe")
    kind = "probe" if "probe" in given else "split"
    when = {name: given.pop(name) for name in (kind, "step", "epoch")}
    for (name, value), wanted in zip(when.items(), (str, int, float | int), strict=True):
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ValueError(f"{name} must be of another type")
    if not (0 <= when["step"] < 2**53 and 0 <= when["epoch"] < 2**53):
        raise ValueError("step and epoch must be at least 0")
    values = dict(flat(given))
    for name, value in values.items():
        if not isinstance(value, NUMBERS):
            raise ValueError(f"{name} must be numbers")
    if kind == "split":
        for name in REQUIRED:
            shape = values[name].shape
            if len(shape) != 1 or (classes is not None and shape != (classes,)):
                raise ValueError(f"{name} must have a number for each class")
        if (values["recall"] > 1).any():
            raise ValueError("recall must be at most 1")
        each = len(values["recall"])
        if any(isinstance(value, np.ndarray) and len(value) != each for value in values.values()):
            raise ValueError("every metric must have a number for each class")
    return when | values


def flat(entries: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of a nested dict, made flat; lists become float64 arrays, None NaN."""
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}/")
        else:
            array = isinstance(value, list)
            yield f"{before}{name}", np.asarray(value, dtype=np.float64) if array else value
