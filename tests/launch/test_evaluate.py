"""What eval.py prints, and what it answers to mistakes."""

from pathlib import Path

import numpy as np
import pytest
from program import forked

from skewlab.launch.evaluate import SHOWN, table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run=/nowhere"], "error: run=/nowhere: must be the folder of a run"),
        (["run=/nowhere", "split=all"], "error: split=all: must be one of train, val, test"),
        (["run=/nowhere", "splti=val"], "error: splti=val: no such key; did you mean split?"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str) -> None:
    answered = forked(*arguments, program="eval.py")
    assert answered.returncode == 2
    assert not answered.stdout
    (line,) = answered.stderr.splitlines()
    assert line.startswith(said)


def saved(path: Path, test: int, names: list[str], seed: int = 0) -> str:
    """The override that chooses made-up images, of which test has the last of the training ones
    too; so many."""
    random = np.random.default_rng(seed)
    images, labels = random.integers(0, 256, (80, 4, 4, 1), dtype=np.uint8), np.arange(80) % 2
    train, held = slice(60), slice(60 - test, 80)
    np.savez(
        path,
        x_train=images[train],
        y_train=labels[train],
        x_test=images[held],
        y_test=labels[held],
        class_names=np.array(names),
    )
    return f"data.source.path={path}"


def test_other_data_are_told_from_those_that_were_trained_on(tmp_path: Path) -> None:
    names = ["left", "right"]
    first = saved(tmp_path / "first.npz", 0, names)
    trained = forked(
        *("data=arrays", first, "ratio=2", "model=mlp", "trainer.max_epochs=1"),
        *("data.val_per_class=5", "logger=none", f"logs_dir={tmp_path / 'logs'}"),
    )
    assert trained.returncode == 0, trained.stderr
    (run,) = (tmp_path / "logs" / "default").glob("arrays-*")

    def evaluated(chosen: str) -> tuple[int, list[str]]:
        ended = forked(f"run={run}", "data=arrays", chosen, program="eval.py")
        lines = ended.stderr.splitlines()
        return ended.returncode, [line for line in lines if not line.startswith("data: ")]

    assert evaluated(saved(tmp_path / "new.npz", 0, names, seed=1)) == (0, [])
    code, said = evaluated(saved(tmp_path / "old.npz", 60, names))
    assert code == 0
    # 30 images a class, of which val has 5; the minority has a half of 25.
    assert said == [
        "38 of the 80 samples of test are among those that the run was trained on, so the scores "
        "are better than on new samples"
    ]
    assert evaluated(saved(tmp_path / "turned.npz", 0, names[::-1])) == (
        2,
        [
            "error: data=arrays: has the run's classes in another order: right, left, and the run "
            "left, right"
        ],
    )


@pytest.mark.parametrize("width", [None, 120, 80, 40])
def test_the_table_fits_the_terminal(width: int | None) -> None:
    """What does not fit is named, and what is shown stands below its own head."""
    scores = {name: np.array([0.25, 0.125]) + k for k, name in enumerate(SHOWN)}
    scores |= {"n": np.array([20.0, 5.0]), "predicted": np.array([15.0, 10.0])}
    groups = {"majority": [0], "minority": [1]}
    lines = list(table(scores, ["tropical depression", "ebb"], groups, width))
    at = next(place for place, line in enumerate(lines) if line.startswith("class"))
    heads, first = lines[at].split(), lines[at + 1].split()
    assert first[:4] == ["tropical", "depression", "majority", "20"]
    assert heads[:3] == ["class", "group", "samples"]
    ends = [name.split("_")[-1] for name in SHOWN]
    shown = heads[3:]
    assert shown == ends[: len(shown)]
    assert [float(cell) for cell in first[4:]] == [0.25 + k for k in range(len(shown))]
    left_out = [line for line in lines if line.startswith("(not shown: ")]
    if width is None or width == 120:
        assert (len(shown), left_out) == (len(SHOWN), [])
    else:
        missing = ", ".join(name.replace("_", " ") for name in SHOWN[len(shown) :])
        assert left_out == [f"(not shown: {missing})"]
    if width in (120, 80):
        assert max(map(len, lines)) <= width
