"""Image files: what their headers say, and their pixels without loss.

A set of files is surveyed before any of it is used. What every image becomes is decided for all
files of all splits together, so that no file that sorts first decides for the others:

- grey files alone give one channel; one colour file among them gives three channels to all.
- files of more than 8 bits a pixel (16-bit, 32-bit, float) give floats with the values as stored.
- what would lose something is refused: transparent pixels without a background, 16-bit colour, of
  which Pillow keeps 8 bits, files of several pages, and files of 8 and of more bits in one set.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from skewlab.errors import ConfigError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
# What Pillow may take a file for, whatever its suffix: other formats start other programs.
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP")
# Pillow's modes by what they hold.
GREY, COLOUR = ("1", "L", "LA", "La"), ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr")
ALPHA = ("LA", "La", "RGBA", "RGBa", "PA")
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
# Of so many files about, so many bytes in the middle are part of the fingerprint.
SAMPLED_FILES, SAMPLED_BYTES = 1000, 4096
BACKGROUNDS = {"white": 255, "black": 0}


class Encoded(Protocol):
    """An image that is no file of its own, but stored in one as a file's bytes."""

    def open(self) -> BinaryIO:
        """The bytes, as of a file."""


File = Path | Encoded


class Header(NamedTuple):
    """What an image file says of itself, before its pixels are read.

    Attributes:
        mode: Pillow's.
        size: (height, width) as it is shown.
        alpha: whether pixels can be transparent.
        turned: whether a camera has asked for it to be turned or mirrored.
    """

    mode: str
    size: tuple[int, int]
    alpha: bool
    turned: bool


class ImageFiles:
    """Images on disk, indexed like an array of [samples, height, width, channels].

    Args:
        files: one image each.
        size: (height, width) of every image.
        side: pixels to which the shorter side is scaled before the centre is cut; None keeps the
            size.
        form: `grey`, `colour`, or `deep` for floats with the values as stored.
        background: `white` or `black`, which transparent pixels are put on; None refuses them.
    """

    def __init__(
        self,
        files: Sequence[File],
        size: tuple[int, int],
        side: int | None,
        form: str,
        background: str | None,
    ) -> None:
        self.files = list(files)
        self._side, self._form, self._background = side, form, background
        self.shape = (len(files), *size, 3 if form == "colour" else 1)
        self.dtype = np.dtype(np.float32 if form == "deep" else np.uint8)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The images of these rows, shape [rows, height, width, channels].

        Raises:
            ConfigError: a file cannot be read as an image, or is not what it was.
        """
        shape = (len(rows), *self.shape[1:])
        try:
            images = np.empty(shape, dtype=self.dtype)
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
            if isinstance(path, Path):
                size = path.stat().st_size
                digest.update(f"{path.parent.name}/{path.name}/{size}\n".encode())
            if place % every == 0:
                with _bytes_of(path) as file:
                    size = file.seek(0, os.SEEK_END)
                    file.seek(max(0, size // 2 - SAMPLED_BYTES // 2))
                    digest.update(file.read(SAMPLED_BYTES))

    def decoded(self) -> NDArray[Any]:
        """All images as one array."""
        return self[np.arange(len(self))]

    def identity(self) -> str:
        """What decoded pixels depend on besides the files: for the name of a cache."""
        return f"{self.shape[1:]} {self.dtype} {self._side} {self._form} {self._background}"

    def _read(self, file: File) -> NDArray[Any]:
        height, width, channels = self.shape[1:]
        with _opened(file) as image:
            image = ImageOps.exif_transpose(image)
            if self._form == "deep":
                image = _as_floats(image, file)
            else:
                image = _without_alpha(image, file, self._background)
                image = self._in_channels(image, file)
            if self._side is not None:
                image = ImageOps.fit(image, (self._side, self._side), Image.Resampling.BILINEAR)
        if image.size != (width, height):
            raise _other_size(file, (image.size[1], image.size[0]), (height, width))
        return np.asarray(image, dtype=self.dtype).reshape(height, width, channels)

    def _in_channels(self, image: Image.Image, file: File) -> Image.Image:
        if self._form == "grey" and image.mode not in GREY:
            raise ConfigError(f"data: {file} is no grey image of 8 bits; it was when it was listed")
        return image.convert("L" if self._form == "grey" else "RGB")


def survey(
    splits: Mapping[str, Sequence[File]],
    image_size: int | None = None,
    background: str | None = None,
) -> tuple[dict[str, ImageFiles], tuple[str, ...]]:
    """The image files of all splits as arrays of one form, and what is to be said of them.

    Args:
        splits: the files of each split.
        image_size: side in pixels to which each image is scaled and cut; None keeps its size.
        background: `white` or `black`, which transparent pixels are put on; None refuses them.

    Raises:
        ConfigError: a file cannot be read as an image, or not without loss; images have several
            sizes without `image_size`.
    """
    if image_size is not None and image_size < 1:
        raise ConfigError(f"data.source.image_size={image_size}: must be at least 1")
    if background is not None and background not in BACKGROUNDS:
        raise ConfigError(
            f"data.source.background={background}: must be white, black, or null, which refuses "
            "transparent pixels"
        )
    headers = {file: _header(file) for files in splits.values() for file in files}
    deep = [file for file, header in headers.items() if header.mode in DEEP]
    if deep and len(deep) < len(headers):
        shallow = next(file for file, header in headers.items() if header.mode not in DEEP)
        raise ConfigError(
            f"data: {deep[0]} has more than 8 bits a pixel and {shallow} has 8, so their values "
            "have different scales; save all files with the same bits"
        )
    colour = [file for file, header in headers.items() if header.mode in COLOUR]
    form = "deep" if deep else "colour" if colour else "grey"
    first_file, first = next(iter(headers.items()))
    size = (image_size, image_size) if image_size else first.size
    if image_size is None:
        for file, header in headers.items():
            if header.size != size:
                raise _other_size(file, header.size, size, first_file)
    alpha = [file for file, header in headers.items() if header.alpha]
    for file in alpha if background is None else ():
        with _opened(file) as image:
            _without_alpha(image, file, None)
    found = {
        split: ImageFiles(files, size, image_size, form, background)
        for split, files in splits.items()
    }
    notes = []
    if twice := sum(map(len, splits.values())) - len(headers):
        notes.append(f"{twice} files are listed more than once, perhaps in two splits")
    if deep:
        modes = sorted({headers[file].mode for file in deep})
        notes.append(f"files of mode {', '.join(modes)}: values as stored")
    if grey := len(headers) - len(colour) if form == "colour" else 0:
        notes.append(f"{grey} grey files among colour get three equal channels")
    if converted := sum(header.mode in ("CMYK", "YCbCr") for header in headers.values()):
        notes.append(f"{converted} files of CMYK or YCbCr become RGB")
    if alpha:
        where = f"on {background}" if background else "without a transparent pixel"
        notes.append(f"{len(alpha)} files with alpha, {where}")
    if turned := sum(header.turned for header in headers.values()):
        notes.append(f"{turned} turned as their EXIF says")
    return found, tuple(notes)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the user's samples: `.ipynb_checkpoints`, `._1.png`."""
    return name.startswith(".") or name == "__MACOSX"


