import io
import os
import shutil
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import refused, save_pictures
from numpy.typing import NDArray
from PIL import Image

from skewlab.data.image_files import ImageFiles
from skewlab.data.sources import image_folder
from skewlab.data.transforms import input_scaling
from skewlab.errors import ConfigError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "pictures")


def save(file: Path, pixels: NDArray[np.generic]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save_everywhere(root: Path, pixels: NDArray[np.generic]) -> None:
    """The same image for both classes of both splits."""
    for place in ("train/a", "train/b", "test/a", "test/b"):
        save(root / place / "1.png", pixels)


def test_classes_and_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    shades = {"b/2.png": 40, "a/10.png": 10, "c/1.png": 50, "b/1.png": 30, "a/9.png": 20}
    for split in ("train", "test"):
        for place, shade in shades.items():
            save(tmp_path / split / place, np.full((4, 4), shade, np.uint8))
    (tmp_path / "train" / "a" / "notes.txt").write_text("no image")
    source = image_folder(str(tmp_path))
    assert source.class_names == ("a", "b", "c")
    assert source.train_labels.tolist() == source.test_labels.tolist() == [0, 0, 1, 1, 2]
    assert source.train_images[:, 0, 0, 0].tolist() == [10, 20, 30, 40, 50]


def test_pixels_are_those_of_the_files(pictures: Path) -> None:
    source = image_folder(str(pictures))
    assert source.input_shape == (8, 8, 3)
    assert source.train_images.shape == (50, 8, 8, 3)
    with Image.open(pictures / "train" / "dog" / "07.png") as picture:
        np.testing.assert_array_equal(source.train_images[37], np.asarray(picture))


def test_jpeg_is_read(tmp_path: Path) -> None:
    colour = np.full((8, 8, 3), (200, 100, 30), np.uint8)
    for place in ("train/a", "train/b", "test/a", "test/b"):
        save(tmp_path / place / "1.JPG", colour)
    # JPEG keeps a constant colour to rounding.
    np.testing.assert_allclose(image_folder(str(tmp_path)).train_images[0], colour, atol=2)


def test_gray_images_stay_one_channel(tmp_path: Path) -> None:
    pixels = noise(6, 7)
    save_everywhere(tmp_path, pixels)
    source = image_folder(str(tmp_path))
    assert source.input_shape == (6, 7, 1)
    np.testing.assert_array_equal(source.train_images[0, ..., 0], pixels)


@pytest.mark.parametrize(
    ("suffix", "pixels"),
    [
        ("png", np.arange(64, dtype=np.uint16)),  # 8 bits in 16, as scanners write
        ("png", np.arange(64, dtype=np.uint16) * 65),  # 12 bits
        ("tif", np.arange(64, dtype=np.uint16) * 1040),
        ("tif", np.arange(64, dtype=np.int32) * 100_000 - 5),
        ("tif", np.linspace(-1, 1, 64, dtype=np.float32)),
        ("pgm", np.arange(64, dtype=np.uint16) * 1040),
    ],
)
def test_values_of_more_than_8_bits_are_kept_as_floats(
    suffix: str, pixels: NDArray[np.generic], tmp_path: Path
) -> None:
    pixels = pixels.reshape(8, 8)
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / place).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / place / f"1.{suffix}")
    source = image_folder(str(tmp_path))
    assert source.kind == "float_image"
    np.testing.assert_array_equal(source.train_images[1, ..., 0], pixels)
    assert f"values {pixels.min():g} to {pixels.max():g}" in source.described()


def test_16_bits_with_values_of_8_give_the_same_network_input(tmp_path: Path) -> None:
    digits = noise(5, 8, 8)
    for bits in (np.uint8, np.uint16):
        for number, digit in enumerate(digits):
            for place in ("train/a", "train/b", "test/a", "test/b"):
                save(tmp_path / bits.__name__ / place / f"{number}.png", digit.astype(bits))
    inputs = []
    for bits in ("uint8", "uint16"):
        source = image_folder(str(tmp_path / bits))
        scaling = input_scaling(source.kind, source.input_shape, *source.mean_and_std)
        inputs.append(scaling(torch.from_numpy(source.train_images)))
    torch.testing.assert_close(inputs[0], inputs[1])


