"""A section that a study wrote itself, in a package of its own, on the page like the others."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from made_up import make_run, rises

from skewlab.errors import ConfigError
from skewlab.report.cli import main
from skewlab.report.sections.own import load_sections

SOURCE = """
from pathlib import Path

from skewlab.report.drawing import FigureText, new_figure
from skewlab.report.measures import over_seeds
from skewlab.report.sections.section import PageSection


def figure(setting, thresholds):
    figure = new_figure(3, 2)
    figure.subplots().plot([0, 1])
    return figure, FigureText("learning_curves", "A line", "It rises.")


def rows(setting, thresholds, probe=None):
    for ratio, runs in setting.by_ratio(probe=probe):
        yield {"ratio": ratio, "seeds": over_seeds(runs, [run.seed for run in runs])}


def rows_of_probe(setting, thresholds):
    return rows(setting, thresholds, "mine")


def section(key, rows=rows, **more):
    tables = {"results": ("Seeds", rows)}
    return PageSection(key, f"About {key}", "Why.", figures=(figure,), tables=tables, **more)


MINE = section("mine", rows_of_probe, probe="mine")
SEEDS = section("seeds")
BROKEN = section("broken", lambda setting, thresholds: setting.nothing)
ODD = section("odd", lambda setting, thresholds: [{"cell": {1, 2}}])
NO_FILE = section("no-file", lambda setting, thresholds: Path("nowhere.csv").open())
TAKEN = section("verdicts")
TAKEN_TOO = section("rankings")
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "otherpaper").mkdir()
    (tmp_path / "otherpaper" / "__init__.py").touch()
    (tmp_path / "otherpaper" / "sections.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    found = {"mine": [(1.0, {"size": 1.0})]}
    for seed in range(3):
        make_run(tmp_path / "study", ratio=10, seed=seed, test=(rises(1), rises(1, 0.3)))
        make_run(tmp_path / "study", ratio=1, seed=seed, found=found)
    return tmp_path / "study"


def payload(study: Path) -> Any:
    page = (study / "report/index.html").read_text()
    found = re.search(r'id="payload">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_it_is_shown(study: Path) -> None:
    own = ["--section", "otherpaper.sections.SEEDS", "--section=otherpaper.sections.MINE"]
    assert main([str(study), *own]) == 0
    shown = payload(study)
    parts = {part["key"]: part for part in shown["parts"]}
    assert parts["seeds"]["title"] == "About seeds"
    (table,) = parts["seeds"]["tables"]
    assert (table["title"], table["columns"]) == ("Seeds", ["ratio", "seeds"])
    assert [(ratio, cell[:7]) for ratio, cell in table["rows"]] == [(1, "1.000 ("), (10, "1.000 (")]
    titles = [figure["title"] for figure in shown["figures"] if figure["section"] == "seeds"]
    assert titles == ["A line"]
    # The probe that it shows is not among the other probes, and its runs are those with the probe.
    assert "other-probes" not in parts
    assert [row[0] for row in parts["mine"]["tables"][0]["rows"]] == [1]
    # Its files have the names of others.
    report = study / "report"
    written = csv.DictReader((report / "seeds/results.csv").open())
    assert [row["seeds"] for row in written] == ["1.0", "1.0"]
    for name in ("results.csv", "results.tex", "learning_curves.png", "learning_curves.svg"):
        assert (report / name).read_bytes() != (report / "seeds" / name).read_bytes()
    assert "seeds" in (report / "seeds/results.tex").read_text()


@pytest.mark.slow
def test_a_mistake_in_its_code_costs_it_alone(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("BROKEN", "ODD", "NO_FILE", "SEEDS")
    assert main([str(study), *(f"--section=otherpaper.sections.{name}" for name in names)]) == 0
    said = capsys.readouterr().out
    reasons = {
        "broken": "AttributeError: 'Setting' object has no attribute 'nothing'",
        "odd": "TypeError: cell of table results is a set",
        "no-file": "FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.csv'",
    }
    shown = payload(study)
    for key, reason in reasons.items():
        assert f"left out: section About {key}: {reason}" in said
        assert f"section About {key}: {reason}" in shown["left_out"]
    assert {part["key"] for part in shown["parts"]} & {"seeds", *reasons} == {"seeds"}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("otherpaper.sections.SEED", "has no attribute"),
        ("mypapr.sections.SEEDS", "No module named 'mypapr'"),
        ("otherpaper.sections.figure", "it is something else"),
        ("otherpaper.sections.TAKEN", "the key verdicts is taken"),
        ("otherpaper.sections.TAKEN_TOO", "the key rankings is taken"),
    ],
)
def test_what_is_no_section_is_one_line(
    study: Path, path: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(study), "--section", path]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --section={path}: ")
    assert reason in line
    assert not (study / "report").exists(), "said before anything is read or written"
    with pytest.raises(ConfigError, match=f"report_sections={path}: "):
        load_sections([path], "report_sections")


@pytest.mark.slow
def test_a_run_names_no_code(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of runs may be somebody else's: what its configurations name is not imported."""
    for path in study.glob("*/config.yaml"):
        path.write_text(path.read_text() + "report_sections: [otherpaper.sections.SEEDS]\n")
    assert main([str(study)]) == 0
    assert "seeds" not in {part["key"] for part in payload(study)["parts"]}
    path = "otherpaper.sections.SEEDS"
    said = capsys.readouterr().err
    assert said == f"not shown: {path}, as the runs were; add --section {path}\n"
    assert main([str(study), "--section", path]) == 0
    assert "not shown" not in capsys.readouterr().err
