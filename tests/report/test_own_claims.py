"""A claim that a study wrote itself, in a package of its own, judged and shown as the others."""

import csv
import json
import re
from pathlib import Path

import pytest
from made_up import make_run, rises

from skewlab.errors import ConfigError
from skewlab.report.claims import load_claims
from skewlab.report.cli import main

SOURCE = """
import numpy as np
from skewlab.report.claims import Claim


class WorstClass(Claim):
    title = "One class is hardly recognised"
    statistic = "test recall of the worst class at the last epoch"
    why = "a mean over classes can hide it"
    threshold = 0.5
    at_most = True

    def measure(self, run, thresholds):
        return np.nanmin(run.curves["test"].values["recall"][-1])


class LostToBalance(WorstClass):
    name = "lost"
    title = "The worst class is worse than with balanced data"
    threshold = "generalisation_gap"
    at_most = False
    minus_balanced = True
    controls = ("same_total",)

    def measure(self, run, thresholds):
        return 1 - super().measure(run, thresholds)


class Broken(WorstClass):
    def measure(self, run, thresholds):
        return run.curves["nowhere"]


class BadGate(WorstClass):
    def gate(self, setting, ratio, thresholds):
        return False


class Second(WorstClass):
    name = "3"


class Untitled(Claim):
    statistic, threshold = "nothing", 0.5

    def measure(self, run, thresholds):
        return 0.0


class Unmeasured(Claim):
    title, statistic, threshold = "nothing", "nothing", 0.5


class Unlimited(WorstClass):
    threshold = "erly_gap"


NUMBER = 3
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The minority's test recall is 0.3 at ratio 10; 0.95 balanced, and 0.9 with as few in all."""
    (tmp_path / "mypaper").mkdir()
    (tmp_path / "mypaper" / "__init__.py").touch()
    (tmp_path / "mypaper" / "claims.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    for seed in range(3):
        make_run(tmp_path / "study", ratio=1, seed=seed)
        make_run(tmp_path / "study", ratio=10, seed=seed, test=(rises(1), rises(1, 0.3)))
        make_run(
            tmp_path / "study", ratio=10, seed=seed, control="same_total",
            test=(rises(1), rises(1, 0.9)),
        )  # fmt: skip
    return tmp_path / "study"


def test_it_is_judged_and_shown(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ["--claim", "mypaper.claims.WorstClass", "--claim=mypaper.claims.LostToBalance"]
    assert main([str(study), *own, "generalisation_gap=0.2"]) == 0
    said = capsys.readouterr().out
    assert (
        "claim WorstClass: One class is hardly recognised\n"
        "    ratio 10   supported  0.300 (0.300 to 0.300), at most 0.5\n"
    ) in said
    assert (
        "claim lost: The worst class is worse than with balanced data\n"
        "    ratio 10   supported  0.650 (0.650 to 0.650), at least 0.2\n"
        "        beyond fewer samples in all: survives, 92% is left, 0.600 (0.600 to 0.600)\n"
    ) in said
    drawn = (study / "report" / "verdicts_by_threshold.svg").read_text()
    assert "claim WorstClass, ratio 10" in drawn
    rows = {row["claim"]: row for row in csv.DictReader((study / "report/verdicts.csv").open())}
    assert list(rows)[-2:] == ["WorstClass", "lost"]
    assert (rows["WorstClass"]["verdict"], rows["WorstClass"]["estimate"]) == ("supported", "0.3")
    assert rows["lost"]["left under same_total"] == (
        "survives, 92% is left, 0.600 (0.600 to 0.600)"
    )
    assert "WorstClass & madeup & 10 & supported" in (study / "report/verdicts.tex").read_text()
    page = (study / "report/index.html").read_text()
    payload = json.loads(re.search(r'id="payload">(.*?)</script>', page, re.DOTALL)[1])
    shown = next(one for one in payload["verdicts"] if one["claim"] == "WorstClass")
    assert shown["title"] == "One class is hardly recognised"
    assert shown["why"] == "a mean over classes can hide it"
    assert (shown["threshold"], shown["estimate"]["mean"]) == ("at most 0.5", 0.3)


def test_a_mistake_in_its_code_costs_its_verdict_alone(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(study), "--claim", "mypaper.claims.Broken"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"claim 3: .* in the end\n    ratio 10   supported", said)
    rows = {row["claim"]: row for row in csv.DictReader((study / "report/verdicts.csv").open())}
    assert rows["Broken"]["verdict"] == "undecided"
    assert "its code failed: KeyError: 'nowhere'" in (study / "report/index.html").read_text()


def test_a_gate_that_gives_something_else_costs_its_verdict_alone(study: Path) -> None:
    assert main([str(study), "--claim", "mypaper.claims.BadGate"]) == 0
    rows = {row["claim"]: row for row in csv.DictReader((study / "report/verdicts.csv").open())}
    assert rows["3"]["verdict"] == "supported"
    assert rows["BadGate"]["reason"].endswith("gate gave False, must be None or a Missing")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("mypaper.claims.WorstClas", "has no attribute"),
        ("mypapr.claims.WorstClass", "No module named 'mypapr'"),
        ("mypaper.claims.NUMBER", "it is something else"),
        ("mypaper.claims.Untitled", "has no attribute 'title'"),
        ("mypaper.claims.Unmeasured", "abstract"),
        ("mypaper.claims.Second", "the name 3 is another claim's"),
        ("mypaper.claims.Unlimited", "did you mean early_gap?"),
    ],
)
def test_what_is_no_claim_is_one_line(
    study: Path, path: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(study), "--claim", path]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --claim={path}: ")
    assert reason in line
    assert not (study / "report").exists(), "said before anything is read or written"
    with pytest.raises(ConfigError, match=f"report_claims={path}: "):
        load_claims([path], "report_claims")


@pytest.mark.slow
def test_a_run_names_no_code(study: Path) -> None:
    """A folder of runs may be somebody else's: what its configurations name is not imported."""
    for path in study.glob("*/config.yaml"):
        path.write_text(path.read_text() + "report_claims: [mypaper.claims.WorstClass]\n")
    assert main([str(study)]) == 0
    assert "WorstClass" not in (study / "report/verdicts.csv").read_text()


def test_an_option_without_its_value_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "--claim"]) == 2
    assert capsys.readouterr().err == "error: --claim: expected one argument\n"
