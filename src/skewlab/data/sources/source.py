"""A source: samples, labels and class names, checked once, whoever made them."""

import contextlib
import functools
import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from skewlab.config.parts import Part, build
from skewlab.errors import ConfigError
from skewlab.terminal import COMMAND_VARIABLE, in_command, note

Kind = Literal["image", "float_image", "table", "series", "tokens"]
# Of inputs on disk, so many rows stand for all: for means, and for ranges and blank images.
SAMPLED_FOR_MEAN, SAMPLED_FOR_RANGE = 2000, 200
# Inputs in memory are looked at in pieces of so many numbers.
PIECE = 2**24
# What messages call the splits.
SPLIT_WORDS = {"train": "training", "val": "validation", "test": "test"}


class OnDisk(Protocol):
    """Images on disk, indexed like an array: rows are read when they are used."""

    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"

    def __len__(self) -> int:
        """How many images there are."""

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The images of these rows, shape [rows, height, width, channels]."""

    def add_to(self, digest: Any) -> None:
        """Add what tells these images from others to a digest of `hashlib`."""


Inputs = NDArray[Any] | OnDisk


@dataclass(frozen=True, eq=False)
class Source:
    """Inputs and labels of a training pool and a test set.

    Inputs are NumPy arrays, or what can be made one: tensors, data frames, lists. Labels are whole
    numbers from 0, shape [samples] or [samples, 1]. Both are checked and brought to one form:

    | kind | shape of the inputs | type |
    |---|---|---|
    | image | [samples, height, width, channels]; channels first is recognised, and [samples, \
height, width] of uint8 | uint8 |
    | float_image | the same, of other values than whole ones from 0 to 255 | float32 |
    | table | [samples, features] | float32; NaN is a missing value |
    | series | [samples, time, channels] | float32; NaN is a missing value |
    | tokens | [samples, length], with `vocabulary` | int64; 0 fills up short texts |

    Attributes:
        class_names: names in label order.
        train_images, test_images: the inputs. Images may be an `OnDisk` that reads rows when they
            are used.
        train_labels, test_labels: int64, shape [samples], values 0 to classes - 1.
        val_images, val_labels: the data set's own validation samples, of the same form; None where
            validation is taken out of the training pool.
        vocabulary: number of tokens with the filling one; None for other inputs than tokens.
        notes: what the reader has to say of the data, in the line that says what was read.

    Raises:
        ConfigError: inputs or labels of another type, shape, length or range.
    """

    class_names: tuple[str, ...]
    train_images: Inputs
    train_labels: NDArray[np.int64]
    test_images: Inputs
    test_labels: NDArray[np.int64]
    val_images: Inputs | None = None
    val_labels: NDArray[np.int64] | None = None
    vocabulary: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        def settle(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)  # frozen for everybody else

        settle("class_names", _class_names(self.class_names))
        if (self.val_images is None) != (self.val_labels is None):
            raise ConfigError("data: val_images and val_labels must be given together")
        splits = ("train", "test") if self.val_images is None else ("train", "val", "test")
        inputs, notes = _one_form(
            {split: getattr(self, f"{split}_images") for split in splits}, self.vocabulary
        )
        settle("notes", (*self.notes, *notes))
        for split in splits:
            settle(f"{split}_images", inputs[split])
            given = getattr(self, f"{split}_labels")
            settle(f"{split}_labels", _labels(given, split, len(inputs[split]), self.class_names))
        if len(self.class_names) < 2:
            raise ConfigError(f"data: must have at least 2 classes, found {len(self.class_names)}")
        seen = {split: _in_memory(inputs[split], SAMPLED_FOR_RANGE) for split in splits}
        ranges = {split: _value_range(array) for split, array in seen.items()}
        _check_ranges(ranges, self.kind, self.vocabulary)
        _check_missing(seen["train"])
        settle("_ranges", ranges)
        if self.is_image and (blank := sum(map(_blank, seen.values()))):
            settle("notes", (*self.notes, f"{blank} images have one colour all over"))

    @property
    def kind(self) -> Kind:
        """What the inputs are."""
        if self.vocabulary is not None:
            return "tokens"
        if len(self.train_images.shape) == 4:
            return "image" if self.train_images.dtype == np.uint8 else "float_image"
        return "series" if len(self.train_images.shape) == 3 else "table"

    @property
    def is_image(self) -> bool:
        """Whether the inputs are images, of whatever type."""
        return self.kind in ("image", "float_image")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input: (height, width, channels) of an image, (features,) of a row of
        a table, (time, channels) of a series, (length,) of a text."""
        return tuple(int(side) for side in self.train_images.shape[1:])

    @property
    def on_disk(self) -> bool:
        """Whether rows are read from disk when they are used."""
        return not isinstance(self.train_images, np.ndarray)

    @functools.cached_property
    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel or feature over the training pool; of uint8
        images in units of 1/255, of tokens none.

        They are computed over the pool, not over the imbalanced subset, so that inputs are scaled
        alike at every ratio. Missing values do not count. For images on disk, 2,000 of them spread
        evenly over the pool are used.
        """
        if self.kind == "tokens":
            return [], []
        inputs = _in_memory(self.train_images, SAMPLED_FOR_MEAN)
        if inputs.dtype == np.uint8:
            return _mean_and_std_of_pixels(inputs)
        channels = inputs.shape[-1]
        count, total, squares = np.zeros((3, channels))
        for values in _pieces(inputs):
            values = values.reshape(-1, channels).astype(np.float64)
            count += (~np.isnan(values)).sum(axis=0)
            total += np.nansum(values, axis=0)
        mean = total / count
        for values in _pieces(inputs):
            squares += np.nansum((values.reshape(-1, channels) - mean) ** 2, axis=0)
        std = np.sqrt(squares / count)
        # A constant feature would divide by zero.
        return mean.tolist(), np.where(std > 1e-12, std, 1.0).tolist()

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of the content: class names, labels, and inputs. Of images that are read from
        disk when they are used: file names, sizes, and some of their bytes."""
        digest = hashlib.sha256(json.dumps(self.class_names).encode())
        for labels in (self.train_labels, self.test_labels, self.val_labels):
            if labels is not None:
                digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
        for inputs in (self.train_images, self.test_images, self.val_images):
            if inputs is None:
                continue
            digest.update(str(inputs.shape).encode())
            if isinstance(inputs, np.ndarray):
                digest.update(np.ascontiguousarray(inputs).data)
            else:
                inputs.add_to(digest)
        return digest.hexdigest()[:32]

    def described(self) -> str:
        """What was read, in one line."""
        sizes = [("training", self.train_labels), ("test", self.test_labels)]
        if self.val_labels is not None:
            sizes.insert(1, ("validation", self.val_labels))
        samples = " + ".join(f"{len(labels):,} {name}" for name, labels in sizes)
        low, high = (
            end(values[place] for values in self._ranges.values())  # type: ignore[attr-defined]
            for place, end in ((0, min), (1, max))
        )
        values = f"values {low:g} to {high:g}{' (sampled)' if self.on_disk else ''}"
        shape = self.input_shape
        if self.is_image:
            height, width, channels = shape
            colours = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
            stored = "8 bits" if self.kind == "image" else "floats"
            form = f"images of {height} x {width}, {colours}, {stored}"
        elif self.kind == "table":
            form = f"rows of {shape[0]} features"
        elif self.kind == "series":
            form = f"series of {shape[0]} time steps, {shape[1]} channels"
        else:
            form, values = f"texts of up to {shape[0]} tokens", f"{self.vocabulary} tokens"
        return "; ".join(
            (f"{samples} {form}, {values}, {len(self.class_names)} classes", *self.notes)
        )