def _header(file: File) -> Header:
    with _opened(file) as image:
        mode = image.mode
        pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        if pages > 1:
            raise ConfigError(
                f"data: {file} holds {pages} images, of which one would be read; save each as a "
                "file"
            )
        if mode not in (*GREY, *COLOUR, *DEEP):
            raise ConfigError(
                f"data: {file} has Pillow's mode {mode}; must be grey or RGB, or grey of 16 or 32 "
                "bits"
            )
        if mode not in DEEP and _loses_bits(image):
            raise ConfigError(
                f"data: {file} has 16 bits a channel, of which Pillow keeps 8; save it with 8 "
                "bits, or give the values as floats with data=arrays"
            )
        # A PNG would be decoded to look for EXIF behind its pixels.
        looks = image.format != "PNG" or "exif" in image.info
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if looks else 1
        width, height = image.size
        if orientation in (5, 6, 7, 8) and image.format != "TIFF":  # there it is done already
            width, height = height, width
        alpha = mode in ALPHA or "transparency" in image.info
    return Header(mode, (height, width), alpha, orientation in range(2, 9))


def _loses_bits(image: Image.Image) -> bool:
    """Whether a file has more bits than Pillow's mode for it."""
    for tile in getattr(image, "tile", []):
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(isinstance(one, str) and ";16" in one for one in arguments):
            return True
        if tile[0].startswith("ppm") and any(isinstance(n, int) and n > 255 for n in arguments):
            return True
    return False


def _without_alpha(image: Image.Image, file: File, background: str | None) -> Image.Image:
    """The image as it looks on a background; without one, only if every pixel is opaque.

    Pixels that are quite transparent have colours too, which nobody sees.
    """
    if image.mode not in ALPHA and "transparency" not in image.info:
        return image
    grey = image.mode in GREY
    image = image.convert("LA" if grey else "RGBA")
    alpha = image.getchannel("A")
    if background is not None:
        ground = Image.new(
            image.mode, image.size, (BACKGROUNDS[background],) * (1 if grey else 3) + (255,)
        )
        if grey:
            return Image.composite(image.getchannel("L"), ground.getchannel("L"), alpha)
        image = Image.alpha_composite(ground, image)
    elif alpha.getextrema()[0] != 255:
        raise ConfigError(
            f"data.source.background=null: {file} has transparent pixels, whose colours nobody "
            "sees; white or black puts them on that background"
        )
    return image.convert("L" if grey else "RGB")


def _as_floats(image: Image.Image, file: File) -> Image.Image:
    values = np.asarray(image)
    if image.mode not in DEEP:
        raise ConfigError(f"data: {file} has 8 bits a pixel; it had more when it was listed")
    floats = values.astype(np.float32)
    if values.dtype.kind in "iu" and (floats.astype(np.float64) != values).any():
        raise ConfigError(
            f"data: {file} has whole numbers up to {values.max()}, of which floats of 32 bits "
            "lose digits; divide them before they are saved"
        )
    return Image.fromarray(floats)


def _other_size(
    file: File, size: tuple[int, int], others: tuple[int, int], other: File | None = None
) -> ConfigError:
    named = f"{other} is" if other else "others"
    return ConfigError(
        f"data.source.image_size=null: {file} is {size[1]} x {size[0]} pixels and {named} "
        f"{others[1]} x {others[0]}; set the size in pixels to scale them to"
    )


def _bytes_of(file: File) -> BinaryIO:
    if not isinstance(file, Path):
        return file.open()
    if not file.is_file():  # replaced since it was listed; to open a pipe would wait for ever
        raise FileNotFoundError("no file")
    return file.open("rb")


@contextlib.contextmanager
def _opened(file: File) -> Iterator[Image.Image]:
    """An image file, for as long as it is read."""
    try:
        with _bytes_of(file) as stored:
            with warnings.catch_warnings():
                # Of sizes that fill the memory it warns, and refuses twice as large ones only.
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                opened = Image.open(stored, formats=FORMATS)
            with opened as image:
                yield image
    except ConfigError:
        raise
    except Exception as error:  # a damaged file makes Pillow raise errors of many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"data_dir: {file} cannot be read as an image ({reason})") from error
