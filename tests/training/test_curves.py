"""When curves are evaluated."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from program import TINY
from sklearn.metrics import confusion_matrix
from trained import train_at

from skewlab.data.sources import mnist5k
from skewlab.probes.steps import log_spaced
from skewlab.runs.curve_file import read_curves
from skewlab.runs.predictions import read_predictions
from skewlab.runs.reading import read_data


def test_log_spaced_steps_by_hand() -> None:
    assert log_spaced(16, 5) == {1, 2, 4, 8, 16}
    assert log_spaced(16, 1) == {1}
    assert log_spaced(0, 5) == set()
    assert log_spaced(16, 0) == set()


@given(st.integers(1, 2500), st.integers(2, 40))
def test_log_spaced_steps_reach_from_the_first_to_the_last(last: int, points: int) -> None:
    steps = log_spaced(last, points)
    assert min(steps) == 1
    assert max(steps) == last
    assert len(steps) <= points


def test_each_pass_is_of_its_split_alone(tmp_path: Path) -> None:
    """Not of what an earlier pass has seen, of another split or at another time."""
    run = train_at(tmp_path, *TINY, "ratio=5", "model=mlp", "model.hidden=[8]", "logger=none")
    lines, _ = read_curves(run.path)
    counts = read_data(run.path)
    splits = {line["split"] for line in lines}
    assert splits == {"train", "val", "test"}
    assert len(lines) > 2 * len(splits)
    for line in lines:
        assert line["n"].tolist() == counts[f"{line['split']}_counts"]
        assert line["confusion"].sum(1).tolist() == line["n"].tolist()
    # What is kept of each test sample makes the last line's confusion matrix.
    found = read_predictions(run.path, len(counts["class_names"]))
    last = next(line for line in reversed(lines) if line["split"] == "test")
    kept = confusion_matrix(found["label"], found["predicted"], labels=range(len(last["n"])))
    assert kept.tolist() == last["confusion"].tolist()
    source = mnist5k("data")
    np.testing.assert_array_equal(found["label"], source.test_labels)
    assert run.status()["files"]["predictions.npz"]