def test_a_grey_file_that_sorts_first_leaves_the_others_their_colours(tmp_path: Path) -> None:
    save_everywhere(tmp_path, noise(8, 8, 3))
    save(tmp_path / "train" / "a" / "0.png", grey := noise(8, 8, seed=1))
    source = image_folder(str(tmp_path))
    np.testing.assert_array_equal(source.train_images[1], noise(8, 8, 3))
    np.testing.assert_array_equal(source.train_images[0], np.stack([grey] * 3, axis=-1))
    assert "1 grey files among colour get three equal channels" in source.described()


def test_transparent_pixels_need_a_background(tmp_path: Path) -> None:
    """The colours below them are seen by nobody, and here they tell the classes apart."""
    hidden = np.full((4, 4, 4), (250, 0, 0, 255), np.uint8)
    hidden[1:3, 1:3] = (0, 250, 0, 0)
    save_everywhere(tmp_path, hidden)
    message = refused(lambda: image_folder(str(tmp_path), memory_gib=0))
    assert message.startswith("data.source.background=null:")
    assert "1.png has transparent pixels" in message
    white = image_folder(str(tmp_path), background="white").train_images[0]
    assert white[1, 1].tolist() == [255, 255, 255]
    assert white[0, 0].tolist() == [250, 0, 0]
    half = np.full((4, 4, 2), (100, 51), np.uint8)  # a fifth opaque
    half[0, 0] = (7, 255)
    save_everywhere(tmp_path, half)
    black = image_folder(str(tmp_path), background="black")
    assert black.input_shape == (4, 4, 1)
    assert black.train_images[0, :, :, 0].ravel()[:2].tolist() == [7, 20]


def test_photographs_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    pixels = noise(6, 9, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    save_everywhere(tmp_path, np.rot90(pixels, -1).copy())
    turned = tmp_path / "train" / "b" / "2.png"
    Image.fromarray(pixels).save(turned, exif=exif)
    source = image_folder(str(tmp_path))
    np.testing.assert_array_equal(source.train_images[2], source.train_images[0])
    assert "1 turned as their EXIF says" in source.described()


def test_what_is_no_sample_is_passed_over_and_said(pictures: Path) -> None:
    shutil.copytree(pictures / "train" / "cat", pictures / "train" / "cat" / ".ipynb_checkpoints")
    (pictures / "train" / ".ipynb_checkpoints").mkdir()
    (pictures / "train" / "dog" / "._00.png").write_bytes(b"no image")
    (pictures / "train" / "dog" / "Thumbs.db").write_bytes(b"no image")
    source = image_folder(str(pictures))
    assert source.class_names == ("cat", "dog")
    assert np.bincount(source.train_labels).tolist() == [30, 20]
    assert "4 files or folders passed over (" in source.described()


def test_own_validation_folder(pictures: Path) -> None:
    save(pictures / "val" / "dog" / "1.png", mine := noise(8, 8, 3, seed=5))
    source = image_folder(str(pictures))
    assert source.val_images is not None
    np.testing.assert_array_equal(source.val_images[0], mine)
    assert source.val_labels is not None
    assert source.val_labels.tolist() == [1]
    assert "50 training + 1 validation + 10 test" in source.described()
    save(pictures / "val" / "cow" / "1.png", mine)
    assert "train/ and val/ must hold the same classes, not ['cow']" in refused(
        lambda: image_folder(str(pictures))
    )


def test_transparent_and_palette_images_become_three_channels(tmp_path: Path) -> None:
    rgba = np.full((4, 4, 4), (9, 90, 200, 255), np.uint8)
    save_everywhere(tmp_path, rgba)
    Image.fromarray(rgba[..., :3]).quantize().save(tmp_path / "test" / "b" / "1.png")
    source = image_folder(str(tmp_path))
    np.testing.assert_array_equal(source.train_images[0], rgba[..., :3])
    np.testing.assert_array_equal(source.test_images[1], rgba[..., :3])


def test_image_size_cuts_the_centre_of_the_longer_side(tmp_path: Path) -> None:
    pixels = noise(8, 16, 3)
    save_everywhere(tmp_path, pixels)
    source = image_folder(str(tmp_path), image_size=8)
    np.testing.assert_array_equal(source.train_images[0], pixels[:, 4:12])


def test_image_size_scales(tmp_path: Path) -> None:
    quadrants = np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((8, 8), np.uint8))
    save_everywhere(tmp_path, quadrants)
    small = image_folder(str(tmp_path), image_size=4).train_images[0, ..., 0]
    assert small.shape == (4, 4)
    assert small[::3, ::3].tolist() == [[0, 80], [160, 240]]
    assert small.mean() == pytest.approx(quadrants.mean(), abs=1)


