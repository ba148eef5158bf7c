"""When curves are evaluated."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from program import TINY
from trained import train_at

from skewlab.runs import json_file as json_file
from skewlab.runs.curve_file import read_curves
from skewlab.training.curves import early_steps


def test_early_steps_by_hand() -> None:
    assert early_steps(steps_per_epoch=8, epochs=2, points=5) == {1, 2, 4, 8, 16}
    assert early_steps(steps_per_epoch=8, epochs=0, points=5) == set()
    assert early_steps(steps_per_epoch=8, epochs=2, points=0) == set()


@given(st.integers(1, 500), st.integers(1, 5), st.integers(2, 40))
def test_early_steps_reach_from_the_first_to_the_last(
    steps_per_epoch: int, epochs: int, points: int
) -> None:
    steps = early_steps(steps_per_epoch, epochs, points)
    assert min(steps) == 1
    assert max(steps) == steps_per_epoch * epochs
    assert len(steps) <= points


def test_each_pass_is_of_its_split_alone(tmp_path: Path) -> None:
    """Not of what an earlier pass has seen, of another split or at another time."""
    run = train_at(tmp_path, *TINY, "ratio=5", "model=mlp", "model.hidden=[8]", "logger=none")
    lines, _ = read_curves(run.path)
    counts = json_file.read(run.path / "data.json")
    splits = {line["split"] for line in lines}
    assert splits == {"train", "val", "test"}
    assert len(lines) > 2 * len(splits)
    for line in lines:
        assert line["n"].tolist() == counts[f"{line['split']}_counts"]
        assert line["confusion"].sum(1).tolist() == line["n"].tolist()