def load(component: Part) -> Source:
    """The source that `data.source` names. The last two sources stay in memory, so that the runs of
    a sweep load a source once; what was read is said when it is.

    Args:
        component: `_target_`, the path of a function that returns a `Source`, and its arguments.

    Raises:
        ConfigError: the function refuses its arguments or the data, or returns something else.
    """
    return _load(json.dumps(component, sort_keys=True))


@functools.lru_cache(maxsize=2)
def _load(component: str) -> Source:
    part = json.loads(component)
    try:
        source = build(part, key="data.source")
    except ConfigError:
        raise
    except Exception as error:  # of a function of the user's own, or of what it reads
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"data.source._target_={part['_target_']}: {reason}") from error
    if not isinstance(source, Source):
        raise ConfigError(
            f"data.source._target_={part['_target_']}: must return a skewlab.data.sources.Source, "
            f"not {type(source).__name__}"
        )
    if in_command() or COMMAND_VARIABLE not in os.environ:
        note(f"data: {source.described()}")
    return source


def _class_names(names: Sequence[Any]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ConfigError(f"data: class_names={names!r}: must be a list of names")
    found = tuple(str(name).strip() for name in names)
    twice = next((name for place, name in enumerate(found) if name in found[:place]), None)
    if twice is not None:
        raise ConfigError(f"data: two classes have the name {twice!r}; each needs its own")
    if "" in found:
        raise ConfigError(f"data: class {found.index('')} has an empty name; each needs one")
    return found


def _one_form(
    given: dict[str, Any], vocabulary: int | None
) -> tuple[dict[str, Inputs], tuple[str, ...]]:
    """The inputs of all splits in the form that `Source` promises, and what was done to them."""
    found: dict[str, Any] = {}
    for split, value in given.items():
        disk = hasattr(value, "add_to") and hasattr(value, "shape")
        found[split] = value if disk else _array(value, split)
    notes: list[str] = []
    dimensions = {len(inputs.shape) for inputs in found.values()}
    if len(dimensions) > 1 or not dimensions <= {2, 3, 4}:
        raise ConfigError(
            f"data: inputs of shape {_shapes(found)}: must be [samples, height, width, channels] "
            "of images, [samples, features] of a table, [samples, time, channels] of series, or "
            "[samples, length] of tokens, the same for every split"
        )
    if any(min(inputs.shape) < 1 for inputs in found.values()):
        raise ConfigError(
            f"data: inputs of shape {_shapes(found)}: must have at least one sample, and samples "
            "of at least one pixel or value"
        )
    arrays = {split: x for split, x in found.items() if isinstance(x, np.ndarray)}
    if dimensions == {3} and arrays and all(x.dtype in (np.uint8, bool) for x in arrays.values()):
        found = {split: inputs[..., None] for split, inputs in found.items()}
        dimensions = {4}
    if dimensions == {4} and arrays and all(_channels_first(x.shape) for x in arrays.values()):
        found = {s: np.ascontiguousarray(x.transpose(0, 2, 3, 1)) for s, x in arrays.items()}
        notes.append("channels came first and were put last")
    if len({inputs.shape[1:] for inputs in found.values()}) > 1:
        raise ConfigError(
            f"data: inputs of shape {_shapes(found)}: must have the same shape in every split"
        )
    if len(arrays) == len(found):
        found = _one_type(found, "image" if dimensions == {4} else "other", vocabulary)
    if len({inputs.dtype for inputs in found.values()}) > 1:
        raise ConfigError("data: inputs must have the same type in every split")
    if dimensions == {4}:
        channels, dtype = found["train"].shape[-1], found["train"].dtype
        if dtype == np.uint8 and channels not in (1, 3):
            way = (
                "put transparent pixels on a background and leave alpha out"
                if channels == 4
                else "measurements of other channels are given as floats"
            )
            raise ConfigError(
                f"data: images of shape {_shapes(found)}: must have 1 channel (grey) or 3 "
                f"(colour), not {channels}; {way}"
            )
    return found, tuple(notes)


def _array(value: Any, split: str) -> NDArray[Any]:
    if hasattr(value, "detach"):  # a tensor of PyTorch, on any device
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except Exception as error:  # a ragged list, or whatever a class of its own raises
        reason = " ".join(str(error).split())
        raise ConfigError(f"data: {split} inputs cannot be made an array ({reason})") from error
    if array.dtype == object:
        with contextlib.suppress(TypeError, ValueError):  # None is missing, Decimal a number
            array = array.astype(np.float64)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or np.iscomplexobj(array):
        raise ConfigError(
            f"data: {split} inputs of type {array.dtype}: must be numbers; data=table also reads "
            "columns of text"
        )
    return array


def _channels_first(shape: tuple[int, ...]) -> bool:
    return shape[1] in (1, 3) and shape[3] not in (1, 3)


def _one_type(found: dict[str, Any], form: str, vocabulary: int | None) -> dict[str, Any]:
    """uint8 for images with whole values from 0 to 255, int64 for tokens, float32 for the rest."""
    if vocabulary is not None:
        for split, inputs in found.items():
            if not np.issubdtype(inputs.dtype, np.integer) or inputs.ndim != 2:
                raise ConfigError(
                    f"data: {split} tokens of type {inputs.dtype} and shape {list(inputs.shape)}: "
                    "must be whole numbers, [samples, length]"
                )
        return {split: inputs.astype(np.int64) for split, inputs in found.items()}
    floats = {split: np.issubdtype(x.dtype, np.floating) for split, x in found.items()}
    if form == "image" and len(set(floats.values())) > 1:
        types = ", ".join(f"{split} {inputs.dtype}" for split, inputs in found.items())
        raise ConfigError(f"data: images of type {types}: must have the same type in every split")
    if form == "image" and all(x.dtype == bool for x in found.values()):
        return {split: x.astype(np.uint8) * np.uint8(255) for split, x in found.items()}
    if form == "image" and not any(floats.values()):
        if all(x.dtype == np.uint8 for x in found.values()):
            return found
        if all(x.min() >= 0 and x.max() <= 255 for x in found.values()):
            return {split: x.astype(np.uint8) for split, x in found.items()}
    return {split: _float32(inputs, split) for split, inputs in found.items()}


def _float32(inputs: NDArray[Any], split: str) -> NDArray[np.float32]:
    """As float32, if that keeps apart what differs."""
    if inputs.dtype == np.float32:
        return inputs
    with np.errstate(over="ignore"):
        found = inputs.astype(np.float32)
    if inputs.dtype in (np.float16, np.uint8, np.int8, np.uint16, np.int16, bool):
        return found
    last = inputs.shape[-1]
    for exact, kept in zip(_pieces(inputs), _pieces(found), strict=True):
        exact = exact.reshape(-1, last).astype(np.float64)
        with np.errstate(invalid="ignore"):
            moved = np.nan_to_num(np.abs(exact - kept.reshape(-1, last)), posinf=0).max(axis=0)
            finite = np.where(np.isfinite(exact), exact, np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of columns that are missing
            spread = np.nanmax(finite, axis=0) - np.nanmin(finite, axis=0)
        lost = np.flatnonzero(moved > 1e-3 * spread)
        if len(lost):
            raise ConfigError(
                f"data: {split} inputs of type {inputs.dtype}: values such as "
                f"{exact[0, lost[0]]:.12g} at place {lost[0]} of the last axis differ by less than "
                "32-bit floats hold; subtract a constant, or divide"
            )
    return found


def _shapes(found: dict[str, Any]) -> str:
    return ", ".join(f"{split} {list(inputs.shape)}" for split, inputs in found.items())


def _labels(
    given: Any, split: str, samples: int, class_names: tuple[str, ...]
) -> NDArray[np.int64]:
    """Labels as int64 [samples]."""
    labels = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    said = f"data: {SPLIT_WORDS[split]} labels of type {labels.dtype} and shape"
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    whole = np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool
    if labels.shape != (samples,) or not whole:
        raise ConfigError(
            f"{said} {list(labels.shape)}: must be {samples} whole numbers, one for each sample, "
            "[samples] or [samples, 1]"
        )
    classes = len(class_names)
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise ConfigError(
            f"data: {SPLIT_WORDS[split]} labels must be from 0 to {classes - 1}, found {outside[0]}"
        )
    labels = labels.astype(np.int64)
    empty = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
    if len(empty) and split != "val":  # a rare class may have no sample to validate on
        raise ConfigError(
            f"data: class {class_names[int(empty[0])]} has no {SPLIT_WORDS[split]} sample; "
            "each needs one"
        )
    return labels


def _in_memory(inputs: Inputs, sampled: int) -> NDArray[Any]:
    """The inputs, or of those on disk so many that are spread evenly."""
    if isinstance(inputs, np.ndarray):
        return inputs
    rows = np.linspace(0, len(inputs) - 1, min(sampled, len(inputs))).astype(np.int64)
    return inputs[rows]


def _pieces(inputs: NDArray[Any]) -> Any:
    """The inputs in pieces that bound what is needed beside them."""
    rows = max(1, PIECE // max(1, inputs[0].size))
    return (inputs[start : start + rows] for start in range(0, len(inputs), rows))


def _value_range(array: NDArray[Any]) -> tuple[float, float]:
    """The smallest and the largest value of inputs, infinite ones too, without missing ones."""
    if not np.issubdtype(array.dtype, np.floating):
        return float(array.min()), float(array.max())
    with np.errstate(invalid="ignore"):
        low, high = np.inf, -np.inf
        for piece in _pieces(array):
            if np.isnan(piece).all():
                continue
            low, high = min(low, float(np.nanmin(piece))), max(high, float(np.nanmax(piece)))
    return low, high


def _check_ranges(
    ranges: dict[str, tuple[float, float]], kind: Kind, vocabulary: int | None
) -> None:
    """Refuse values that no network can learn from."""
    images = kind in ("image", "float_image")
    what = "pixel of every {} image" if images else "value of every {} sample"
    for split, (low, high) in ranges.items():
        if low == high:
            raise ConfigError(
                f"data: every {what.format(SPLIT_WORDS[split])} is {low:g}; the files are damaged, "
                "or hold no data"
            )
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ConfigError(
                f"data: {split} inputs have infinite values, or none at all; a missing value is NaN"
            )
        if kind == "tokens" and not (low >= 0 and high < (vocabulary or 0)):
            raise ConfigError(
                f"data: {split} tokens from {low:g} to {high:g}: must be from 0 to "
                f"{(vocabulary or 0) - 1}, the vocabulary's last"
            )
    if not images:
        return
    scales = {split: max(abs(low), abs(high)) for split, (low, high) in ranges.items()}
    if min(scales.values()) <= 1 and max(scales.values()) >= 50:
        said = ", ".join(f"{split} up to {scale:g}" for split, scale in scales.items())
        raise ConfigError(f"data: images with values of {said}: must have the same scale")


def _check_missing(array: NDArray[Any]) -> None:
    """Refuse a feature or a channel that no training sample has."""
    if np.issubdtype(array.dtype, np.floating):
        known = np.zeros(array.shape[-1], dtype=bool)
        for piece in _pieces(array):
            known |= ~np.isnan(piece.reshape(-1, array.shape[-1])).all(axis=0)
        if not known.all():
            raise ConfigError(
                f"data: place {int(np.flatnonzero(~known)[0])} of the inputs' last axis has no "
                "value in any training sample; leave it out"
            )


def _blank(images: NDArray[Any]) -> int:
    """How many images have the same value in every pixel; of images of one pixel none."""
    if images.shape[1] * images.shape[2] == 1:
        return 0
    return sum(
        int((piece.max(axis=(1, 2)) == piece.min(axis=(1, 2))).all(axis=-1).sum())
        for piece in _pieces(images)
    )


def _mean_and_std_of_pixels(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    means, stds = [], []
    values = np.arange(256) / 255.0
    for channel in range(images.shape[-1]):
        share = np.bincount(images[..., channel].ravel(), minlength=256) / images[..., 0].size
        mean = float(share @ values)
        means.append(mean)
        # A constant image would divide by zero.
        stds.append(max(float(share @ (values - mean) ** 2) ** 0.5, 1e-3))
    return means, stds


def file_for_folder(given: str) -> ConfigError:
    """What to say of `key=path` where a part of the path, such as `data_dir`, is a file and no
    folder."""
    key, _, path = given.partition("=")
    file = next(parent for parent in Path(path).parents if parent.is_file())
    return ConfigError(f"{given}: {file} is a file, not a folder; give it as {key}={file}")
