"""A report that is kept current: by hand, and by the real command while runs are written."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import make_run
from program import ROOT

from skewlab.report.findings import NOTHING_YET
from skewlab.report.page import content
from skewlab.report.read import read_runs
from skewlab.report.settings import by_setting
from skewlab.report.thresholds import Thresholds
from skewlab.report.watch import Watch
from skewlab.runs.curve_file import CurveFile
from skewlab.runs.lock import RunLock


def payload(study: Path) -> dict[str, Any]:
    page = (study / "report" / "index.html").read_text()
    found = re.search(r'id="payload">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def set_state(run: Path, state: str) -> None:
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": state}))


def test_a_method_that_still_trains_is_not_taken_for_the_finished_one(tmp_path: Path) -> None:
    make_run(tmp_path, ratio=10, seed=0)
    make_run(tmp_path, ratio=10, seed=0, method="focal", state="preempted", epochs=3)
    runs = read_runs([tmp_path])
    (setting,) = by_setting(runs.finished)
    found = NOTHING_YET._replace(settings=[setting])
    shown = content.payload(runs, found, [tmp_path])["curves"]
    assert [one["setting"] for one in shown] == ["madeup, ce", "madeup, focal"]
    assert [one["ratios"][0]["note"] for one in shown] == ["", "stopped"]


def test_each_of_a_few_settings_is_told_in_full(tmp_path: Path) -> None:
    for method in ("ce", "focal"):
        make_run(tmp_path, ratio=10, seed=0, method=method, epochs=3)
    runs = read_runs([tmp_path])
    found = NOTHING_YET._replace(settings=by_setting(runs.finished))
    said = content.payload(runs, found, [tmp_path])["setting"]
    first, second = re.findall(r"madeup, (\w+): [^:]* on madeup, 4 classes", said)
    assert (first, second) == ("ce", "focal")


def test_the_setting_says_which_classes_are_the_minority(tmp_path: Path) -> None:
    for study, order in ((tmp_path / "same", "identity"), (tmp_path / "drawn", "random")):
        for seed in range(4):
            make_run(study, ratio=10, seed=seed, class_order=order)
        runs = read_runs([study])
        found = NOTHING_YET._replace(settings=by_setting(runs.finished))
        said = content.payload(runs, found, [study])["setting"]
        first = runs.finished[0]
        names = ", ".join(first.data["class_names"][label] for label in first.groups["minority"])
        drawn = "each seed draws which 2 classes are the minority"
        assert (f"the minority: {names};" if order == "identity" else f"{drawn};") in said


def test_a_sweep_from_before_its_first_run_to_its_end(tmp_path: Path) -> None:
    study = tmp_path / "study"
    watched = Watch([study], Thresholds(), None)
    assert watched.look() is None, "there is nothing yet"
    first = make_run(study, ratio=10, seed=0, state="running", epochs=3)
    lock = RunLock(first, lambda: None)
    assert lock.take(lambda line: None) is None
    assert watched.look() is not None
    page = payload(study)
    assert page["reload"] > 0
    assert page["verdicts"] == []
    (shown,) = page["curves"]
    assert shown["ratios"][0]["note"] == "still training"
    assert shown["ratios"][0]["splits"]["test"]["epoch"][-1] == 3
    assert not list(study.glob("report/*.png"))

    assert watched.look() is None, "nothing is written where nothing is new"
    with closing(CurveFile(first, keep=(first / "curves.jsonl").stat().st_size)) as file:
        lines = (first / "curves.jsonl").read_text().splitlines()[-2:]
        for line in map(json.loads, lines):
            metrics = {k: v for k, v in line.items() if isinstance(v, list)}
            arrays = {name: np.asarray(value) for name, value in metrics.items()}
            file.append(4.0, 32, line["split"], arrays)
    assert watched.look() is not None
    assert payload(study)["curves"][0]["ratios"][0]["splits"]["test"]["epoch"][-1] == 4

    lock.release()  # as if it had been killed: nobody is at it
    assert watched.look() is not None
    assert payload(study)["curves"][0]["ratios"][0]["note"] == "stopped"

    set_state(first, "done")
    assert watched.look() is not None
    figure = study / "report" / "learning_curves.png"
    drawn = figure.stat().st_mtime_ns
    make_run(study, ratio=100, seed=0, state="preempted", epochs=3)
    assert watched.look() is not None
    (shown,) = payload(study)["curves"]
    noted = [(entry["ratio"], entry["note"]) for entry in shown["ratios"]]
    assert noted == [(10, ""), (100, "stopped")]
    assert len(payload(study)["verdicts"]) >= 1
    assert figure.stat().st_mtime_ns == drawn, "figures are drawn again when another run is done"

    assert watched.look(reload=None) is not None, "the last page is written in any case"
    assert payload(study)["reload"] is None


@pytest.mark.slow
def test_a_run_that_has_just_begun_and_one_that_is_gone(tmp_path: Path) -> None:
    study = tmp_path / "study"
    done = make_run(study, ratio=10, seed=0)
    (make_run(study, ratio=10, seed=1, state="running") / "data.json").unlink()
    watched = Watch([study], Thresholds(), None)
    report = watched.look()
    assert report is not None
    assert any("it has only just begun" in line for line in report.left_out)
    shutil.rmtree(done)
    assert watched.look() is None, "the page stays as it was"


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.slow
def test_the_command_watches_until_it_is_stopped(tmp_path: Path) -> None:
    study = tmp_path / "study"
    process = subprocess.Popen(
        [sys.executable, "report.py", "--watch", str(study)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def until(there: Callable[[], bool]) -> None:
        end = time.monotonic() + 100
        while not there():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.1)

    assert process.stderr is not None
    assert "Ctrl-C ends" in process.stderr.readline()
    assert process.stderr.readline() == "no run there yet\n"
    for seed in range(3):
        for ratio in (1, 10):
            make_run(study, ratio=ratio, seed=seed)
    until(lambda: (study / "report" / "index.html").exists())
    assert payload(study)["reload"] > 0
    process.send_signal(signal.SIGINT)
    said, noted = process.communicate(timeout=60)
    assert process.returncode == 0, noted
    assert noted.splitlines() == [
        f"open {study / 'report' / 'index.html'} in a browser",
        "ending; the page is written once more",
    ]
    assert "claim 1" in said
    assert payload(study)["reload"] is None
    assert len(payload(study)["runs"]) == 6


def test_an_option_that_is_not_there() -> None:
    done = subprocess.run(
        [sys.executable, "report.py", "--wach", "logs"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: --wach: no such option; allowed: --watch, --claim, --section, --help\n"
    )
