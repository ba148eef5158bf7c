"""The table at a sweep's end, at the widths of terminals."""

from pathlib import Path

import pytest

from skewlab.report.measures import CLOCKS
from skewlab.report.statistics import estimate
from skewlab.report.table import terminal, write_latex


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


def test_the_best_method_of_each_ratio_is_bold_in_latex(tmp_path: Path) -> None:
    rows = [
        {
            "ratio": ratio,
            "method": method,
            "seeds": 2,
            "test minority": estimate({(k, k, k): mean + k / 10 for k in range(2)}, within=(0, 1)),
            "balanced accuracy, minus ce": "",
        }
        for ratio, method, mean in ((1, "ce", 0.5), (1, "b_c", 0.4), (9, "ce", 0.2), (9, "d", 0.3))
    ]
    write_latex(rows, tmp_path / "t.tex")
    latex = (tmp_path / "t.tex").read_text()
    assert "{tabular}{rlrrr}" in latex, "names begin at the left, numbers end at the right"
    head = " &  &  &  & balanced \\\\\n &  &  & test & accuracy, \\\\\n"
    assert f"\\toprule\n{head}ratio & method & seeds & minority & minus ce \\\\\n" in latex
    assert "1 & ce & 2 & \\textbf{0.550} & " in latex
    assert "9 & d & 2 & \\textbf{0.350} & " in latex
    assert latex.count("textbf") == 2
