"""A run's curves on disk, read by hand."""

import contextlib
import json
from pathlib import Path

import numpy as np

from skewlab.runs.curve_file import CurveFile, length, read_curves

METRICS = {"n": np.array([3.0, 0.0]), "recall": np.array([1 / 3, np.nan])}


def texts(folder: Path) -> list[str]:
    return (folder / "curves.jsonl").read_text().splitlines()


def test_a_line_is_json_with_whole_counts_and_null_for_what_is_absent(tmp_path: Path) -> None:
    with contextlib.closing(CurveFile(tmp_path)) as file:
        file.append(0.5, 2, "test", METRICS)
        file.append_probe(1.0, 4, "geometry", {"nc1": np.float32(0.25), "nc4": {"train": 1.0}})
        assert file.position == length(tmp_path) > 0, "on disk at once"
    first, second = texts(tmp_path)
    assert first == ('{"epoch":0.5,"step":2,"split":"test","n":[3,0],"recall":[0.333333333,null]}')
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


def test_lines_that_are_not_whole_are_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    assert read_curves(tmp_path) == ([], [f"{path}: not there"])
    assert length(tmp_path) == 0
    whole = '{"epoch":1.0,"step":4,"split":"test","recall":[1.0,0.5]}'
    path.write_text(f'{whole}\n{{"epoch":1.0,"step":4}}\n{whole[:-9]}')
    lines, problems = read_curves(tmp_path)
    assert [line["step"] for line in lines] == [4]
    assert problems == [
        f"{path}: line {number} is not a whole record; left out" for number in (2, 3)
    ]
