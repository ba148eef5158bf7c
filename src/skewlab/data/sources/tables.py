"""Tables with a label column: CSV or Parquet, of numbers and categories, or of image files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skewlab.data.sources.folders import image_source
from skewlab.data.sources.lists import numbered
from skewlab.data.sources.source import Source, file_for_folder
from skewlab.errors import ConfigError, installed_by, suggestion

if TYPE_CHECKING:  # it takes as long to import as everything that a wrong configuration needs
    import pandas as pd

# Text columns with more values than this are no categories but names, dates, comments; or with
# more than so few, if most rows have a value of their own.
MOST_CATEGORIES, FEW_CATEGORIES = 100, 10
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    "test": "test",
}


def table(
    path: str,
    label: str,
    test_path: str | None = None,
    val_path: str | None = None,
    split: str | None = None,
    test_fraction: float = 0.2,
    drop: Sequence[str] = (),
    categories: Sequence[str] = (),
    separator: str = ",",
    images: str | None = None,
    image_root: str = ".",
    image_suffix: str = "",
    image_size: int | None = None,
    memory_gib: float = 4.0,
    background: str | None = None,
    cache: str | None = None,
) -> Source:
    """A CSV or Parquet file with a row for each sample and a column of labels.

    What becomes of its columns is fixed by the training rows alone:

    - numbers stay numbers. A missing one is NaN, which becomes the training mean; a column in which
      training rows lack values gets another one that says where (0 or 1).
    - text, booleans and the columns of `categories` become one column of 0 and 1 for each value
      that training rows have. A missing value, or one that training rows do not have, is 0 in all.

    Or each row names an image: `images` is the column of file names.

    Args:
        path: the file; of CSV if it does not end in `.parquet`.
        label: the column of labels: names, or whole numbers.
        test_path, val_path: files of the same columns for test and val.
        split: the column that says train, val or test of each row.
        test_fraction: without `test_path` and `split`, the share of each class that is held out
            for test, the same for every seed; at least one sample.
        drop: columns that are left out, such as numbers of patients.
        categories: columns of numbers that are names of categories.
        separator: of a CSV file's columns.
        images: the column of image files; other columns are then left out.
        image_root, image_suffix: what comes before and after the names in that column.
        image_size, memory_gib, background, cache: see `skewlab.data.sources.image_folder`.

    Raises:
        ConfigError: a file or a column is missing, or a column is neither numbers nor categories.
    """
    key = f"data.source.path={path}"
    frames = {"train": _read(path, "path", separator)}
    _check_columns(frames["train"], key, [label, split, images, *drop, *categories])
    for name, other in (("test", test_path), ("val", val_path)):
        if other is not None:
            frames[name] = _read(other, f"{name}_path", separator)
            if missing := set(frames["train"].columns) - set(frames[name].columns):
                raise ConfigError(
                    f"data.source.{name}_path={other}: lacks the columns {sorted(missing)}"
                )
    lacking = sum(int(frame[label].isna().sum()) for frame in frames.values())
    if lacking:
        raise ConfigError(f"data.source.label={label}: {lacking} rows have no label; remove them")
    if split is not None:
        frames = _by_column(frames["train"], split)
    notes: tuple[str, ...] = ()
    if "test" not in frames:
        held = held_out(frames["train"][label].astype(str).to_numpy(), test_fraction)
        frames |= {"train": frames["train"][~held], "test": frames["train"][held]}
        notes = (f"{test_fraction:g} of each class held out for test",)
    class_names, labels = numbered({s: _words(frame[label]) for s, frame in frames.items()})
    if images is not None:
        files = {
            s: [_image_file(image_root, str(name), image_suffix) for name in frame[images]]
            for s, frame in frames.items()
        }
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
    left_out = [label, *([split] if split else []), *drop]
    features, found = encoded(
        {s: frame.drop(columns=left_out) for s, frame in frames.items()}, key, categories, drop
    )
    return table_source(class_names, features, labels, (*found, *notes))


def table_source(
    class_names: tuple[str, ...],
    features: Mapping[str, NDArray[np.float32]],
    labels: Mapping[str, Any],
    notes: tuple[str, ...] = (),
) -> Source:
    """A source of inputs and labels by split."""
    return Source(
        class_names,
        features["train"],
        labels["train"],
        features["test"],
        labels["test"],
        val_images=features.get("val"),
        val_labels=labels.get("val"),
        notes=notes,
    )


def held_out(labels: NDArray[Any], fraction: float) -> NDArray[np.bool_]:
    """Which samples are test: of each class this share, rounded, at least one and not all.

    Args:
        labels: shape [samples].
        fraction: of each class.

    Raises:
        ConfigError: it is no share, or a class has a single sample.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"data.source.test_fraction={fraction}: must be a number between 0 and 1")
    test = np.zeros(len(labels), dtype=bool)
    for place, name in enumerate(np.unique(labels)):
        members = np.flatnonzero(labels == name)
        if len(members) < 2:
            raise ConfigError(
                f"data: class {name} has {len(members)} sample; at least 2 are needed to hold one "
                "out for test"
            )
        size = min(max(1, round(fraction * len(members))), len(members) - 1)
        # The same rows for every seed, with every version of NumPy.
        test[np.random.RandomState([0x7E57, place]).permutation(members)[:size]] = True
    return test


