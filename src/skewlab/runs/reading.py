"""The one door through which a run's files are read back: by a skip, a resume, the report, eval.

A folder may be damaged, half copied, or prepared by somebody else. Each function here gives what
skewlab wrote, or raises `Damaged` with the file and what is wrong with it.
"""

import hashlib
import io
import json
import stat
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from skewlab.errors import Damaged

# The files whose content is a run's result. Their digests stand in `status.json` once it is done.
RESULTS = (
    *("config.yaml", "data.json", "curves.jsonl", "summary.json"),
    *("predictions.npz", "post_hoc.json", "rankings.json", "samples.npz", "samples.png"),
    "features.npz",
)
KEPT = (*RESULTS, "checkpoints/last.ckpt", "checkpoints/val_best.ckpt")
# No file of a run that is read whole has more bytes.
MOST_BYTES = 2**31
MOST_JSON_BYTES = 2**28
# A configuration has a few kilobytes, or as many as there are classes with a count each.
MOST_CONFIG_BYTES, LARGE_CONFIG, DEEPEST_CONFIG = 2**20, 16_000, 100
# The fast loader where libyaml is there: a study of a thousand runs reads a thousand files.
YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Count = Annotated[int, Field(ge=0)]


class File(BaseModel):
    """What a JSON or YAML file of a run must hold; it may hold more."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class StatusFile(File):
    """`status.json`."""

    state: Literal["running", "done", "failed", "diverged", "preempted"]
    reason: str | None = None
    step: Count | None = None
    created: str
    started: str
    seconds: float | None = None
    resumed_at: list[Count] = []
    provenance: dict[str, Any] = {}
    files: dict[str, str] | None = None


class Groups(File):
    """The classes of each group."""

    majority: list[Count]
    minority: list[Count]


class DataFile(File):
    """`data.json`."""

    class_names: Annotated[list[str], Field(min_length=2)]
    train_counts: list[Count]
    groups: Groups
    shots: dict[str, list[Count]] = {}
    ratio: Annotated[float, Field(ge=1)]
    imbalanced_ratio: Annotated[float, Field(ge=1)] | None = None
    fingerprint: str | None = None

    @model_validator(mode="after")
    def _of_the_same_classes(self) -> "DataFile":
        classes = len(self.class_names)
        groups = {**self.groups.model_dump(), **self.shots}
        labels = [label for members in groups.values() for label in members]
        if len(self.train_counts) != classes or any(label >= classes for label in labels):
            raise ValueError(f"there are {classes} class names, and others have more or fewer")
        return self


class Named(File):
    """A group of the configuration whose name is shown."""

    name: str


class ConfigFile(File):
    """`config.yaml`: what everything that reads a run needs of it."""

    ratio: float | Literal["natural"] | None
    seed: Count
    data_seed: Count
    init_seed: Count
    order_seed: Count
    data: Named
    imbalance: dict[str, Any]
    model: dict[str, Any]
    method: Named
    optimizer: dict[str, Any]
    curves: dict[str, Any]
    trainer: dict[str, Any]
    training: dict[str, Any] | None = None
    logger: dict[str, Any] | None = None
    callbacks: dict[str, Any] | None = None


Schema = TypeVar("Schema", bound=File)


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a file.

    Args:
        path: the file. A link, a folder or a pipe in its place is refused: it may lead anywhere.
        most: bytes that it may have.

    Raises:
        Damaged: it is not there, is no ordinary file, cannot be read, or is too large.
    """
    try:
        kind = path.lstat()
        if stat.S_ISLNK(kind.st_mode):
            raise Damaged(path, "is a link, and a run has ordinary files")
        if not stat.S_ISREG(kind.st_mode):
            raise Damaged(path, "is no ordinary file")
        if kind.st_size > most:
            raise Damaged(path, f"has {kind.st_size} bytes, more than such a file has")
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError as error:
        raise Damaged(path, "is not there") from error
    except (OSError, MemoryError) as error:
        raise Damaged(path, f"cannot be read ({getattr(error, 'strerror', error)})") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        Damaged: see `read_bytes`; or it is no JSON.
    """
    content = read_bytes(path, MOST_JSON_BYTES)
    if not content.strip():
        raise Damaged(path, "is empty")
    try:
        # `from_json` would be faster, and refuses names of files that are no UTF-8.
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Damaged(path, f"is no JSON ({_in_short(error)})") from error
    if not isinstance(value, dict):
        raise Damaged(path, "must hold a JSON object")
    return value


def read_status(folder: Path) -> dict[str, Any]:
    """A run's `status.json`."""
    path = folder / "status.json"
    status = _checked(read_json(path), StatusFile, path)
    if status.get("digest", digest_of(status)) != digest_of(status):
        raise Damaged(path, "is not what the run wrote; its content has changed")
    return status