def test_image_size_makes_different_sizes_one(tmp_path: Path) -> None:
    save_everywhere(tmp_path, noise(8, 8))
    save(tmp_path / "train" / "b" / "2.png", noise(20, 9))
    assert image_folder(str(tmp_path), image_size=5).train_images.shape == (3, 5, 5, 1)


def test_on_disk_equals_decoded(pictures: Path) -> None:
    decoded = image_folder(str(pictures))
    on_disk = image_folder(str(pictures), memory_gib=0)
    assert isinstance(decoded.train_images, np.ndarray)
    assert isinstance(on_disk.train_images, ImageFiles)
    rows = np.array([49, 3, 3, 30])
    np.testing.assert_array_equal(on_disk.train_images[rows], decoded.train_images[rows])
    np.testing.assert_array_equal(on_disk.train_labels, decoded.train_labels)
    assert on_disk.class_names == decoded.class_names
    assert on_disk.input_shape == decoded.input_shape
    np.testing.assert_allclose(on_disk.mean_and_std, decoded.mean_and_std)


# What is refused.


def test_different_sizes_are_refused_without_image_size(tmp_path: Path) -> None:
    save_everywhere(tmp_path, noise(8, 8))
    save(tmp_path / "train" / "b" / "2.png", noise(6, 9))
    message = refused(lambda: image_folder(str(tmp_path)))
    assert message.startswith("data.source.image_size=null:")
    assert "2.png is 9 x 6 pixels and " in message
    assert "1.png is 8 x 8" in message


def test_other_size_of_the_test_set_is_refused(tmp_path: Path) -> None:
    save_everywhere(tmp_path, noise(8, 8))
    for name in ("a", "b"):
        save(tmp_path / "test" / name / "1.png", noise(6, 6))
    message = refused(lambda: image_folder(str(tmp_path)))
    assert "is 8 x 8" in message
    assert "is 6 x 6" in message
    assert message.startswith("data.source.image_size=null")


def test_colour_in_one_split_alone_makes_all_colour(tmp_path: Path) -> None:
    save_everywhere(tmp_path, noise(8, 8))
    for name in ("a", "b"):
        save(tmp_path / "test" / name / "1.png", noise(8, 8, 3))
    assert image_folder(str(tmp_path)).input_shape == (8, 8, 3)


def save_tiff_pages(file: Path) -> None:
    pages = [Image.fromarray(noise(8, 8, seed=seed)) for seed in range(3)]
    pages[0].save(file, save_all=True, append_images=pages[1:])


def save_colour_of_16_bits(file: Path) -> None:
    """A PNG of 16 bits a channel, whose values Pillow would divide by 256."""
    rows = b"".join(b"\0" + bytes([0, 200] * 24) for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (save_tiff_pages, "holds 3 images, of which one would be read"),
        (save_colour_of_16_bits, "16 bits a channel, of which Pillow keeps 8"),
        (
            lambda file: Image.fromarray(noise(8, 8).astype(np.uint16)).save(file, "png"),
            "has more than 8 bits a pixel and",
        ),
        (
            lambda file: file.write_bytes(b"P6 8 8 65535\n" + bytes([0, 200] * 192)),
            "16 bits a channel, of which Pillow keeps 8",
        ),
    ],
)
def test_what_would_lose_something_is_refused(
    write: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    save_everywhere(tmp_path, noise(8, 8))
    write(odd := tmp_path / "train" / "a" / "2.tif")
    message = refused(lambda: image_folder(str(tmp_path)))
    assert said in message
    assert str(odd) in message


def test_whole_numbers_that_floats_do_not_hold_are_refused(tmp_path: Path) -> None:
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / place).mkdir(parents=True)
        Image.fromarray(np.arange(2**24, 2**24 + 64, dtype=np.int32).reshape(8, 8)).save(
            tmp_path / place / "1.tif"
        )
    assert "floats of 32 bits lose digits" in refused(lambda: image_folder(str(tmp_path)))


def test_image_size_below_1_is_refused(pictures: Path) -> None:
    message = refused(lambda: image_folder(str(pictures), image_size=0))
    assert message.startswith("data.source.image_size=0:")


