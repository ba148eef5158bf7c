"""MNIST, FashionMNIST, CIFAR10, CIFAR100 and SVHN, downloaded by torchvision."""

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.data.sources.npz import sha256
from skewlab.data.sources.source import Source
from skewlab.errors import ConfigError

# A download fails after this many seconds without an answer.
DOWNLOAD_TIMEOUT = 20.0
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
    for split, size, expected in zip((train, test), (60_000, 10_000), labels_sha256, strict=True):
        images, labels = _as_rows(split.data), _labels_of(split)
        if (
            images.shape != (size, 28, 28, 1)
            or abs(images.mean() / 255 - mean) > 0.005
            or sha256(labels.astype(np.uint8)) != expected
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


def _as_rows(images: Any) -> NDArray[np.uint8]:
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
