"""A run's curves on disk, read by hand."""

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from skewlab.runs.curve_file import CurveFile, begins_with, last_step, read_curves

METRICS = {
    "n": np.array([3.0, 0.0]),
    "loss": np.array([0.5, np.nan]),
    "recall": np.array([1 / 3, np.nan]),
}


def length(folder: Path) -> int:
    return (folder / "curves.jsonl").stat().st_size


def texts(folder: Path) -> list[str]:
    return (folder / "curves.jsonl").read_text().splitlines()


def test_a_line_is_json_with_whole_counts_and_null_for_what_is_absent(tmp_path: Path) -> None:
    with contextlib.closing(CurveFile(tmp_path)) as file:
        file.append(0.5, 2, "test", METRICS)
        file.append_probe(1.0, 4, "geometry", {"nc1": np.float32(0.25), "nc4": {"train": 1.0}})
        assert file.position == length(tmp_path) > 0, "on disk at once"
    first, second = texts(tmp_path)
    assert first == (
        '{"epoch":0.5,"step":2,"split":"test","n":[3,0],"loss":[0.5,null],'
        '"recall":[0.333333333,null]}'
    )
    assert json.loads(second) == {
        **{"epoch": 1.0, "step": 4, "probe": "geometry", "nc1": 0.25, "nc4": {"train": 1.0}}
    }
    (split, probe), problems = read_curves(tmp_path)
    assert not problems
    assert (split["epoch"], split["step"], split["split"]) == (0.5, 2, "test")
    np.testing.assert_allclose(split["recall"], [1 / 3, np.nan])
    assert probe["nc4/train"] == 1.0


def test_a_run_that_goes_on_keeps_what_its_checkpoint_knows(tmp_path: Path) -> None:
    with contextlib.closing(CurveFile(tmp_path)) as file:
        file.append(0.0, 0, "test", METRICS)
        known = file.position
        file.append(1.0, 4, "test", METRICS)
    with contextlib.closing(CurveFile(tmp_path, keep=known)) as file:
        assert file.position == known
        file.append(2.0, 8, "test", METRICS)
    assert [json.loads(text)["step"] for text in texts(tmp_path)] == [0, 8]
    with contextlib.closing(CurveFile(tmp_path)):
        assert length(tmp_path) == 0, "a run that begins again keeps nothing"


def test_a_process_that_was_taken_for_dead_writes_to_the_old_file(tmp_path: Path) -> None:
    old = CurveFile(tmp_path)
    with contextlib.closing(CurveFile(tmp_path)) as new:
        new.append(1.0, 4, "test", METRICS)
        old.append(9.0, 99, "test", METRICS)
    old.close()
    assert [json.loads(text)["step"] for text in texts(tmp_path)] == [4]


def test_a_checkpoint_knows_its_curves(tmp_path: Path) -> None:
    with contextlib.closing(CurveFile(tmp_path)) as file:
        file.append(0.0, 0, "test", METRICS)
        position, sha256 = file.position, file.sha256
        assert sha256 == hashlib.sha256((tmp_path / "curves.jsonl").read_bytes()).hexdigest()
        file.append(1.0, 4, "test", METRICS)
    assert begins_with(tmp_path, position, sha256)
    assert last_step(tmp_path) == {"lines": 2, "last_step": 4}
    with contextlib.closing(CurveFile(tmp_path, keep=position)) as file:
        assert file.sha256 == sha256
    path = tmp_path / "curves.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert not begins_with(tmp_path, position, sha256), "it is shorter"
    path.write_bytes(content.replace(b"0.5", b"0.6"))
    assert not begins_with(tmp_path, position, sha256), "it has another digit"


WHOLE = {"epoch": 1.0, "step": 4, "split": "test", "n": [3, 1], "loss": [1, 2], "recall": [1, 0.5]}


@pytest.mark.parametrize(
    "other",
    [
        {"recall": [1.0]},
        {"recall": [1.0, 7.0]},
        {"recall": None},
        {"recall": [[1.0, 0.5]]},
        {"f1": ["high", "low"]},
        {"f1": [1.0, 0.5, 0.5]},
        {"step": "4"},
        {"step": -4},
        {"step": 10**30},
        {"epoch": None},
        {"split": 3},
        {"probe": "geometry"},
        {"more": "text"},
    ],
)
def test_a_line_that_is_no_record_is_left_out_and_named(
    tmp_path: Path, other: dict[str, object]
) -> None:
    path = tmp_path / "curves.jsonl"
    path.write_text(f"{json.dumps(WHOLE)}\n{json.dumps(WHOLE | other)}\n")
    lines, problems = read_curves(tmp_path, classes=2)
    assert [line["step"] for line in lines] == [4]
    (problem,) = problems
    assert problem.startswith(f"{path}: line 2 is no whole record; left out (")


def test_lines_that_are_not_whole_are_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    assert read_curves(tmp_path) == ([], [f"{path}: is not there"])
    whole = json.dumps(WHOLE).encode()
    bad = (b'{"epoch":1.0,"step":4}', b"null", b"\xff\xfe", b"[" * 5000, whole[:-9])
    path.write_bytes(b"\n".join((whole, *bad)))
    lines, problems = read_curves(tmp_path)
    assert [line["step"] for line in lines] == [4]
    assert [problem.partition(";")[0] for problem in problems] == [
        f"{path}: line {number} is no whole record" for number in range(2, 7)
    ]