def test_class_folder_without_image_is_refused(pictures: Path) -> None:
    (pictures / "train" / "bird").mkdir()
    (pictures / "train" / "bird" / "notes.txt").touch()
    message = refused(lambda: image_folder(str(pictures)))
    assert message.startswith(f"data_dir={pictures}: {pictures / 'train' / 'bird'} holds no image")


def test_class_of_one_split_only_is_named(pictures: Path) -> None:
    save(pictures / "test" / "bird" / "1.png", noise(8, 8, 3))
    message = refused(lambda: image_folder(str(pictures)))
    assert message == f"data_dir={pictures}: train/ and test/ must hold the same classes, " + (
        "not ['bird']"
    )


def test_missing_folder_is_named(tmp_path: Path) -> None:
    message = refused(lambda: image_folder(str(tmp_path / "nowhere")))
    assert message.startswith(f"data_dir={tmp_path / 'nowhere'}:")
    assert "train/<class>/" in message


def test_folder_without_classes_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "train" / "1.png", noise(8, 8))
    message = refused(lambda: image_folder(str(tmp_path)))
    assert message == f"data_dir={tmp_path}: {tmp_path / 'train'} holds no class folder"


def test_text_named_as_image_is_refused(pictures: Path) -> None:
    text = pictures / "train" / "cat" / "00.png"  # the first: seen without decoding the others
    text.write_text("no image")
    assert str(text) in refused(lambda: image_folder(str(pictures), memory_gib=0))


