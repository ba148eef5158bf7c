"""Decoded images in a folder: each file is decoded once, then read from a memory-mapped array."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.data.image_files import ImageFiles
from skewlab.errors import ConfigError


class CachedImages:
    """`ImageFiles` whose rows are decoded when they are used first, and kept in a folder.

    Rows that no run keeps are never decoded. Several processes may fill the same cache: they write
    the same bytes. A row is marked as there after its pixels are.

    Args:
        images: the files.
        folder: where `<digest>.npy` and `<digest>.there.npy` lie; the digest is of the files'
            paths, sizes, times and some of their bytes, and of what is made of them.

    Raises:
        ConfigError: the folder cannot be written to.
    """

    def __init__(self, images: ImageFiles, folder: Path) -> None:
        self._images, self._folder = images, folder
        self.shape, self.dtype = images.shape, images.dtype
        digest = hashlib.sha256(images.identity().encode())
        images.add_to(digest)
        for file in images.files:
            if isinstance(file, Path):
                digest.update(f"{file.absolute()} {file.stat().st_mtime_ns}\n".encode())
        name = digest.hexdigest()[:24]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._pixels = _mapped(folder / f"{name}.npy", self.shape, self.dtype)
            self._there = _mapped(folder / f"{name}.there.npy", (len(images),), np.dtype(bool))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"data.cache={folder}: must be a folder that can be written to, with room for "
                f"{np.prod(self.shape) * self.dtype.itemsize / 2**30:.1f} GiB ({error})"
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedImages, (self._images, self._folder)  # to a worker: not the pixels

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The images of these rows, shape [rows, height, width, channels]."""
        missing = np.unique(rows[~self._there[rows]])
        for row in missing:
            self._pixels[row] = self._images[row[None]][0]
            self._there[row] = True
        return np.asarray(self._pixels[rows])

    def add_to(self, digest: Any) -> None:
        """As of the files."""
        self._images.add_to(digest)

    def decoded(self) -> NDArray[Any]:
        """All images as one array in memory."""
        return self[np.arange(len(self))]


def _mapped(path: Path, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> NDArray[Any]:
    """A memory-mapped array, made of zeros if it is not there yet."""
    if not path.exists():
        needed = int(np.prod(shape)) * dtype.itemsize
        if (free := shutil.disk_usage(path.parent).free) < needed:
            raise OSError(f"{free / 2**30:.1f} GiB are free")
        beside = path.with_name(f"{path.name}.{os.getpid()}.part")
        np.lib.format.open_memmap(beside, mode="w+", dtype=dtype, shape=shape).flush()
        # Of two processes that begin together the first fills a file that nobody reads again.
        beside.replace(path)
    array = np.lib.format.open_memmap(path, mode="r+")
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{path} holds an array of another shape")
    return array
