"""Images in class folders: `<path>/train/<class>/*`, `<path>/test/<class>/*`, and `val/` if any."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.data.cache import CachedImages
from skewlab.data.image_files import SUFFIXES, is_hidden, survey
from skewlab.data.names import as_read
from skewlab.data.sources.source import Source
from skewlab.errors import ConfigError

SPLITS = ("train", "val", "test")
# So many names of files that are passed over are said.
NAMED = 3


def image_folder(
    path: str,
    image_size: int | None = None,
    memory_gib: float = 4.0,
    follow_links: bool = False,
    background: str | None = None,
    cache: str | None = None,
) -> Source:
    """The user's own images: `<path>/train/<class>/*`, `<path>/test/<class>/*` and, where there is
    one, `<path>/val/<class>/*`.

    Hidden files and folders (`.ipynb_checkpoints`, `._1.png`) and files that are not named as
    images are passed over; how many is said.

    Args:
        path: the folder with `train/` and `test/`; all splits hold the same class folders, but
            `val/` may lack some.
        image_size: side in pixels to which the shorter side is scaled before the centre is cut;
            None where all images have the same size.
        memory_gib: decoded images up to this size are kept in memory; larger sets are read by
            loader workers.
        follow_links: whether files and folders may be links that lead out of the folder.
        background: `white` or `black`, which transparent pixels are put on; None refuses them.
        cache: a folder in which decoded images are kept; None for none.

    Raises:
        ConfigError: a folder is missing or empty, a file is no image or cannot be read without
            loss, or a link leads elsewhere.
    """
    root = Path(path)
    splits = [split for split in SPLITS if split != "val" or (root / "val").is_dir()]
    listed = {split: list_folder(root / split, follow_links) for split in splits}
    class_names = listed["train"][2]
    for split, (_, _, names, _) in listed.items():
        odd = set(names) - set(class_names) if split == "val" else set(class_names) ^ set(names)
        if odd:
            raise ConfigError(
                f"data_dir={path}: train/ and {split}/ must hold the same classes, "
                f"not {sorted(odd)}"
            )
    passed = [name for _, _, _, names in listed.values() for name in names]
    return image_source(
        class_names,
        {split: files for split, (files, _, _, _) in listed.items()},
        {
            split: np.asarray([class_names.index(names[label]) for label in labels])
            for split, (_, labels, names, _) in listed.items()
        },
        image_size=image_size,
        memory_gib=memory_gib,
        background=background,
        cache=cache,
        notes=passed_over(passed),
    )


def image_source(
    class_names: tuple[str, ...],
    files: Mapping[str, list[Path]],
    labels: Mapping[str, Any],
    *,
    image_size: int | None,
    memory_gib: float,
    background: str | None,
    cache: str | None,
    notes: tuple[str, ...] = (),
) -> Source:
    """A source of image files, however they were listed.

    Args:
        class_names: names in label order.
        files, labels: by split: train, test, and val where there is one.
        image_size, memory_gib, background, cache: as of `image_folder`.
        notes: what is to be said of the files besides.
    """
    surveyed, found = survey(files, image_size, background)
    images: dict[str, Any] = dict(surveyed)
    if cache is not None:
        images = {split: CachedImages(one, Path(cache)) for split, one in surveyed.items()}
    size = sum(np.prod(one.shape, dtype=float) * one.dtype.itemsize for one in images.values())
    if size / 2**30 <= memory_gib:
        images = {split: one.decoded() for split, one in images.items()}
    has_val = "val" in images
    return Source(
        class_names,
        images["train"],
        labels["train"],
        images["test"],
        labels["test"],
        val_images=images["val"] if has_val else None,
        val_labels=labels["val"] if has_val else None,
        notes=(*found, *notes),
    )


def passed_over(names: list[str]) -> tuple[str, ...]:
    """What is said of files that are no samples."""
    if not names:
        return ()
    more = ", ..." if len(names) > NAMED else ""
    return (f"{len(names)} files or folders passed over ({', '.join(names[:NAMED])}{more})",)


def list_folder(
    root: Path, follow_links: bool = False
) -> tuple[list[Path], NDArray[np.int64], tuple[str, ...], list[str]]:
    """The image files below `root/<class>/`, their labels, the class names in order, and the names
    of what was passed over.

    Args:
        root: `train`, `val` or `test` of the data's folder.
        follow_links: whether links may lead out of the data's folder.

    Raises:
        ConfigError: the folder is missing, or has no class folder, or a class has no image; an
            image is no file, or a link leads out of the data's folder.
    """
    home = None if follow_links else os.path.realpath(root.parent)
    passed: list[str] = []
    try:
        _check_inside(root, home)
        entries = sorted(root.iterdir(), key=lambda entry: as_read(entry.name))
        names = [entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name)]
        passed += [entry.name for entry in entries if entry.name not in names]
        files, labels = [], []
        for label, name in enumerate(names):
            _check_inside(root / name, home)
            members = sorted(_images_below(root / name, home, passed))
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
    return files, np.asarray(labels, dtype=np.int64), tuple(names), passed


def _images_below(
    folder: Path, home: str | None, passed: list[str], above: tuple[str, ...] = ()
) -> Iterator[Path]:
    """The image files in a folder and in those below it.

    Args:
        folder: where to look.
        home: the folder that links must not lead out of; None lets them.
        passed: gets the names of what is no sample.
        above: the real paths of the folders that it was reached through.
    """
    above = (*above, os.path.realpath(folder))
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if is_hidden(entry.name):
                passed.append(entry.name)
                continue
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
                yield from _images_below(path, home, passed, above)
            else:
                passed.append(entry.name)


def _check_inside(path: Path, home: str | None) -> None:
    """Refuse what lies elsewhere than it seems to."""
    if home is not None and not Path(os.path.realpath(path)).is_relative_to(home):
        raise ConfigError(
            f"data.source.follow_links=false: {path} is a link out of {home}; true reads what "
            "such links lead to"
        )
