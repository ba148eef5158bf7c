"""Images in class folders, read from disk row by row."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from skewlab.errors import ConfigError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})


def list_folder(root: Path) -> tuple[list[Path], NDArray[np.int64], tuple[str, ...]]:
    """The image files below `root/<class>/`, their labels, and the class names in order.

    Raises:
        ConfigError: the folder is missing, or has no class folder, or a class has no image.
    """
    try:
        names = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        files, labels = [], []
        for label, name in enumerate(names):
            members = sorted(
                path for path in (root / name).rglob("*") if path.suffix.lower() in SUFFIXES
            )
            if not members:
                raise ConfigError(
                    f"data_dir={root.parent}: {root / name} holds no image; "
                    f"each class folder must hold at least one ({', '.join(sorted(SUFFIXES))})"
                )
            files += members
            labels += [label] * len(members)
    except OSError as error:
        raise ConfigError(
            f"data_dir={root.parent}: cannot read {root} ({error.strerror}); must be a folder "
            "with train/<class>/ and test/<class>/"
        ) from error
    if not names:
        raise ConfigError(f"data_dir={root.parent}: {root} holds no class folder")
    return files, np.asarray(labels, dtype=np.int64), tuple(names)


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
        with self._open(files[0]) as first:
            self._mode = "L" if first.mode in ("1", "L", "I;16") else "RGB"
            width, height = (image_size, image_size) if image_size else first.size
        self.shape = (len(files), height, width, 1 if self._mode == "L" else 3)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images of these rows, uint8, shape [rows, height, width, channels]."""
        images = np.empty((len(rows), *self.shape[1:]), dtype=np.uint8)
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

    def _open(self, file: Path) -> Image.Image:
        try:
            return Image.open(file)
        except (OSError, ValueError) as error:
            raise ConfigError(f"data_dir: {file} cannot be read as an image") from error

    def _read(self, file: Path) -> NDArray[np.uint8]:
        image = self._open(file)
        height, width, channels = self.shape[1:]
        try:
            if image.mode.startswith("I;16"):  # a conversion would cut off values above 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert(self._mode)
        except (OSError, ValueError) as error:  # a damaged file
            raise ConfigError(f"data_dir: {file} cannot be read as an image ({error})") from error
        if self._side is not None:
            image = ImageOps.fit(image, (self._side, self._side), Image.Resampling.BILINEAR)
        elif image.size != (width, height):
            raise ConfigError(
                f"data.source.image_size=null: {file} is {image.size[0]} x {image.size[1]} pixels "
                f"and others {width} x {height}; set the size in pixels to scale them to"
            )
        return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)
