"""`curves.jsonl`: one line for each evaluation of a split and for each measurement of a probe. Each
line is on disk as soon as it is written."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.runs.json_file import as_json

NAME = "curves.jsonl"


class CurveFile:
    """Writes a run's curves.

    Args:
        folder: the run's folder.
        keep: how many bytes of an existing file are kept. For a resumed run these are the bytes
            that were written before its checkpoint; the run writes the later lines again.
    """

    def __init__(self, folder: Path, keep: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path, beside = folder / NAME, folder / f".{NAME}"
        with contextlib.suppress(FileNotFoundError):
            beside.write_bytes(path.read_bytes()[:keep])
            # A new file: a process that is still alive by mistake goes on writing to the old one.
            beside.replace(path)
        self._file = path.open("ab")

    @property
    def position(self) -> int:
        """Bytes written so far; always whole lines."""
        return self._file.tell()

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
        self._file.write(f"{text}\n".encode())
        self._file.flush()


def length(folder: Path) -> int:
    """Bytes of a run's curves on disk; 0 where there are none."""
    path = folder / NAME
    return path.stat().st_size if path.exists() else 0


def read_curves(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The lines of a run's curves, arrays as float64 with NaN for null, and what is wrong.

    A line has `epoch`, `step`, and either `split` or `probe`. Nested values of a probe are made
    flat, with names such as `recall/own_head`. A line that is not whole, for example after a crash
    or on a full disk, is left out and reported as a problem.
    """
    path = folder / NAME
    lines: list[dict[str, Any]] = []
    problems: list[str] = []
    if not path.exists():
        return lines, [f"{path}: not there"]
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            line = dict(flat(json.loads(text)))
            kind = "probe" if "probe" in line else "split"
            lines.append({**line, kind: str(line[kind]), "step": int(line["step"])})
        except (ValueError, TypeError, KeyError):
            problems.append(f"{path}: line {number} is not a whole record; left out")
    return lines, problems


def flat(entries: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of a nested dict, made flat; lists become float64 arrays, None NaN."""
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}/")
        else:
            array = isinstance(value, list)
            yield f"{before}{name}", np.asarray(value, dtype=np.float64) if array else value
