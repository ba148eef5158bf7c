"""The report as a whole: what it writes, what it leaves out and says so."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_up import make_run, rises
from matplotlib.text import Text
from PIL import Image
from program import ROOT
from scipy import stats

import skewlab.report
from skewlab.errors import ConfigError
from skewlab.report import build, sweep_summary, table
from skewlab.report.build import build_report, summary_lines
from skewlab.report.cli import main
from skewlab.report.curves import stack
from skewlab.report.drawing import folder_of
from skewlab.report.read import read_runs
from skewlab.report.run_figure import draw_confusion
from skewlab.report.settings import by_setting, in_full
from skewlab.report.statistics import ABSENT, Estimate
from skewlab.report.thresholds import Thresholds
from skewlab.report.verdicts import Survival, Verdict

FIGURES = {
    "learning_curves",
    "per_class",
    "recall_against_count",
    "gap_against_ratio",
    "scaling_law",
    "confusion_over_time",
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two ratios and three seeds of a study that shows the effect."""
    for seed in range(3):
        make_run(tmp_path / "study", ratio=1, seed=seed)
        make_run(
            tmp_path / "study",
            ratio=10,
            seed=seed,
            train=(rises(0.25), rises(5)),
            test=(rises(0.25, 0.97), rises(5, 0.4 + seed / 20)),
        )
    return tmp_path / "study"


def test_everything_is_written(study: Path) -> None:
    report = build_report([study], Thresholds())
    assert report.folder.resolve() == study / "report"
    for name in FIGURES:
        assert (study / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (study / "report" / f"{name}.svg").read_text()
    assert (study / "report" / "index.html").stat().st_size > 10_000
    rows = list(csv.DictReader((study / "report" / "results.csv").open()))
    assert [row["ratio"] for row in rows] == ["1.0", "10.0"]
    assert float(rows[1]["test minority"]) == pytest.approx(0.45)
    assert float(rows[1]["test minority low"]) == pytest.approx(0.35, abs=0.01)
    assert rows[1]["minority learned, updates"] == "32 to 40"
    assert rows[1]["minority learned, epochs"] == "4 to 5"
    assert rows[1]["minority learned, samples of the class seen"] == "400 to 500"
    latex = (study / "report" / "results.tex").read_text()
    assert "& 0.450 &" in latex
    assert "{\\scriptsize (0.3" in latex
    assert "samples" not in latex
    assert len(list(csv.DictReader((study / "report" / "verdicts.csv").open()))) == 5
    assert not report.left_out
    page = (study / "report" / "index.html").read_text()
    shown = re.findall(r'"title":"([^"]+)","caption"', page)
    assert "Every class at ratio 10" in shown
    assert "Learning curves" not in shown, "they are its chart"


def test_it_imports_no_torch_and_runs_as_a_command(study: Path) -> None:
    code = (
        "import sys; from skewlab.report.cli import main; "
        f"assert main([{str(study)!r}]) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    done = subprocess.run(
        [sys.executable, "report.py", str(study), f"out={study}/elsewhere", "early_gap=0.95"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"claim 2: Imbalance makes .*\n    ratio 10   refuted", done.stdout)
    assert (study / "elsewhere" / "index.html").exists()


def test_the_rest_is_reported_and_what_is_left_out_is_said(study: Path) -> None:
    make_run(study, ratio=10, seed=7, state="failed")
    make_run(study, ratio=10, seed=8, state="diverged", epochs=3)
    make_run(study, ratio=10, seed=9, state="running", epochs=4)
    make_run(study / "again", ratio=10, seed=0)
    torn = make_run(study, ratio=10, seed=3)
    with (torn / "curves.jsonl").open("a") as file:
        file.write('{"epoch":21,"step":168,"split":"train","n":[1')
    (study / "no-run").mkdir()
    (study / "no-run" / "status.json").write_text("{")
    (study / "notes.txt").write_text("not a run")
    report = build_report([study, study / "notes.txt"], Thresholds())
    said = "\n".join(report.left_out)
    assert report.runs == 8, "six, one of them twice, and the torn one, whose whole lines are used"
    for fragment in (
        "seed7: failed (made up)",
        "seed8: made up",
        "seed9: unfinished at epoch 4",
        "seed0: the same as none-ce-ratio10-seed0, which counts",
        "is no whole record",
        "no-run/status.json: is no JSON",
        "notes.txt: is no folder",
    ):
        assert fragment in said
    assert all(f"left out: {line}" in summary_lines(report) for line in report.left_out)


def test_other_classes_and_methods_are_settings_of_their_own(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "FIGURES", ())
    make_run(study / "more", ratio=1, seed=0, classes=6)
    make_run(study / "other", ratio=1, seed=0, method="focal")
    runs = read_runs([study, study / "more", study / "other"]).finished
    labels = {setting.label: len(setting.runs) for setting in by_setting(runs)}
    assert labels == {
        "madeup, ce, 4 classes from class0": 6,
        "madeup, ce, 6 classes from class0": 1,
        "madeup, focal": 1,
    }
    report = build_report([study, study / "more", study / "other"], Thresholds())
    assert {verdict.setting for verdict in report.verdicts} == set(labels)


def test_what_changes_no_result_makes_no_setting(tmp_path: Path) -> None:
    """Runs from before such a key was there, and with other values of it."""
    for seed, more in enumerate(({}, {"checkpoint_seconds": 0}, {"checkpoint_seconds": 2})):
        path = make_run(tmp_path, ratio=10, seed=seed) / "config.yaml"
        config = yaml.safe_load(path.read_text())
        config["training"] |= more
        path.write_text(yaml.safe_dump(config))
    (setting,) = by_setting(read_runs([tmp_path]).finished)
    assert len(setting.runs) == 3


@pytest.mark.slow
def test_a_figure_is_replaced_in_one_move(tmp_path: Path) -> None:
    """The report of another sweep reads the old one or the new one, never half of one."""
    make_run(tmp_path / "study", ratio=10, seed=0)
    first = build_report([tmp_path / "study"], Thresholds()).pictures
    for number, path in enumerate(first):
        (tmp_path / f"{number}").hardlink_to(path)
    before = [path.read_bytes() for path in first]
    make_run(tmp_path / "study", ratio=10, seed=1, noise=0.1)
    build_report([tmp_path / "study"], Thresholds())
    assert [(tmp_path / f"{number}").read_bytes() for number in range(len(first))] == before
    assert any(path.read_bytes() != old for path, old in zip(first, before, strict=True))


def test_a_sweep_of_controls_alone_ends_without_a_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "study", ratio=10, seed=0, control="same_minority")
    own = read_runs([tmp_path / "study"]).finished
    sweep_summary._report(tmp_path / "study", own, (), ())
    said = capsys.readouterr().out
    assert "report" in said
    assert "figure  " not in said


def test_one_single_run_has_a_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "study", ratio=10, seed=0)
    report = build_report([run], Thresholds())
    assert report.runs == 1
    assert {verdict.verdict for verdict in report.verdicts} == {"undecided", "not applicable"}


