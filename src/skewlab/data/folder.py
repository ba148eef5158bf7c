"""Images in class folders, read from disk row by row."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from skewlab.data.names import as_read
from skewlab.errors import ConfigError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
# What Pillow may take a file for, whatever its suffix: other formats start other programs.
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP")


def list_folder(
    root: Path, follow_links: bool = False
) -> tuple[list[Path], NDArray[np.int64], tuple[str, ...]]:
    """The image files below `root/<class>/`, their labels, and the class names in order.

    Args:
        root: `train` or `test` of the data's folder.
        follow_links: whether links may lead out of the data's folder.

    Raises:
        ConfigError: the folder is missing, or has no class folder, or a class has no image; an
            image is no file, or a link leads out of the data's folder.
    """
    home = None if follow_links else os.path.realpath(root.parent)
    try:
        _check_inside(root, home)
        names = sorted((entry.name for entry in root.iterdir() if entry.is_dir()), key=as_read)
        files, labels = [], []
        for label, name in enumerate(names):
            _check_inside(root / name, home)
            members = sorted(_images_below(root / name, home))
            if not members:
                raise ConfigError(
                    f"data_dir={root.parent}: {root / name} holds no image; "
                    f"each class folder must hold at least one ({', '.join(sorted(SUFFIXES))})"
                )
            files += members
            labels += [label] * len(members)
    except OSError as error:
        raise ConfigError(
            f"data_dir={root.parent}: cannot read {error.filename or root} ({error.strerror}); "
            "must be a folder with train/<class>/ and test/<class>/"
        ) from error
    if not names:
        raise ConfigError(f"data_dir={root.parent}: {root} holds no class folder")
    return files, np.asarray(labels, dtype=np.int64), tuple(names)


def _images_below(folder: Path, home: str | None, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """The image files in a folder and in those below it.

    Args:
        folder: where to look.
        home: the folder that links must not lead out of; None lets them.
        above: the real paths of the folders that it was reached through.
    """
    above = (*above, os.path.realpath(folder))
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            is_image = path.suffix.lower() in SUFFIXES
            if entry.is_symlink() and (is_image or entry.is_dir()):
                _check_inside(path, home)
            if is_image and not entry.is_file():
                raise ConfigError(f"data_dir: {path} is named as an image and is no file")
            if is_image:
                yield path
            elif entry.is_dir():
                if os.path.realpath(path) in above:
                    raise ConfigError(f"data_dir: {path} is a link to a folder that holds it")
                yield from _images_below(path, home, above)


def _check_inside(path: Path, home: str | None) -> None:
    """Refuse what lies elsewhere than it seems to."""
    if home is not None and not Path(os.path.realpath(path)).is_relative_to(home):
        raise ConfigError(
            f"data.source.follow_links=false: {path} is a link out of {home}; true reads what "
            "such links lead to"
        )


# Of so many files about, so many bytes in the middle are part of the fingerprint.
SAMPLED_FILES, SAMPLED_BYTES = 1000, 4096


class FolderImages:
    """Images on disk, indexed like an array of uint8 [samples, height, width, channels].

    Args:
        files: one image each.
        image_size: side in pixels to which each image is scaled and cut; None keeps its size.

    Raises:
        ConfigError: a file is no image, or images have several sizes without `image_size`. The
            first file is checked at once, every other file when its row is read.
    """

    def __init__(self, files: list[Path], image_size: int | None) -> None:
        self.files = files
        self._side = image_size
        # All images get the channels of the first one, so that gray images keep one channel.
        with _opened(files[0]) as first:
            self._mode = "L" if first.mode in ("1", "L", "I;16") else "RGB"
            width, height = (image_size, image_size) if image_size else first.size
        self.shape = (len(files), height, width, 1 if self._mode == "L" else 3)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images of these rows, uint8, shape [rows, height, width, channels]."""
        shape = (len(rows), *self.shape[1:])
        try:
            images = np.empty(shape, dtype=np.uint8)
        except MemoryError as error:
            raise ConfigError(
                f"data.source.image_size={self._side or 'null'}: {shape[0]} images of {shape[1]} x "
                f"{shape[2]} pixels do not fit into memory; set a smaller size in pixels"
            ) from error
        for place, row in enumerate(rows):
            images[place] = self._read(self.files[int(row)])
        return images

    def add_to(self, digest: Any) -> None:
        """Add names and sizes of all files to a digest, and some bytes of up to 1,000 of them.

        Args:
            digest: of `hashlib`.
        """
        every = max(1, len(self.files) // SAMPLED_FILES)
        for place, path in enumerate(self.files):
            size = path.stat().st_size
            digest.update(f"{path.parent.name}/{path.name}/{size}\n".encode())
            if place % every == 0:
                with path.open("rb") as file:
                    file.seek(max(0, size // 2 - SAMPLED_BYTES // 2))
                    digest.update(file.read(SAMPLED_BYTES))

    def decode(self) -> NDArray[np.uint8]:
        """All images as one array."""
        return self[np.arange(len(self))]

    def _read(self, file: Path) -> NDArray[np.uint8]:
        height, width, channels = self.shape[1:]
        with _opened(file) as image:
            if image.mode.startswith("I;16"):  # a conversion would cut off values above 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert(self._mode)
            if self._side is not None:
                image = ImageOps.fit(image, (self._side, self._side), Image.Resampling.BILINEAR)
        if image.size != (width, height):
            raise ConfigError(
                f"data.source.image_size=null: {file} is {image.size[0]} x {image.size[1]} pixels "
                f"and others {width} x {height}; set the size in pixels to scale them to"
            )
        return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """An image file, for as long as it is read."""
    try:
        if not file.is_file():  # replaced since it was listed; to open a pipe would wait for ever
            raise FileNotFoundError("no file")
        with warnings.catch_warnings():
            # Of sizes that fill the memory it warns, and refuses twice as large ones only.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(file, formats=FORMATS)
        with opened as image:
            yield image
    except Exception as error:  # a damaged file makes Pillow raise errors of many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"data_dir: {file} cannot be read as an image ({reason})") from error