@pytest.mark.parametrize("suffix", ["png", "jpeg", "bmp", "ppm", "tiff", "webp"])
@pytest.mark.parametrize("share", [0.0, 0.005, 0.1, 0.5, 0.9])
def test_cut_off_image_is_refused(suffix: str, share: float, pictures: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(noise(24, 24, 3)).save(whole, suffix)
    damaged = pictures / "train" / "dog" / f"99.{suffix}"
    damaged.write_bytes(whole.getvalue()[: int(share * len(whole.getvalue()))])
    assert str(damaged) in refused(lambda: image_folder(str(pictures)))
    assert str(damaged) in refused(
        lambda: image_folder(str(pictures), memory_gib=0).train_images[np.array([50])]
    )


def test_black_and_white_images_are_gray(tmp_path: Path) -> None:
    bits = noise(6, 7) > 127
    save_everywhere(tmp_path, bits)  # one bit a pixel
    source = image_folder(str(tmp_path))
    assert source.input_shape == (6, 7, 1)
    np.testing.assert_array_equal(source.train_images[0, ..., 0], 255 * bits)


# Files in a folder that others can write to.


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def bomb(file: Path, side: int) -> None:
    """A white PNG of so many pixels squared, in a file of some hundred kilobytes."""
    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(bytes(1 + side // 8)) for _ in range(side)) + packed.flush()

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks))


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
(/tmp/started) (w) file closefile
showpage
"""


@pytest.mark.parametrize("place", ["00", "99"])  # the first is opened by itself
@pytest.mark.parametrize(
    "kind", ["bomb", "eps", "pipe", "folder", "device", "dangling", "circle", "socket"]
)
def test_what_is_no_image_file_is_one_line_with_its_name(
    kind: str, place: str, pictures: Path
) -> None:
    odd = pictures / "train" / "cat" / f"{place}.png"
    odd.unlink(missing_ok=True)
    if kind == "bomb":
        bomb(odd, 20_000)
    elif kind == "eps":
        odd.write_bytes(EPS)
    elif kind == "pipe":
        os.mkfifo(odd)
    elif kind == "folder":
        odd.mkdir()
    elif kind == "device":
        odd.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            (here := pictures / "s").touch()
            here.unlink()
            bound.bind(str(here))
        here.rename(odd)
    else:
        odd.symlink_to(odd if kind == "circle" else pictures / "nowhere.png")
    for memory_gib in (4.0, 0.0):
        said = refused(
            lambda: image_folder(str(pictures), memory_gib=memory_gib, follow_links=True)  # noqa: B023
        )
        assert str(odd) in said


def test_no_other_program_is_started_for_an_image(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow gives an EPS to Ghostscript, whatever the file's name."""
    (pictures / "gs").write_text(f"#!/bin/sh\ntouch {pictures / 'started'}\n")
    (pictures / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(pictures), prepend=os.pathsep)
    (pictures / "train" / "cat" / "00.png").write_bytes(EPS)
    refused(lambda: image_folder(str(pictures)))
    assert not (pictures / "started").exists()


def test_other_peoples_warnings_are_left_alone() -> None:
    """Whoever imports skewlab into a project of their own keeps their warnings."""
    script = (
        "import warnings\n"
        "from PIL import Image; import skewlab.data.image_files\n"
        "print(not [f for f in warnings.filters if f[2] is Image.DecompressionBombWarning])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_an_image_replaced_by_a_pipe_after_it_was_listed(pictures: Path) -> None:
    images = image_folder(str(pictures), memory_gib=0).train_images
    (replaced := pictures / "train" / "cat" / "03.png").unlink()
    os.mkfifo(replaced)
    assert str(replaced) in refused(lambda: images[np.array([3])])


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root reads all")
@pytest.mark.parametrize("closed", ["train/cat/07.png", "train/cat", "train"])
def test_what_may_not_be_read_is_named(closed: str, pictures: Path) -> None:
    """Without root's right to read everything."""
    (pictures / closed).chmod(0)
    script = (
        "import sys; from skewlab.data.sources import image_folder\n"
        "try: image_folder(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    rights = "-dac_override,-dac_read_search"
    other = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
    other = other if os.geteuid() == 0 else []
    read = subprocess.run(
        [*other, sys.executable, "-c", script, str(pictures)], capture_output=True, text=True
    )
    assert read.stdout.startswith("ConfigError data_dir"), read.stderr
    assert str(pictures / closed) in read.stdout
    assert "Permission denied" in read.stdout
    assert read.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("train/cat/99.png", "secret/1.png"),
        ("train/cat/more", "secret"),
        ("train/cow", "secret"),
        ("test", "elsewhere"),
    ],
)
def test_links_out_of_the_folder_are_followed_only_if_asked(
    link: str, target: str, pictures: Path
) -> None:
    for name in ("cat", "dog"):
        save(pictures.parent / "elsewhere" / name / "1.png", noise(8, 8, 3))
    save(pictures.parent / "secret" / "1.png", noise(8, 8, 3, seed=1))
    place = pictures / link
    if place.exists():
        shutil.rmtree(place)
    # Relative, and by a way that begins inside.
    place.symlink_to(Path("../" * link.count("/")) / "train" / ".." / ".." / target)
    message = refused(lambda: image_folder(str(pictures)))
    assert message.startswith(f"data.source.follow_links=false: {place} is a link out of")
    if link == "train/cow":
        (pictures / "test" / "cow").symlink_to(place)
    followed = image_folder(str(pictures), follow_links=True)
    assert (
        len(followed.train_images) + len(followed.test_images)
        == 60
        + {
            "train/cat/99.png": 1,
            "train/cat/more": 1,
            "train/cow": 2,
            "test": -8,
        }[link]
    )


def test_links_within_the_folder_and_to_it_are_as_good_as_files(pictures: Path) -> None:
    (pictures / "train" / "cat" / "99.png").symlink_to("00.png")
    (pictures / "train" / "cat" / "more").symlink_to("../dog")
    pictures.rename(pictures.parent / "real")
    pictures.symlink_to("real")
    source = image_folder(str(pictures))
    assert np.bincount(source.train_labels).tolist() == [30 + 1 + 20, 20]


def test_links_in_a_circle_are_named(pictures: Path) -> None:
    (pictures / "train" / "cat" / "again").symlink_to("..")
    assert str(pictures / "train" / "cat" / "again") in refused(lambda: image_folder(str(pictures)))


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize("suffix", ["png", "jpeg", "bmp", "ppm", "tiff", "webp"])
def test_damaged_bytes_are_an_image_or_one_line(suffix: str, pictures: Path) -> None:
    """Pillow has many kinds of errors for them."""
    whole = io.BytesIO()
    Image.fromarray(noise(24, 24, 3)).save(whole, suffix)
    content = np.frombuffer(whole.getvalue(), np.uint8)
    damaged = pictures / "train" / "dog" / f"99.{suffix}"
    damaged.write_bytes(whole.getvalue())
    images = image_folder(str(pictures), image_size=8, memory_gib=0).train_images
    random = np.random.default_rng(0)
    said = set()
    for _ in range(200):
        changed = content.copy()
        places = random.integers(0, min(len(content), 200), 4)
        changed[places] = random.integers(0, 256, 4)
        damaged.write_bytes(changed.tobytes())
        try:
            images[np.array([50])]
        except ConfigError as error:
            said.add(str(error))
    assert said
    assert all(str(damaged) in line and "\n" not in line for line in said)
