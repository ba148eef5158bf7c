"""Files of a run that somebody has prepared."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from skewlab.errors import Damaged
from skewlab.runs import reading
from skewlab.runs.reading import read_arrays, read_bytes, read_config, read_json, read_numbers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 400_000 + "]" * 400_000, "nested too deeply"),
        ("- " * 400_000 + "x", "nested too deeply"),
        ("a: &a [x]\nb: *a\n", "holds an alias"),
        ("a: " + "x" * 2_000_000, "has 2000003 bytes"),
        ("a: [1", "is no YAML"),
        ("text", "must hold a configuration"),
        ("a: !!python/object/apply:os.system [ls]", "is no YAML"),
        ("seed: 0", "ratio: Field required"),
    ],
)
def test_a_configuration_that_is_none_is_named(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(Damaged, match=said) as refused:
        read_config(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / 'config.yaml'}: ")
    assert "\n" not in str(refused.value)


def test_a_configuration_of_many_classes_is_one(tmp_path: Path) -> None:
    part = {"name": "x"}
    config = {
        **dict.fromkeys(("ratio", "seed", "data_seed", "init_seed", "order_seed"), 1),
        **dict.fromkeys(("data", "method", "model", "optimizer", "curves", "trainer"), part),
        "imbalance": {"counts": list(range(1, 5001)), "expression": "a*b"},
    }
    text = yaml.safe_dump(config).replace("&id001", "").replace("*id001", "{name: x}")
    (tmp_path / "config.yaml").write_text(text)
    assert read_config(tmp_path)[0] == config


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"{", b"\xff{}", b"[" * 3_000_000, b'{"a": 1} {"b": 2}']
)
def test_json_that_is_no_object_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(Damaged):
        read_json(tmp_path / "a.json")


def test_a_sparse_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(Damaged, match="has 10737418240 bytes"):
        read_json(path)


def test_numbers_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text('{"a": 1, "b": null}')
    found = read_numbers(path)
    assert found["a"] == 1
    assert np.isnan(found["b"])
    for value in ('"1"', "true", "[1]"):
        path.write_text(f'{{"a": {value}}}')
        with pytest.raises(Damaged, match="a must be a number"):
            read_numbers(path)


def declares_terabytes(path: Path) -> None:
    """An array whose header says that it has 58 TiB."""
    np.savez(path, x=np.zeros(3, dtype=np.uint8))
    with zipfile.ZipFile(path) as archive:
        content = archive.read("x.npy")
    header = content.replace(b"(3,), }              ", b"(64000000000000,), } ")
    assert header != content
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header)


def holds_objects(path: Path) -> None:
    np.savez(path, x=np.array([{}], dtype=object))


def is_no_archive(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(100))


@pytest.mark.parametrize("make", [declares_terabytes, holds_objects, is_no_archive])
def test_arrays_that_are_none_are_named(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "samples.npz")
    with pytest.raises(Damaged, match="holds no arrays"):
        read_arrays(tmp_path / "samples.npz")


def test_no_more_is_read_than_a_file_may_have(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    with pytest.raises(Damaged, match="has 10 bytes, more than such a file has"):
        read_bytes(path, most=9)
    assert reading.MOST_JSON_BYTES < reading.MOST_BYTES
