"""Data sets of Hugging Face, from the hub or from a folder of `save_to_disk`."""

import io
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from skewlab.data.sources.folders import image_source
from skewlab.data.sources.lists import numbered
from skewlab.data.sources.source import Source
from skewlab.data.sources.tables import encoded, held_out, table_source
from skewlab.errors import ConfigError, installed_by

SPLITS = {"train": ("train",), "val": ("validation", "val", "valid"), "test": ("test",)}


class EncodedImage:
    """One image of a data set, as it is stored: Pillow opens it like a file.

    Args:
        dataset: of the library `datasets`; its images are not decoded by it.
        column: of the images.
        row: which.
    """

    def __init__(self, dataset: Any, column: str, row: int) -> None:
        self._dataset, self._column, self._row = dataset, column, row

    def __str__(self) -> str:
        return f"row {self._row} of {self._column}"

    def open(self) -> BinaryIO:
        """The encoded bytes.

        Raises:
            ConfigError: the row has no image.
        """
        stored = self._dataset[self._row][self._column]
        if stored is None:
            raise ConfigError(f"data: {self} has no image")
        if stored["bytes"] is not None:
            return io.BytesIO(stored["bytes"])
        return Path(stored["path"]).open("rb")


def huggingface(
    path: str,
    label: str | None = None,
    inputs: str | None = None,
    config: str | None = None,
    train: str = "train",
    test: str | None = None,
    val: str | None = None,
    test_fraction: float = 0.2,
    image_size: int | None = None,
    memory_gib: float = 4.0,
    background: str | None = None,
    cache: str | None = None,
) -> Source:
    """A data set of the hub by its name, or a folder that `save_to_disk` has written.

    Needs the extra `hf`.

    Args:
        path: the folder or, if there is none of that name, the name on the hub.
        label: the column of labels; None for the one of type `ClassLabel`, or `label`.
        inputs: the column of images, or of lists of numbers of one length; None for the column of
            images. Without one, all other columns are a table, as of `data=table`.
        config: of a data set on the hub that has several.
        train, test, val: names of splits; None for `test` and for `validation`, where there are
            any.
        test_fraction: without a test split, the share of each class that is held out of train.
        image_size, memory_gib, background, cache: see `skewlab.data.sources.image_folder`.

    Raises:
        ConfigError: it is not there, cannot be downloaded, or has no such split or column.
    """
    key = f"data.source.path={path}"
    parts = _loaded(path, config, key)
    chosen = {"train": train, "val": val, "test": test}
    found = {}
    for split, name in chosen.items():
        for known in (name,) if name else SPLITS[split]:
            if known in parts:
                found[split] = parts[known]
                break
        else:
            if name:
                raise ConfigError(f"data.source.{split}={name}: must be one of {', '.join(parts)}")
    features = found["train"].features
    label = label or _label_column(features, key)
    for column in (label, inputs):
        if column is not None and column not in features:
            raise ConfigError(f"{key}: has no column {column}; there are {', '.join(features)}")
    if inputs is None:
        inputs = next((n for n, f in features.items() if type(f).__name__ == "Image"), None)
    notes: tuple[str, ...] = ()
    if "test" not in found:
        held = held_out(np.asarray(found["train"][label]).astype(str), test_fraction)
        whole = found["train"]
        found["train"] = whole.select(np.flatnonzero(~held))
        found["test"] = whole.select(np.flatnonzero(held))
        notes = (f"{test_fraction:g} of each class held out for test",)
    names = getattr(features[label], "names", None)
    class_names, labels = numbered(
        {split: [str(word) for word in part[label]] for split, part in found.items()}, names
    )
    if inputs is None:
        frames = {s: part.remove_columns(label).to_pandas() for s, part in found.items()}
        table, said = encoded(frames, key)
        return table_source(class_names, table, labels, (*said, *notes))
    if type(features[inputs]).__name__ != "Image":
        arrays = {s: _array(part, inputs, key) for s, part in found.items()}
        return table_source(class_names, arrays, labels, notes)
    from datasets import Image

    files: dict[str, list[Any]] = {}
    for split, part in found.items():
        stored = part.cast_column(inputs, Image(decode=False))
        files[split] = [EncodedImage(stored, inputs, row) for row in range(len(stored))]
    return image_source(
        class_names,
        files,
        labels,
        image_size=image_size,
        memory_gib=memory_gib,
        background=background,
        cache=cache,
        notes=notes,
    )


def _loaded(path: str, config: str | None, key: str) -> dict[str, Any]:
    """The splits by name."""
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(f"{key}: needs datasets: {installed_by('hf')}") from error
    try:
        if Path(path).is_dir() and any(
            (Path(path) / name).exists() for name in ("dataset_dict.json", "state.json")
        ):
            found = datasets.load_from_disk(path)
        else:
            found = datasets.load_dataset(path, config)
    except Exception as error:  # no network, no such name, a damaged file: of many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"{key}: must be a folder of save_to_disk, or a name on the hub that can be "
            f"downloaded ({reason[:160]})"
        ) from error
    return dict(found) if isinstance(found, dict) else {"train": found}


def _label_column(features: Any, key: str) -> str:
    classes = [n for n, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    found = classes if len(classes) == 1 else [n for n in ("label", "labels") if n in features]
    if len(found) != 1:
        raise ConfigError(
            f"{key}: data.source.label must say which column has the labels; there are "
            f"{', '.join(features)}"
        )
    return str(found[0])


def _array(part: Any, column: str, key: str) -> np.ndarray[Any, Any]:
    try:
        return np.stack([np.asarray(row, dtype=np.float64) for row in part[column]])
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{key}: column {column} must hold images, or numbers of the same shape in every row"
        ) from error