def digest_of(status: dict[str, Any]) -> str:
    """The digest that a status holds of all its other entries."""
    rest = {name: value for name, value in status.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_data(folder: Path) -> dict[str, Any]:
    """A run's `data.json`."""
    path = folder / "data.json"
    return _checked(read_json(path), DataFile, path)


def read_config(folder: Path) -> tuple[dict[str, Any], str]:
    """A run's `config.yaml`: its content, and its text."""
    path = folder / "config.yaml"
    try:
        text = read_bytes(path, MOST_CONFIG_BYTES).decode("utf-8")
        _check_events(text, path)
        value = yaml.load(text, Loader=YamlLoader)
    except Damaged:
        raise
    except Exception as error:  # of a wrong tag PyYAML raises what it happens to come to
        raise Damaged(path, f"is no YAML ({_in_short(error)})") from error
    if not isinstance(value, dict):
        raise Damaged(path, "must hold a configuration")
    return _checked(value, ConfigFile, path), text


def _check_events(text: str, path: Path) -> None:
    """Refuse aliases, a few of which can stand for gigabytes, and deep nesting, which overflows the
    loader's stack. None of both is ever written. To look takes as long as to load: done where it
    can be."""
    if "*" not in text and len(text) < LARGE_CONFIG:
        return
    depth = 0
    for event in yaml.parse(text, Loader=YamlLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > DEEPEST_CONFIG:
            raise Damaged(path, "holds an alias, or is nested too deeply; neither is ever written")


def read_numbers(path: Path) -> dict[str, float]:
    """A JSON file of numbers by name, such as `summary.json`; null becomes NaN."""
    values = read_json(path)
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise Damaged(path, f"{name} must be a number, or null")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise Damaged(path, f"{name} is too large")
    return {name: np.nan if value is None else float(value) for name, value in values.items()}


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` file."""
    content = io.BytesIO(read_bytes(path))
    try:
        with np.load(content, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except Exception as error:  # NumPy, zipfile and zlib have many kinds
        raise Damaged(path, f"holds no arrays ({_in_short(error)})") from error


def sha256(path: Path) -> str:
    """The digest of a file's content, in hexadecimal digits."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def verify(folder: Path, status: dict[str, Any], names: tuple[str, ...] | None = None) -> None:
    """Hold the files of a run that is done against what they were when it ended.

    Args:
        folder: the run's.
        status: its `status.json`. One of an earlier version has no digests: nothing is checked.
        names: of the files that matter; None for all but the checkpoints, which are large.

    Raises:
        Damaged: a file is missing or has another content.
    """
    written = status.get("files") or {}
    for name in RESULTS if names is None else names:
        if name in KEPT and name in written and sha256(folder / name) != written[name]:
            raise Damaged(folder / name, "is not what the run wrote; its content has changed")


def _checked(value: dict[str, Any], schema: type[Schema], path: Path) -> dict[str, Any]:
    try:
        schema.model_validate(value)
    except ValidationError as error:
        found = error.errors()[0]
        key = ".".join(str(part) for part in found["loc"])
        raise Damaged(path, f"{key or 'its content'}: {found['msg']}") from error
    return value


def _in_short(error: BaseException) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