def test_a_sweep_says_what_its_own_runs_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rate, recall in ((0.1, 0.2), (0.5, 0.4)):
        study = tmp_path / "study"
        run = make_run(
            study / f"{rate}", ratio=10, seed=0, rate=rate, test=(rises(1), rises(1, recall))
        )
        run.rename(study / f"of-{rate}")
    own = [run for run in read_runs([study]).finished if run.path.name == "of-0.5"]
    sweep_summary._report(study, own, (), ())
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        "At ratio 10 the minority is fully learned on train and 40% right on test (one seed)."
    )
    assert said[1].startswith(f"verdicts of all 2 runs in {study}: 0 supported")


def test_a_sweep_draws_its_own_runs_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figure stays as it is when the study gets other data and another ratio."""
    study = tmp_path / "study"
    for ratio in (1, 10):
        make_run(study, ratio=ratio, seed=0)
    own = read_runs([study]).finished
    sweep_summary._report(study, own, (), ())
    before = (study / "curves.png").read_bytes()
    make_run(study, ratio=100, seed=0)
    make_run(study, ratio=4, seed=0, classes=6)
    sweep_summary._report(study, own, (), ())
    assert (study / "curves.png").read_bytes() == before
    said = f"figure  {study / 'curves.png'}  (learning curves of these runs)\n"
    assert capsys.readouterr().out.count(said) == 2


def test_a_sweep_of_several_settings_draws_a_row_for_each(tmp_path: Path) -> None:
    for method in ("ce", "focal", "ldam", "vs", "crt", "mixup", "sam"):
        for ratio in (1, 10):
            make_run(tmp_path / method, ratio=ratio, seed=0, method=method)
    studies = sorted(tmp_path.iterdir())
    two, seven = (by_setting(read_runs(some).finished) for some in (studies[:2], studies))
    named = [text.get_text() for text in sweep_summary._rows(two).findobj(Text)]
    assert [name for name in named if "madeup" in name] == ["madeup, ce", "madeup, crt"]
    for settings, rows, said in ((two, 2, "2"), (seven, 4, "4 of 7")):
        figure = sweep_summary._rows(in_full(settings))
        assert len(figure.axes) == 2 * rows
        shown = sweep_summary._draw_curves(settings, tmp_path / "curves.png")
        assert shown == f"learning curves of these runs, a row for each of {said} settings"
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.height > picture.width


def test_time_to_learn_is_censored_where_never_reached(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, ratio=10, seed=seed, train=(rises(1), rises(99)))
    build_report([tmp_path], Thresholds())
    (row,) = csv.DictReader((tmp_path / "report" / "results.csv").open())
    assert row["minority learned, updates"] == ">160"
    assert row["minority learned, epochs"] == ">20"


def test_half_of_the_seeds_that_never_learn_are_said(study: Path) -> None:
    """The later of the two in the middle."""
    make_run(study, ratio=10, seed=3, train=(rises(1), rises(99)))
    runs = [run for run in read_runs([study]).finished if run.ratio == 10]
    assert table.learned(runs, "minority", Thresholds()) == "32 to 40"
    make_run(study, ratio=10, seed=4, train=(rises(1), rises(99)))
    runs = [run for run in read_runs([study]).finished if run.ratio == 10 and run.seed != 0]
    assert table.learned(runs, "minority", Thresholds()) == ">160"


def thirds() -> Estimate:
    """One third, with an interval from 0.3 to 0.366667."""
    return Estimate(1 / 3, (1 / 30) / stats.t.ppf(0.975, 4), 4, 5)


def test_a_table_in_all_its_forms(tmp_path: Path) -> None:
    """Six digits and both ends in CSV; three digits, and escaped, in LaTeX; what a row lacks is an
    empty cell."""
    rows = [{"a_b": thirds(), "n": ">30"}, {"n": 2.0}]
    table.write_csv(rows, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines() == [
        "a_b,a_b low,a_b high,n", "0.333333,0.3,0.366667,>30", ",,,2.0",
    ]  # fmt: skip
    table.write_latex(rows, tmp_path / "t.tex")
    latex = (tmp_path / "t.tex").read_text()
    assert "{tabular}{rr}\n\\toprule\na\\_b & n \\\\\n" in latex
    interval = "{\\scriptsize (0.300 to 0.367)} &  \\\\\n"
    assert f"0.333 & $>$30 \\\\\n{interval} & 2 \\\\\n" in latex


HOSTILE = (
    '=HYPERLINK("http://x","y")',
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|x",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    " =1",
    "\\input{/etc/passwd}",
    "\\write18{id}",
    "a\\\\\n\n[64, 64] & $x^2_{3}$ ~#%{}|\x00",
    "[64, 64]",
    "*",
    "</script><img src=x onerror=alert(1)>",
)


def test_no_cell_of_a_csv_file_is_a_formula(tmp_path: Path) -> None:
    numbers = {"n": -1.5, "m": -3, "share": "-0.050 (-12%)", "text": "-1e-05", "big": ">30"}
    rows = [{text: text, **numbers} for text in HOSTILE]
    table.write_csv(rows, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        head, *lines = csv.reader(file)
    for cell in (*head, *(cell for line in lines for cell in line)):
        assert cell in ("-1.5", "-3", *numbers.values()) or not cell.lstrip(" ").startswith(
            ("=", "+", "-", "@", "\t", "\r", "\n")
        )
    for cell in ("-1.5", "-3", "-0.050 (-12%)", "-1e-05", ">30"):
        assert all(cell in line for line in lines), "numbers stay numbers"
    assert any('=HYPERLINK("http://x","y")' in cell for cell in head), "the text is all there"


def test_no_cell_of_a_latex_table_is_a_command(tmp_path: Path) -> None:
    """By what LaTeX reads: each backslash begins one of the commands that are written here."""
    rows = [{text: text, "n": -1.5} for text in HOSTILE]
    table.write_latex(rows, tmp_path / "t.tex")
    latex = (tmp_path / "t.tex").read_text()
    body = latex.split("\\toprule\n")[1].split("\\bottomrule")[0]
    commands = set(re.findall(r"\\([A-Za-z]+|.|\n)", body))
    assert commands <= {
        *("\\", "&", "%", "$", "#", "_", "{", "}", "midrule"),
        *("textbackslash", "textasciitilde", "textasciicircum", "textbar"),
    }
    lines = [line for line in body.splitlines() if line != "\\midrule"]
    assert len(body.split("\\midrule\n")[1].splitlines()) == len(rows), "a line for each row"
    assert all(line.endswith(" \\\\") and not line.startswith(("[", "*")) for line in lines)
    plain = re.sub(r"\\[&%$#_{}]", "", body)
    assert plain.count("{") == plain.count("}")
    assert {re.sub(r"\\&", "", line).count("&") for line in lines} == {len(HOSTILE)}


@pytest.mark.slow
def test_names_of_classes_are_text_in_every_figure(tmp_path: Path) -> None:
    names = ["$\\bad{$", "a\n$x$", *HOSTILE[-2:]]
    for seed in range(2):
        for ratio in (1, 10):
            run = make_run(tmp_path / "study", ratio=ratio, seed=seed)
            data = json.loads((run / "data.json").read_text())
            (run / "data.json").write_text(json.dumps({**data, "class_names": names}))
    report = build_report([tmp_path / "study"], Thresholds())
    figure = (report.folder / "per_class.svg").read_text()
    assert "$\\bad{$" in figure
    assert "<img" not in figure
    shown = draw_confusion(np.eye(4, dtype=np.int64), names)
    shown.savefig(tmp_path / "confusion.png")
    assert "<img" not in (report.folder / "index.html").read_text()


@pytest.mark.slow
def test_a_report_names_no_home_and_no_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    secrets = (str(tmp_path), "/home/somebody", "secret-host.example")
    for seed in range(3):
        for method in ("ce", "other"):
            run = make_run(tmp_path / "logs" / "study", ratio=10, seed=seed, method=method)
            config = yaml.safe_load((run / "config.yaml").read_text())
            config["data"]["source"] = {"path": "/home/somebody/pictures"}
            config["from_run"] = f"{tmp_path}/logs/first/{method}"
            (run / "config.yaml").write_text(yaml.safe_dump(config))
            status = json.loads((run / "status.json").read_text())
            status |= {"host": "secret-host.example", "reason": f"{tmp_path} is full"}
            status["provenance"] = {"command": ["train.py", f"logs_dir={tmp_path}/logs"]}
            (run / "status.json").write_text(json.dumps(status))
    failed = make_run(tmp_path / "logs" / "study", ratio=20, seed=0, state="failed")
    report = build_report([tmp_path / "logs" / "study"], Thresholds())
    for path in report.folder.rglob("*"):
        for secret in secrets:
            assert secret not in str(path.relative_to(report.folder))
            assert path.is_dir() or secret.encode() not in path.read_bytes(), path
    page = (report.folder / "index.html").read_text()
    assert "~/logs/study" in page
    assert failed.name in page


def test_what_is_left_under_a_control_is_a_number_and_its_share() -> None:
    left = Survival("same_total", thirds(), thirds(), "survives, 33% is left")
    none = Survival("same_minority", ABSENT, ABSENT, "not controlled")
    verdict = Verdict(
        claim="2", title="", why="", needs="", setting="s", ratio=10.0, statistic="", limit=0.25,
        at_most=False, estimate=thirds(), verdict="supported", controls=[left, none], p=0.01,
        p_corrected=0.02, command="train",
    )  # fmt: skip
    (row,) = table.verdict_rows([verdict])
    assert row["left under same_total"] == "survives, 33% is left"
    assert "left under same_minority" not in row
    assert (row["threshold"], row["p"], row["p corrected"]) == ("at least 0.25", "0.01", "0.02")
    # The interval is at the level that the correction leaves to this test.
    low, high = thirds().interval(1 - 0.05 / 2)
    assert row["corrected interval"] == f"{low:.3f} to {high:.3f}"
    assert row["to decide"] == "train"
    assert "to decide" not in table.verdict_rows([verdict], explained=False)[0]


def test_what_a_probe_did_not_measure_is_missing() -> None:
    first = {"epoch": 0.0, "step": 0, "probe": "mine", "early": np.asarray([1.0, 3.0])}
    second = {"epoch": 1.0, "step": 8, "probe": "mine", "late": 2.0}
    curves = stack([first, second])
    np.testing.assert_array_equal(curves.values["early"], [[1.0, 3.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(curves.values["late"], [np.nan, 2.0])
    np.testing.assert_array_equal(curves.group("early", [0, 1]), [2.0, np.nan])
    assert set(curves.values) == {"early", "late"}


def test_an_empty_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line == f"error: {tmp_path}: holds no run"
    running = make_run(tmp_path / "s", ratio=1, seed=0, state="running")
    with pytest.raises(ConfigError, match="no run has finished yet"):
        build_report([running], Thresholds())


def test_the_tidy_frame_holds_every_number(study: Path) -> None:
    shutil.rmtree(next(study.glob("*ratio1-seed2")))
    frame = skewlab.report.load(study)
    assert len(frame) == 5 * 2 * 23 * 4, "runs, splits, evaluations, classes"
    last = frame[(frame.split == "test") & (frame.epoch == 20) & (frame.ratio == 10)]
    minority = last[last.group == "minority"].groupby("seed").recall.mean()
    np.testing.assert_allclose(minority.to_numpy(), [0.4, 0.45, 0.5])
    assert set(frame.control) == {"none"}
    assert (frame[["data_seed", "init_seed", "order_seed"]].eq(frame.seed, axis=0)).all(axis=None)
    assert set(frame[frame.group == "minority"]["count"]) == {1000, 100}


def test_settings_that_differ_in_much_have_folders_that_can_be_made(tmp_path: Path) -> None:
    long = "x".join(f"callbacks.one.argument{number}=null" for number in range(20))
    other = f"{long}0"
    folders = {folder_of(tmp_path, label) for label in (long, other, "ä" * 300, "short")}
    assert len(folders) == 4
    for folder in folders:
        folder.mkdir()
    assert (tmp_path / "short").is_dir()


@pytest.mark.parametrize(
    ("state", "counts"),
    [("running", True), ("preempted", True), ("failed", True), ("diverged", True), ("done", False)],
)
def test_a_run_counts_until_the_one_that_replaces_it_is_done(
    tmp_path: Path, state: str, counts: bool
) -> None:
    run = make_run(tmp_path, ratio=10, seed=0)
    run.rename(run.with_name(f"{run.name}.before"))
    make_run(tmp_path, ratio=10, seed=0, state=state)
    (found,) = read_runs([tmp_path]).finished
    assert found.path.name.endswith(".before") == counts


def test_a_table_of_an_earlier_report_does_not_stay_without_rows(tmp_path: Path) -> None:
    """A study of nothing but controls has no verdicts."""
    make_run(tmp_path / "study", ratio=10, seed=0, control="same_total")
    (tmp_path / "study" / "report").mkdir()
    for suffix in ("csv", "tex"):
        (tmp_path / "study" / "report" / f"verdicts.{suffix}").write_text("old")
    build_report([tmp_path / "study"], Thresholds())
    assert not list((tmp_path / "study" / "report").glob("verdicts.*"))
    assert (tmp_path / "study" / "report" / "results.csv").exists()


def test_figures_that_a_report_has_no_longer_are_removed_and_nothing_else(tmp_path: Path) -> None:
    """The study had one method and has two: each has a folder of figures then."""
    study = tmp_path / "study"
    make_run(study, ratio=10, seed=0)
    report = build_report([study], Thresholds())
    one = report.folder / "per_class.svg"
    mine, other = report.folder / "mine.png", tmp_path / "other.png"
    for path in (mine, other):
        path.write_bytes(b"a picture of somebody's")
    listed = json.loads((report.folder / "figures.json").read_text())["figures"]
    assert "per_class.svg" in listed
    # A prepared list leads to nothing outside of the folder.
    listed += ["../../other.png", "a\0.png", {"a": 1}]
    (report.folder / "figures.json").write_text(json.dumps({"figures": listed}))
    made = make_run(study, ratio=10, seed=0, method="ldam")
    build_report([study], Thresholds())
    of_two = sorted(path.parent.name for path in report.folder.glob("*/per_class.svg"))
    assert (one.exists(), of_two) == (False, ["madeup_ce", "madeup_ldam"])
    shutil.rmtree(made)
    build_report([study], Thresholds())
    assert one.exists()
    assert not any(path.is_dir() for path in report.folder.iterdir())
    assert mine.exists()
    assert other.exists()


def test_a_mistyped_word_is_answered_with_what_was_meant(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(study), "stlye=paper"]) == 2
    said = capsys.readouterr().err
    assert "stlye=paper: no such key; did you mean style? allowed: alike, " in said
    assert " out, " in said
