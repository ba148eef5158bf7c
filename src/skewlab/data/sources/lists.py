"""Image files named by lists: ImageNet-LT's, Places-LT's and iNaturalist's."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skewlab.data.names import as_read
from skewlab.data.sources.folders import image_source
from skewlab.data.sources.source import Source
from skewlab.errors import ConfigError


def image_list(
    root: str,
    train: str,
    test: str,
    val: str | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
    memory_gib: float = 4.0,
    follow_links: bool = False,
    background: str | None = None,
    cache: str | None = None,
) -> Source:
    """Lists of `path label` lines, as ImageNet-LT, Places-LT and iNaturalist ship.

    Path and label are divided by the last space, tab or comma of a line; labels are whole numbers
    from 0, or names of classes. Empty lines, and lines that begin with `#`, are passed over.

    Args:
        root: the folder that paths in the lists, and the lists themselves, are relative to.
        train, test, val: the lists; None for `val.txt` in the folder of the training list, if there
            is one and it is not the test list.
        class_names: names in label order; None for the labels.
        image_size, memory_gib, follow_links, background, cache: see
            `skewlab.data.sources.image_folder`.

    Raises:
        ConfigError: a list or an image is missing, or a line is not `path label`.
    """
    beside = _listed(Path(root), "train", train).with_name("val.txt")
    if val is None and beside.exists() and beside != _listed(Path(root), "test", test):
        val = str(beside)
    given = {"train": train, "val": val, "test": test}
    read = {s: _read_list(Path(root), s, name) for s, name in given.items() if name is not None}
    words = {split: [word for _, word in lines] for split, lines in read.items()}
    names, labels = numbered(words, class_names)
    return image_source(
        names,
        {
            split: _files(root, [path for path, _ in lines], follow_links)
            for split, lines in read.items()
        },
        labels,
        image_size=image_size,
        memory_gib=memory_gib,
        background=background,
        cache=cache,
    )


def inaturalist(
    root: str,
    train: str,
    test: str,
    val: str | None = None,
    image_size: int | None = None,
    memory_gib: float = 4.0,
    follow_links: bool = False,
    background: str | None = None,
    cache: str | None = None,
) -> Source:
    """JSON in the form of COCO, as iNaturalist ships: `images` (`id`, `file_name`), `annotations`
    (`image_id`, `category_id`) and `categories` (`id`, `name`). Classes are the categories that
    training images have, in the order of their ids.

    Args:
        root: the folder that file names and the JSON files are relative to.
        train, test, val: the JSON files; val may be None. iNaturalist publishes no labels of its
            test images: its `val` file is the usual test set.
        image_size, memory_gib, follow_links, background, cache: see
            `skewlab.data.sources.image_folder`.

    Raises:
        ConfigError: a file is missing or has another form.
    """
    given = {"train": train, "val": val, "test": test}
    read = {s: _read_json(Path(root), s, name) for s, name in given.items() if name is not None}
    files, labels = {}, {}
    categories = sorted({category for _, category, _ in read["train"]})
    label_of = {category: label for label, category in enumerate(categories)}
    called = {category: name for _, category, name in read["train"]}
    for split, entries in read.items():
        if odd := sorted({category for _, category, _ in entries} - set(categories)):
            raise ConfigError(
                f"data.source.{split}={given[split]}: has categories that training lacks: {odd[:5]}"
            )
        files[split] = _files(root, [file for file, _, _ in entries], follow_links)
        labels[split] = np.asarray([label_of[category] for _, category, _ in entries])
    return image_source(
        tuple(called[category] for category in categories),
        files,
        labels,
        image_size=image_size,
        memory_gib=memory_gib,
        background=background,
        cache=cache,
    )


def numbered(
    words: Mapping[str, Sequence[str]], class_names: Sequence[str] | None = None
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Class names in label order, and the labels of each split as numbers.

    Args:
        words: labels as they are written, by split: whole numbers from 0, or names.
        class_names: names in label order, where the words are numbers; None for the words.

    Raises:
        ConfigError: a class that training lacks, or a number without a name.
    """
    known = sorted(set(words["train"]), key=as_read)
    if all(word.isdecimal() for word in known):
        classes = max(map(int, known)) + 1
        if classes > len(words["train"]):
            raise ConfigError(
                f"data: training labels go up to {classes - 1}, and there are "
                f"{len(words['train'])} samples; labels must be whole numbers from 0, each of them "
                "there"
            )
        names = tuple(map(str, class_names or range(classes)))
        place = {str(label): label for label in range(len(names))}
    else:
        names = tuple(map(str, class_names or known))
        place = {name: label for label, name in enumerate(names)}
    labels = {}
    for split, written in words.items():
        written = [str(int(word)) if word.isdecimal() else word for word in written]
        if odd := sorted(set(written) - set(place)):
            raise ConfigError(
                f"data: {split} has the classes {odd[:5]}, which training or class_names lack"
            )
        labels[split] = np.asarray([place[word] for word in written])
    return names, labels


def _listed(root: Path, split: str, name: str) -> Path:
    """The file of a list: below the root, or from where the command was given."""
    for path in (root / name, Path(name)):
        if path.is_file():
            return path
    raise ConfigError(
        f"data.source.{split}={name}: no such file, neither in data.source.root={root} nor here"
    )


def _read_list(root: Path, split: str, name: str) -> list[tuple[str, str]]:
    """The (path, label) of each line."""
    path = _listed(root, split, name)
    found = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"data.source.{split}={name}: cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        parts = line.replace(",", " ").rsplit(None, 1)
        if len(parts) != 2:
            raise ConfigError(
                f"data.source.{split}={name}: line {number} is {line[:60]!r}; must be a path and a "
                "label"
            )
        word = parts[1]
        found.append((line[: len(line) - len(word)].rstrip(" \t,"), word))
    if not found:
        raise ConfigError(f"data.source.{split}={name}: holds no line")
    return found


def _read_json(root: Path, split: str, name: str) -> list[tuple[str, int, str]]:
    """File name, category and the category's name of each image."""
    path = _listed(root, split, name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        file_of = {image["id"]: image["file_name"] for image in content["images"]}
        called = {category["id"]: category["name"] for category in content["categories"]}
        found = [
            (file_of[entry["image_id"]], entry["category_id"], called[entry["category_id"]])
            for entry in content["annotations"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise ConfigError(
            f"data.source.{split}={name}: must be JSON with images (id, file_name), annotations "
            f"(image_id, category_id) and categories (id, name); {reason[:120]}"
        ) from error
    if len({file for file, _, _ in found}) < len(found):
        raise ConfigError(f"data.source.{split}={name}: an image has two annotations; one each")
    if not found:
        raise ConfigError(f"data.source.{split}={name}: holds no annotation")
    return found


def _files(root: str, paths: Sequence[str], follow_links: bool) -> list[Path]:
    """The files of a list, which lie below the root."""
    home = Path(os.path.realpath(root))
    found = []
    for path in paths:
        file = Path(root) / path
        if not file.is_file():
            raise ConfigError(f"data.source.root={root}: {path} of a list is not there")
        if not follow_links and not Path(os.path.realpath(file)).is_relative_to(home):
            raise ConfigError(
                f"data.source.follow_links=false: {file} is a path out of {home}; true reads what "
                "such paths lead to"
            )
        found.append(file)
    return found
