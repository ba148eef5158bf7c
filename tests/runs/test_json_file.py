import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from skewlab.runs.json_file import as_json, clear_leftovers, write
from skewlab.runs.reading import read_json

scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


def strictly(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(name)  # NaN and Infinity, which JSON does not have

    return json.loads(text, parse_constant=refuse)


def alike(found: Any, given_: Any) -> bool:
    if isinstance(given_, float):
        if not math.isfinite(given_):
            return found is None
        return isinstance(found, float) and math.isclose(found, given_, rel_tol=1e-8)
    if isinstance(given_, list):
        return len(found) == len(given_) and all(map(alike, found, given_))
    if isinstance(given_, dict):
        return found.keys() == given_.keys() and all(alike(found[k], given_[k]) for k in given_)
    return type(found) is type(given_) and found == given_


@given(values)
def test_a_strict_reader_gets_every_value_back(value: Any) -> None:
    assert alike(strictly(json.dumps(as_json(value), allow_nan=False)), value)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_is_kept_exactly(value: float) -> None:
    assert np.float32(as_json(np.float32(value))) == np.float32(value)


def test_numbers_of_numpy_are_written_as_numbers(tmp_path: Path) -> None:
    given_ = {
        "array": np.array([[1.5, np.nan], [np.inf, 2.0]]),
        "int": np.int64(3),
        "bool": np.bool_(True),
        "float": np.float64(0.25),
        "tuple": (np.float32(0.5), "a"),
    }
    write(tmp_path / "one.json", given_)
    read = strictly((tmp_path / "one.json").read_text())
    assert read == {
        "array": [[1.5, None], [None, 2.0]],
        "int": 3,
        "bool": True,
        "float": 0.25,
        "tuple": [0.5, "a"],
    }
    assert type(read["bool"]) is bool


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", "pass"])
    killed.wait()
    left = (f".page.html.{killed.pid}", f".page.html.{os.getpid()}", ".hidden", "page.html.1")
    for name in left:
        (tmp_path / name).touch()
    (tmp_path / f".folder.{killed.pid}").mkdir()
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*left[1:], f".folder.{killed.pid}"]
    )


def test_a_file_name_that_is_no_utf8_comes_back(tmp_path: Path) -> None:
    """Python holds its odd bytes as lone surrogates, which strict readers of JSON refuse."""
    name = os.fsdecode(b"caf\xe9")
    write(tmp_path / "status.json", {"command": [name]})
    assert read_json(tmp_path / "status.json") == {"command": [name]}
