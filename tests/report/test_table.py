"""Tables: at the widths of terminals, as CSV and as LaTeX."""

import csv
import json
import re
from pathlib import Path

import pytest
from made_up import make_run, rises
from scipy import stats

from skewlab.report.measures import CLOCKS
from skewlab.report.read import read_runs
from skewlab.report.statistics import estimate
from skewlab.report.table import result_rows, terminal, write_csv, write_latex
from skewlab.report.thresholds import Thresholds


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


def test_a_csv_file_has_the_interval_beside_its_mean_and_none_of_one_seed(tmp_path: Path) -> None:
    several = estimate({(k, k, k): k / 4 for k in range(3)})
    once = estimate({(0, 0, 0): 0.25})
    rows = [{"a": "", "b": 1.5, "c": once}, {"a": several, "b": 2, "c": several}]
    write_csv(rows, tmp_path / "t.csv")
    first, second = csv.DictReader((tmp_path / "t.csv").open())
    assert list(first) == ["a", "a low", "a high", "b", "c", "c low", "c high"]
    assert list(first.values()) == ["", "", "", "1.5", "0.25", "", ""]
    half = stats.t.ppf(0.975, 2) * stats.sem([0, 0.25, 0.5])
    ends = [float(second[f"a {end}"]) for end in ("low", "high")]
    assert ends == pytest.approx([0.25 - half, 0.25 + half], abs=1e-6)


def test_a_negative_number_has_a_minus_sign_in_latex(tmp_path: Path) -> None:
    below = estimate({(k, k, k): (k - 1) / 100 - 0.5 for k in range(3)})
    write_latex([{"a-1": below, "name": "re-weighted -2"}], tmp_path / "t.tex")
    latex = (tmp_path / "t.tex").read_text()
    assert "$-$0.500 & re-weighted $-$2" in latex
    assert re.search(r"\\scriptsize \(\$-\$0\.\d+ to \$-\$0\.\d+\)", latex)
    assert "a-1 & name" in latex


def test_many_medium_and_few_have_columns_where_they_are_other_groups(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path, ratio=1, seed=seed)
        run = make_run(tmp_path, ratio=10, seed=seed, test=(rises(1, 0.9), rises(1, 0.4)))
        data = json.loads((run / "data.json").read_text())
        classes = len(data["class_names"])
        # The first class of the minority is of the many.
        data["shots"] = {"many": list(range(classes // 2 + 1)), "medium": [], "few": []}
        data["shots"]["few"] = list(range(classes // 2 + 1, classes))
        (run / "data.json").write_text(json.dumps(data))
    balanced, imbalanced = result_rows(read_runs([tmp_path]).finished, Thresholds())
    assert [balanced[f"test {name}"] for name in ("many", "few")] == ["", ""]
    half = classes // 2
    assert imbalanced["test many"].mean == pytest.approx((0.9 * half + 0.4) / (half + 1))
    assert imbalanced["test few"].mean == pytest.approx(0.4)
    assert "test medium" not in imbalanced
    assert "many" not in terminal([balanced, imbalanced])