def encoded(
    frames: "Mapping[str, pd.DataFrame]",
    key: str,
    categories: Sequence[str] = (),
    dropped: Sequence[str] = (),
) -> tuple[dict[str, NDArray[np.float32]], tuple[str, ...]]:
    """Columns as numbers, see `table`.

    Args:
        frames: the columns by split.
        key: begins messages.
        categories: columns of numbers that are names.
        dropped: columns that are left out already, for messages.

    Returns:
        Features by split, float32 [samples, features], and what is to be said of them.
    """
    import pandas as pd

    train = frames["train"]
    found: dict[str, list[NDArray[np.float32]]] = {split: [] for split in frames}
    said: list[str] = []
    odd: dict[str, str] = {}
    numbers, gaps, unseen = 0, 0, 0
    for name in train.columns:
        column = train[name]
        if str(name).startswith("Unnamed:"):
            said.append(f"column {name!r} left out: the index of a saved frame")
        elif pd.api.types.is_numeric_dtype(column) and not (
            name in categories or pd.api.types.is_bool_dtype(column)
        ):
            numbers += 1
            has_gaps = bool(column.isna().any())
            gaps += has_gaps
            for split, frame in frames.items():
                values = pd.to_numeric(frame[name], errors="coerce")
                if (lost := int(values.isna().sum() - frame[name].isna().sum())) > 0:
                    raise ConfigError(
                        f"{key}: column {name} has numbers in training and {lost} times text in "
                        f"{split}"
                    )
                array = values.to_numpy(dtype=np.float64, na_value=np.nan)
                found[split].append(array)
                if has_gaps:
                    found[split].append(np.isnan(array).astype(np.float64))
        else:
            known = sorted(column.dropna().astype(str).unique())
            many = len(known) > MOST_CATEGORIES or len(known) > max(FEW_CATEGORIES, len(column) / 2)
            if pd.api.types.is_datetime64_any_dtype(column) or many:
                odd[name] = f"{len(known)} different values such as {str(known[0])[:30]!r}"
                continue
            said.append(f"{name}: {len(known)} categories")
            of_training = set(known)
            for split, frame in frames.items():
                words = frame[name].astype("object").where(frame[name].notna(), None)
                texts = np.asarray([None if w is None else str(w) for w in words], dtype=object)
                unseen += sum(w is not None and w not in of_training for w in texts)
                found[split] += [(texts == value).astype(np.float64) for value in known]
    if odd:
        each = ", ".join(f"{name} ({what})" for name, what in odd.items())
        raise ConfigError(
            f"{key}: neither numbers nor categories are, in {len(train)} rows: {each}; leave them "
            f"out: data.source.drop=[{','.join([*dropped, *odd])}]"
        )
    if not found["train"]:
        raise ConfigError(f"{key}: has no column besides the label")
    if unseen:
        said.append(f"{unseen} values that training lacks become 0")
    said.insert(0, f"{numbers} columns of numbers, {gaps} with missing values")
    return {split: np.stack(columns, axis=1) for split, columns in found.items()}, tuple(said)


def _read(path: str, key: str, separator: str) -> "pd.DataFrame":
    import pandas as pd

    try:
        if path.lower().endswith((".parquet", ".pq")):
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(path, sep=separator)
    except ImportError as error:
        raise ConfigError(
            f"data.source.{key}={path}: Parquet needs pyarrow: {installed_by('parquet')}"
        ) from error
    except NotADirectoryError as error:
        raise file_for_folder(f"data.source.{key}={path}") from error
    except Exception as error:  # pandas has many kinds
        reason = " ".join(str(error).split())
        raise ConfigError(f"data.source.{key}={path}: cannot be read ({reason[:120]})") from error
    frame.columns = frame.columns.map(str)
    if not len(frame):
        raise ConfigError(f"data.source.{key}={path}: holds no row")
    return frame


def _check_columns(frame: "pd.DataFrame", key: str, names: Sequence[str | None]) -> None:
    for name in names:
        if name is not None and name not in frame.columns:
            hint = "; data.source.separator divides columns" if len(frame.columns) == 1 else ""
            raise ConfigError(
                f"{key}: has no column {name}" + suggestion(name, list(frame.columns)) + hint
            )


def _by_column(frame: "pd.DataFrame", split: str) -> "dict[str, pd.DataFrame]":
    import pandas as pd

    words = pd.Series([str(word).lower() for word in frame[split]], index=frame.index)
    if odd := sorted(set(words) - set(SPLIT_NAMES)):
        raise ConfigError(
            f"data.source.split={split}: has the values {odd[:5]}; must be train, val or test"
        )
    names = words.map(SPLIT_NAMES)
    found = {name: frame[names == name] for name in ("train", "val", "test")}
    if not len(found["train"]):
        raise ConfigError(f"data.source.split={split}: says train of no row")
    return {name: rows for name, rows in found.items() if len(rows)}


def _words(column: "pd.Series[Any]") -> list[str]:
    """Labels as they are written; 1.0 is 1, as a column with whole numbers may be read so."""
    if column.dtype.kind == "f" and (column % 1 == 0).all():
        column = column.astype(np.int64)
    return column.astype(str).str.strip().tolist()


def _image_file(root: str, name: str, suffix: str) -> Path:
    file = Path(root) / f"{name}{suffix}"
    if not file.is_file():
        raise ConfigError(
            f"data.source.images: {file} is not there; data.source.image_root and image_suffix "
            "come before and after the names"
        )
    return file
