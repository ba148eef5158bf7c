"""What is streamed of probes, and what is told again from disk, by hand."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from skewlab.metrics.scores import (
    METRICS,
    evaluations,
    probe_scalars,
    recall_per_class,
    scalars,
)
from skewlab.runs.curve_file import CurveFile, read_curves

GROUPS = {"majority": (0,), "minority": (1, 2), "few": ()}
NAMES = ("cat", "dog", "eel")


def test_recall_of_each_class_by_hand() -> None:
    predicted, labels = np.array([0, 0, 1, 1, 0]), np.array([0, 1, 1, 1, 3])
    np.testing.assert_array_equal(
        recall_per_class(predicted, labels, 5), [1, 2 / 3, np.nan, 0, np.nan]
    )


def test_what_is_streamed_of_a_probe() -> None:
    named = probe_scalars(
        "gradients",
        {
            "epoch": 1.0,
            "step": 8,
            "probe": "gradients",
            "between": -0.25,
            "rank": 3,
            "within_majority": None,
            "signal/batch": np.array([1.0, 0.5, np.nan]),
            "conflict": np.eye(3),
            "projection/labels": np.zeros(7),
            "name": "not a number",
        },
        GROUPS,
        NAMES,
    )
    expected = {
        "gradients/between": -0.25,
        "gradients/rank": 3.0,
        "gradients/within_majority": np.nan,
        "gradients/signal/batch/majority": 1.0,
        "gradients/signal/batch/minority": 0.5,  # the absent class is left out
        "gradients/signal/batch/few": np.nan,
        "gradients/signal/batch/class/cat": 1.0,
        "gradients/signal/batch/class/dog": 0.5,
        "gradients/signal/batch/class/eel": np.nan,
    }
    assert named == pytest.approx(expected, nan_ok=True)


def test_without_names_there_are_no_single_classes() -> None:
    named = probe_scalars("samples", {"forgetting": np.array([1.0, 2.0, 4.0])}, GROUPS)
    assert set(named) == {f"samples/forgetting/{group}" for group in GROUPS}
    assert named["samples/forgetting/minority"] == 3.0


def test_what_splits_and_probes_say_at_a_step_is_told_together(tmp_path: Path) -> None:
    """Written to disk and read back: what a probe has nested is flat, null is NaN."""
    values = np.array([0.5, 1.0, np.nan])
    metrics = {"n": np.array([4.0, 2.0, 0.0]), **dict.fromkeys(METRICS, values)}
    with closing(CurveFile(tmp_path)) as file:
        file.append(0.0, 0, "train", metrics)
        file.append(0.0, 0, "test", metrics)
        file.append_probe(0.0, 0, "geometry", {"nc1": 2.5, "nc4": {"train": float("nan")}})
        file.append_probe(0.0, 0, "samples", {"forgetting": values})
        file.append_probe(0.25, 1, "gradients", {"between": -1.0})
        file.append(0.5, 2, "test", metrics)
    lines, problems = read_curves(tmp_path)
    assert not problems
    assert [line.get("split", line.get("probe")) for line in lines] == [
        "train",
        "test",
        "geometry",
        "samples",
        "gradients",
        "test",
    ]
    start, between, end = evaluations(lines, GROUPS, NAMES)
    both = scalars({"train": metrics, "test": metrics}, GROUPS, NAMES)
    of_probes = {
        "geometry/nc1": 2.5,
        "geometry/nc4/train": np.nan,
        **probe_scalars("samples", {"forgetting": values}, GROUPS, NAMES),
    }
    assert start == pytest.approx({"epoch": 0, "step": 0, **both, **of_probes}, nan_ok=True)
    assert between == {"epoch": 0.25, "step": 1, "gradients/between": -1.0}
    only_test = scalars({"test": metrics}, GROUPS, NAMES)
    assert end == pytest.approx({"epoch": 0.5, "step": 2, **only_test}, nan_ok=True)


def test_shots_are_groups_of_the_same_classes() -> None:
    """The long tail's many, medium and few do not make the array longer."""
    groups = {**GROUPS, "many": (0,), "medium": (1,), "few": (2,)}
    named = probe_scalars("probe", {"norm": np.array([1.0, 2.0, 4.0])}, groups)
    assert named == {
        "probe/norm/majority": 1.0,
        "probe/norm/minority": 3.0,
        "probe/norm/many": 1.0,
        "probe/norm/medium": 2.0,
        "probe/norm/few": 4.0,
    }
