"""Figures from the tidy frame: what they draw, and what they refuse to average."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import make_run, rises
from matplotlib.colors import to_hex
from scipy import stats

import skewlab.report
from skewlab.report import plot

ENDS = (0.2, 0.4, 0.9)


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    study = tmp_path_factory.mktemp("study")
    for method, worse in (("ce", 0.0), ("focal", 0.1)):
        for ratio in (1, 100):
            for seed, end in enumerate(ENDS):
                make_run(
                    study,
                    ratio=ratio,
                    seed=seed,
                    method=method,
                    test=(rises(1), rises(1, end - worse if ratio == 100 else 0.9)),
                )
    return skewlab.report.load(study)


def test_a_line_is_the_mean_over_seeds_with_its_interval(frame: pd.DataFrame) -> None:
    figure = plot.learning_curves(frame[frame.method == "ce"])
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["ratio 1", "ratio 100"]
    axis = figure.axes[1]
    (line,) = (one for one in axis.lines if one.get_label() == "minority, test")
    assert line.get_ydata()[-1] == pytest.approx(np.mean(ENDS))
    assert to_hex(line.get_color()).upper() == "#D55E00"
    half = stats.t.ppf(0.975, 2) * stats.sem(ENDS)
    ends = [shape.get_paths()[0].vertices for shape in axis.collections]
    last = [end[end[:, 0] == end[:, 0].max()][:, 1] for end in ends]
    interval = np.clip([np.mean(ENDS) - half, np.mean(ENDS) + half], 0, 1)  # a recall
    assert any([found.min(), found.max()] == pytest.approx(interval) for found in last)


def test_several_methods_have_a_line_each(frame: pd.DataFrame) -> None:
    figure = plot.learning_curves(frame, by="method", groups=["minority"], splits=["test"])
    ends = {line.get_label(): line.get_ydata()[-1] for line in figure.axes[1].lines}
    mean = np.mean(ENDS)
    assert ends == {"ce, test": pytest.approx(mean), "focal, test": pytest.approx(mean - 0.1)}


@pytest.mark.parametrize("draw", [plot.learning_curves, plot.class_recall])
def test_several_methods_are_not_averaged(frame: pd.DataFrame, draw: object) -> None:
    with pytest.raises(ValueError, match=r"several values of method \(ce, focal\)"):
        draw(frame)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"metric": "recal"}, "metric=recal: must be one of .*recall"),
        ({"clock": "hours"}, "clock=hours: must be one of step, epoch"),
        ({"by": "seed"}, "by=seed: must be one of study, data"),
    ],
)
def test_a_mistake_is_named(frame: pd.DataFrame, arguments: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plot.learning_curves(frame[frame.method == "ce"], **arguments)  # type: ignore[arg-type]


def test_nothing_finished(frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="no finished run"):
        plot.learning_curves(frame[frame.state == "running"])


def test_a_dot_is_a_class_of_a_run(frame: pd.DataFrame) -> None:
    some = frame[frame.method == "ce"]
    axis = plot.class_recall(some).axes[0]
    dots = np.concatenate([one.get_offsets() for one in axis.collections])
    classes = some["class"].nunique()
    assert len(dots) == 2 * len(ENDS) * classes
    fewest = dots[dots[:, 0] == dots[:, 0].min()][:, 1]
    assert sorted(set(np.round(fewest, 6))) == pytest.approx(ENDS)


def test_text_of_a_pdf_is_embedded(frame: pd.DataFrame, tmp_path: Path) -> None:
    figure = plot.learning_curves(frame[frame.method == "ce"], width=3.3)
    plot.save(figure, tmp_path / "figure.pdf")
    content = (tmp_path / "figure.pdf").read_bytes()
    assert b"/FontFile2" in content
    assert figure.get_size_inches()[0] == 3.3
