"""The table at a sweep's end, at the widths of terminals."""

import pytest

from skewlab.report.measures import CLOCKS
from skewlab.report.statistics import estimate
from skewlab.report.table import terminal


def rows() -> list[dict[str, object]]:
    recall = estimate({(0, 0, 0): 0.25, (1, 1, 1): 0.75}, within=(0, 1))
    return [
        {
            "model": "small_cnn",
            "ratio": ratio,
            "seeds": 2,
            "samples": "3000",
            **{f"{s} {g}": recall for s in ("train", "test") for g in ("majority", "minority")},
            "test gap": recall,
            "minority gap": recall,
            **{f"minority learned, {name}": f"{ratio:g}00 to 1000" for name in CLOCKS},
        }
        for ratio in (1.0, 100.0)
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_it_fits_and_says_what_is_not_shown(width: int) -> None:
    *table, said = terminal(rows(), width).splitlines()
    if width >= 140:
        table.append(said)
    assert max(map(len, table)) <= width
    assert "small_cnn" in table[-1]
    assert table[-1].split()[table[-2].split().index("1")] == "100"
    if width < 140:
        assert said.startswith("(not shown: minority learned, epochs")
        assert "test minority" not in said


def test_without_a_width_every_column_is_there_but_two_clocks() -> None:
    text = terminal(rows())
    assert "not shown" not in text
    words = " ".join(text.split("---")[0].split())
    assert words.count("learned,") == 2
    assert "updates" in words
    assert "epochs" in words
    assert "seen" not in words
    assert text.splitlines()[-1].split()[:4] == ["small_cnn", "100", "2", "3000"]
    assert text.splitlines()[-1].split()[4] == "0.500"
