"""The user's own arrays in an `.npz` file, by the names that the field gives them."""

import hashlib
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.data.names import as_read
from skewlab.data.sources.source import Source, file_for_folder
from skewlab.errors import ConfigError

# How inputs and labels of a split are called: here, by Keras, MedMNIST and torchvision.
NAMINGS = (
    ("x_{}", "y_{}"),
    ("X_{}", "y_{}"),
    ("{}_images", "{}_labels"),
    ("{}_data", "{}_targets"),
    ("{}_data", "{}_labels"),
    ("{}_x", "{}_y"),
)
VAL_NAMES = ("val", "valid", "validation")
TOLD = "x_train, y_train, x_test, y_test; or train_images, train_labels, test_images, test_labels"


def arrays(path: str, vocabulary: int | None = None) -> Source:
    """The user's own `.npz`: inputs and labels of `train`, `test` and, where there is one, `val`.

    The arrays are called `x_train, y_train` and so on, as Keras does, `train_images, train_labels`,
    as MedMNIST does, or `train_data, train_targets`, after torchvision; `class_names` names the
    classes. What inputs can be says `Source`: uint8 or float images, tables, series, token ids.
    Labels are whole numbers from 0, [samples] or [samples, 1]; or the classes' names.

    Args:
        path: the file.
        vocabulary: number of tokens, where the inputs are token ids; or an array of that name in
            the file.

    Raises:
        ConfigError: an array is missing or has a wrong shape, type or value.
    """
    key = f"data.source.path={path}"
    try:
        found = read_archive(Path(path))
    except FileNotFoundError as error:
        raise ConfigError(f"{key}: no such file; must be an .npz file") from error
    except NotADirectoryError as error:
        raise file_for_folder(key) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"{key}: cannot be read; must be an .npz file whose arrays hold numbers or text and "
            f"fit into memory ({reason[:120]})"
        ) from error
    x, y = _naming(found)
    val = next((name for name in VAL_NAMES if x.format(name) in found), None)
    names = {"train": "train", "test": "test", **({"val": val} if val else {})}
    missing = [n.format(of) for of in names.values() for n in (x, y) if n.format(of) not in found]
    if missing:
        raise ConfigError(f"{key}: must hold {TOLD}; missing {', '.join(missing)}")
    inputs = {split: found.pop(x.format(of)) for split, of in names.items()}
    labels = {split: found.pop(y.format(of)) for split, of in names.items()}
    named = found.pop("class_names", None)
    known = found.pop("vocabulary", None)
    class_names, labels = _numbered(key, labels, y, named)
    try:
        return Source(
            class_names,
            inputs["train"],
            labels["train"],
            inputs["test"],
            labels["test"],
            val_images=inputs.get("val"),
            val_labels=labels.get("val"),
            vocabulary=int(known) if vocabulary is None and known is not None else vocabulary,
            notes=(f"not read: {', '.join(found)}",) if found else (),
        )
    except ConfigError as error:
        raise ConfigError(f"{key}: {str(error).removeprefix('data: ')}") from None


def _naming(found: dict[str, Any]) -> tuple[str, str]:
    """How the file calls inputs and labels: the naming of which it has most."""

    def present(naming: tuple[str, str]) -> int:
        return sum(name.format(split) in found for name in naming for split in ("train", "test"))

    return max(NAMINGS, key=present)


def _numbered(
    key: str, labels: dict[str, NDArray[Any]], naming: str, named: NDArray[Any] | None
) -> tuple[tuple[str, ...], dict[str, NDArray[Any]]]:
    """The classes' names, and labels as numbers."""
    train = labels["train"]
    if train.dtype.kind in "US":  # names of classes
        texts = {split: one.ravel().astype(str) for split, one in labels.items()}
        names = sorted({str(name) for name in texts["train"]}, key=as_read)
        places = {name: place for place, name in enumerate(names)}
        for split, one in texts.items():
            if odd := set(one.tolist()) - set(names):
                raise ConfigError(
                    f"{key}: {naming.format(split)} has classes that training lacks: {sorted(odd)}"
                )
        return tuple(names), {
            split: np.asarray([places[name] for name in one.tolist()])
            for split, one in texts.items()
        }
    if named is not None:
        return tuple(str(name) for name in named.ravel()), labels
    classes = int(train.max()) + 1 if train.size and train.dtype.kind in "iub" else 0
    if classes > train.size:
        raise ConfigError(
            f"{key}: {naming.format('train')} must hold every label from 0 to its largest, "
            f"{classes - 1}, and has {train.size} labels"
        )
    return tuple(str(label) for label in range(classes)), labels


def read_archive(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` file by name.

    Raises:
        OSError: it is not there, or is no file.
        MemoryError: the file says that its arrays are larger than this machine's memory.
        Exception: NumPy and zipfile have many for a damaged one.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("no file")
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if hasattr(os, "sysconf") and size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise MemoryError(f"its arrays take {size / 2**30:.0f} GiB")
    with np.load(path, allow_pickle=False) as archive:
        return {name: np.asarray(archive[name]) for name in archive.files}


def sha256(*arrays: NDArray[Any]) -> str:
    """A digest of the bytes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()
