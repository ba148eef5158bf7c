"""Weights & Biases, offline and against a stand-in server that behaves in every bad way."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import wandb
import yaml
from lightning_rows import check_told, train_with
from logged_rows import check_rows
from program import ROOT, TINY, forked
from trained import train_at
from wandb_records import read_run, records
from wandb_server import WandbServer

from skewlab.distributed import ALONE
from skewlab.errors import Diverged, Preempted
from skewlab.loggers.ending import Ending
from skewlab.loggers.lifetime import loggers, retell
from skewlab.runs import wandb_files
from skewlab.runs.curve_file import read_curves
from skewlab.runs.folder import DONE
from skewlab.runs.reading import digest_of


def tell(told: Any, during: Callable[[int], None] = lambda row: None) -> None:
    """Tell a run's evaluations to its loggers one by one, as training does."""
    with loggers(told.config, told.folder, ALONE) as (started, summary):
        for number, row in enumerate(Ending(told.path, DONE, summary).rows()):
            during(number)
            step = int(row.pop("step"))
            for logger in started:
                logger.log_metrics(row, step)
        summary.update(json.loads((told.path / "summary.json").read_text()))


def there(summary: dict[str, Any]) -> dict[str, float]:
    """Without what is absent, which W&B's summary keeps as null or as NaN."""
    return {k: v for k, v in summary.items() if v is not None and not math.isnan(v)}


def sync(run: Path) -> str:
    """Run the command that the sweep's end prints, for real."""
    words = wandb_files.sync_command([run])
    assert words is not None
    done = subprocess.run(
        [sys.executable, "-m", *words.split()], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return words


def test_offline_the_record_is_the_curves(told: Callable[..., Any]) -> None:
    run = told("logger=wandb")
    retell(run.config, run.folder)
    record = read_run(run.path)
    check_rows(record.history, run.path)
    assert record.exit_code == 0
    assert (record.group, record.job_type, record.name) == ("told", "train", run.path.name)
    assert set(record.tags) == {"mnist5k", "mlp", "ce"}
    assert (record.config["ratio"], record.config["seed"]) == (10, 0)
    by_epoch = {name for name, step in record.step_metric.items() if step == "epoch"}
    probes = {"gradients/*", "calibration/*", "samples/*"}
    assert by_epoch == {"train/*", "val/*", "test/*", "gap/*", *probes}
    on_disk = json.loads((run.path / "summary.json").read_text())
    del on_disk["step"]  # is W&B's own
    assert None in on_disk.values(), "a class that is never predicted has no such calibration"
    of_classes = re.compile("(val_best/)?(train|val|test)/(?!recall/|loss/)[a-z0-9_]+/class/")
    left_out = {name for name in on_disk if of_classes.match(name)}
    assert len(left_out) == 2 * 3 * 6 * 10
    assert not left_out & set(record.summary)
    on_disk = {name: value for name, value in on_disk.items() if name not in left_out}
    summary = {name: record.summary[name] for name in on_disk}
    assert there(summary) == pytest.approx(there(on_disk))


def test_what_is_streamed_is_what_is_on_disk(tmp_path: Path) -> None:
    """While it trains, a step's evaluation and each of its probes come one after the other."""
    probes = "curves/probes=[initial_drop,gradients,geometry,samples]"
    run = train_at(tmp_path, "ratio=10", "model=mlp", *TINY, probes, "logger=wandb").path
    lines = read_curves(run)[0]
    assert {line.get("probe") for line in lines if line["step"] == 3} >= {
        None,
        "initial_drop",
        "gradients",
        "geometry",
        "samples",
    }
    check_rows(read_run(run).history, run)


def test_lightnings_own_rows_are_recorded_too(told: Callable[..., Any]) -> None:
    run = told("logger=wandb")
    with loggers(run.config, run.folder, ALONE) as (started, _):
        train_with(*started)
    # Batch 1 ends after the curves of step 2 and is moved to it, where batch 2 follows.
    check_told(read_run(run.path).history, missing=(1,))


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WANDB_MODE", "disabled", "WANDB_MODE=disabled: nothing is logged to W&B"),
        slow("WANDB_MODE", "Disabled", "WANDB_MODE=Disabled: nothing is logged to W&B"),
        ("WANDB_DISABLED", "true", "WANDB_DISABLED=true: nothing is logged to W&B"),
        slow("WANDB_DISABLED", "1", "WANDB_DISABLED=1: nothing is logged to W&B"),
        ("WANDB_MODE", "offline", "W&B stays offline (WANDB_MODE=offline); how to upload is said"),
        slow(
            "WANDB_MODE", "OFFLINE", "W&B stays offline (WANDB_MODE=offline); how to upload is said"
        ),
        slow(
            "WANDB_MODE", "dryrun", "W&B stays offline (WANDB_MODE=dryrun); how to upload is said"
        ),
    ],
)
@pytest.mark.parametrize("logger", ["wandb", "wandb_online"])
def test_wandbs_own_variables_are_obeyed(
    told: Callable[..., Any],
    server: WandbServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    said: str,
    logger: str,
) -> None:
    monkeypatch.setenv(variable, value)
    run = told(f"logger={logger}")
    for _ in range(2):
        retell(run.config, run.folder)
    lines = capfd.readouterr().err.splitlines()
    if "stays offline" in said:
        assert len(lines) == (logger == "wandb_online")
        check_rows(read_run(run.path).history, run.path)
    else:
        assert len(lines) == 1
        assert not (run.path / "wandb").exists()
    assert all(line.startswith(said) for line in lines), "it is said once"
    assert not server.requests


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("WANDB_MODE", "foo", "'online', 'offline'"),
        slow("WANDB_BASE_URL", "localhost:8080", "URL scheme should be 'http' or 'https'"),
        slow("WANDB_BASE_URL", "ftp://x", "URL scheme should be 'http' or 'https'"),
        slow("WANDB_BASE_URL", "http://a b", "valid URL"),
        slow("WANDB_CONSOLE", "foo", "'auto', 'off'"),
        slow("WANDB_PROJECT", "a/b", "cannot contain"),
    ],
)
@pytest.mark.parametrize("logger", ["wandb", "wandb_online"])
def test_a_variable_that_wandb_cannot_read_costs_no_record(
    told: Callable[..., Any],
    server: WandbServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    reason: str,
    logger: str,
) -> None:
    monkeypatch.setenv(variable, value)
    run = told(f"logger={logger}")
    for _ in range(2):
        retell(run.config, run.folder)
    (line,) = capfd.readouterr().err.splitlines()
    assert f"{variable}={value}: " in line
    assert reason in line
    check_rows(read_run(run.path).history, run.path)
    assert not server.requests


def test_variables_that_are_empty_are_as_good_as_none(
    told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for variable in ("WANDB_MODE", "WANDB_BASE_URL", "WANDB_DISABLED"):
        monkeypatch.setenv(variable, "")
    wandb.teardown()
    run = told("logger=wandb")
    retell(run.config, run.folder)
    assert not capfd.readouterr().err
    check_rows(read_run(run.path).history, run.path)


@pytest.mark.slow
def test_a_home_that_cannot_be_written_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "/dev/null/x")
    arguments = ["ratio=1", "model=mlp", "logger=wandb", f"logs_dir={tmp_path}", *TINY]
    trained = forked(*arguments)
    assert trained.returncode == 0, trained.stderr
    assert "Traceback" not in trained.stderr
    assert "W&B" not in trained.stderr
    (path,) = (status.parent for status in tmp_path.glob("default/*/status.json"))
    record = read_run(path)
    check_rows(record.history, path)
    assert "result/classes/path" in record.history[-1]


def test_the_classes_the_confusion_matrix_and_the_pictures(told: Callable[..., Any]) -> None:
    run = told("logger=wandb")
    retell(run.config, run.folder)
    last = read_run(run.path).history[-1]
    (files,) = run.path.glob("wandb/offline-run-*/files")
    lines = read_curves(run.path)[0]
    tests, trains = ([x for x in lines if x.get("split") == s] for s in ("test", "train"))
    table = json.loads((files / last["result/classes/path"]).read_text())
    assert table["columns"] == ["class", "training samples", "group", "train recall", "test recall"]
    counts = [30] * 5 + [3] * 5
    groups = ["majority"] * 5 + ["minority"] * 5
    recalls = zip(trains[-1]["recall"], tests[-1]["recall"], strict=True)
    expected = zip(map(str, range(10)), counts, groups, recalls, strict=True)
    for row, (name, count, group, (train, test)) in zip(table["data"], expected, strict=True):
        assert row[:3] == [name, count, group]
        assert row[3:] == pytest.approx([train, test])
    cells = json.loads((files / last["result/confusion_table/path"]).read_text())["data"]
    matrix = np.asarray([count for _, _, count in cells]).reshape(10, 10)
    assert (matrix == np.asarray(tests[-1]["confusion"])).all()
    assert (matrix.sum(axis=1) == tests[-1]["n"]).all(), "a row for each true class"
    assert [row[:2] for row in cells[:2]] == [["0", "0"], ["0", "1"]]
    for name in ("curves", "samples"):
        shown = (files / last[f"result/{name}/path"]).read_bytes()
        assert shown == (run.path / f"{name}.png").read_bytes()


def test_a_study_has_one_folder_for_sync_and_leet(told: Callable[..., Any]) -> None:
    run = told("logger=wandb")
    retell(run.config, run.folder)
    rows = read_run(run.path).history
    links = run.path.parent / "wandb"
    (link,) = links.glob("offline-run-*")
    for place in (link, links):
        inspected = subprocess.run(
            [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(place)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        kinds = [json.loads(line)["type"] for line in inspected.stdout.splitlines()]
        assert kinds.count("history") == len(rows)
    retell(run.config, run.folder)
    (again,) = links.glob("offline-run-*")
    assert again.exists()
    assert (links / "latest-run").resolve() == again.resolve()
    assert read_run(run.path).exit_code == 0, "trained again, it is recorded once"
    shutil.rmtree(run.path)
    wandb_files.prune(run.path.parent)
    assert not list(links.glob("offline-run-*"))


@pytest.mark.parametrize(
    "trouble", ["none", pytest.param("slow", marks=pytest.mark.slow), "some errors"]
)
def test_online_the_server_has_the_curves(
    told: Callable[..., Any],
    server: WandbServer,
    trouble: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("skewlab.loggers.wandb.BEGIN_TIMEOUT", 30.0)
    monkeypatch.setattr("skewlab.loggers.wandb.END_TIMEOUT", 60.0)
    run = told("logger=wandb_online")
    server.delay = 0.3 * (trouble == "slow")

    def stumble(row: int) -> None:
        if row == 3 and trouble == "some errors":
            server.failures = 2

    tell(run, stumble)
    assert not server.failures, "all of them have happened"
    (stored,) = (run for run in server.runs.values() if run.about)
    check_rows(stored.rows, run.path)
    assert (stored.exit_code, stored.complete) == (0, True)
    assert stored.about["groupName"] == "told"
    assert stored.about["jobType"] == "train"
    assert (stored.config["ratio"]["value"], stored.config["seed"]["value"]) == (10, 0)
    assert stored.summary["val_best/epoch"]
    media = {name.split("/")[1] for name in stored.files if name.startswith("media/")}
    assert media == {"images", "table"}
    assert wandb_files.sync_command([run.path]) is None, "nothing is left to upload"
    assert not server.unknown


def test_the_server_goes_away(
    told: Callable[..., Any], server: WandbServer, capfd: pytest.CaptureFixture[str]
) -> None:
    run = told("logger=wandb_online")
    tell(run, lambda row: server.vanish() if row == 4 else None)
    assert "kept for later upload" in capfd.readouterr().err
    record = read_run(run.path)
    check_rows(record.history, run.path)
    assert record.exit_code == 0
    assert record.summary["val_best/epoch"]
    assert "result/classes/path" in record.history[-1]


def test_the_librarys_own_process_is_killed(
    told: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    run = told("logger=wandb")

    def kill(row: int) -> None:
        for process in psutil.Process().children(recursive=True) if row == 4 else ():
            if "wandb-core" in process.name():
                process.send_signal(signal.SIGKILL)
                process.wait()

    tell(run, kill)
    said = capfd.readouterr().err
    assert said.count("WandbRun failed") == 1
    assert "kept for later upload" in said
    record = read_run(run.path)
    check_rows(record.history, run.path)
    assert record.exit_code == 0


@pytest.mark.parametrize(
    ("ending", "exit_code", "state"),
    [
        (RuntimeError("out of memory"), 1, None),
        slow(Preempted("SIGTERM", 3), 1, None),
        (KeyboardInterrupt(), 1, None),
        (Diverged(3), 0, "diverged"),
    ],
)
def test_how_a_run_ended(
    told: Callable[..., Any],
    server: WandbServer,
    ending: BaseException,
    exit_code: int,
    state: str | None,
) -> None:
    run = told("logger=wandb_online")

    def end(row: int) -> None:
        if row == 4:
            raise ending

    with pytest.raises(type(ending)):
        tell(run, end)
    (stored,) = (run for run in server.runs.values() if run.about)
    assert len(stored.rows) >= 4
    assert stored.exit_code == exit_code
    assert stored.preempting == isinstance(ending, Preempted | KeyboardInterrupt)
    assert stored.summary.get("state") == state


def test_a_run_that_diverged_is_told_again_as_such(told: Callable[..., Any]) -> None:
    run = told("logger=wandb")
    status = json.loads((run.path / "status.json").read_text())
    changed = {**status, "state": "diverged", "step": 3, "reason": "diverged at step 3"}
    del changed["files"]
    changed["digest"] = digest_of(changed)
    (run.path / "status.json").write_text(json.dumps(changed))
    (run.path / "summary.json").unlink()
    retell(run.config, run.folder)
    record = read_run(run.path)
    check_rows(record.history, run.path)
    assert record.summary["state"] == "diverged"
    assert record.exit_code == 0


def test_a_run_that_failed_before_it_was_evaluated(
    told: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    run = told("logger=wandb")
    for name in ("curves.jsonl", "data.json"):
        (run.path / name).unlink()
    with pytest.raises(ZeroDivisionError), loggers(run.config, run.folder, ALONE):
        print(1 / 0)
    assert read_run(run.path).exit_code == 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param("silent", marks=pytest.mark.slow),
        pytest.param("errors", marks=pytest.mark.slow),
        "not there",
        pytest.param("no key", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_online_goes_on_offline(
    told: Callable[..., Any],
    server: WandbServer,
    trouble: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = told("logger=wandb_online")
    if trouble == "silent":
        server.delay = 3600
    elif trouble == "errors":
        server.refuse = 500
    elif trouble == "not there":
        server.vanish()
    else:
        monkeypatch.delenv("WANDB_API_KEY")
        monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
        wandb.teardown()
    tell(run)
    assert capfd.readouterr().err.startswith("W&B stays offline (")
    if trouble == "not there":
        tell(run)
        assert capfd.readouterr().err == "", "it is said once"
    check_rows(read_run(run.path).history, run.path)
    if trouble == "no key":
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    server.delay, server.refuse = 0, 0
    if trouble != "not there":
        assert sync(run.path) == f"wandb sync {run.path.parent / 'wandb'}"
        (stored,) = (run for run in server.runs.values() if run.about)
        check_rows(stored.rows, run.path)
        assert stored.exit_code == 0
        assert wandb_files.sync_command([run.path]) is None, "it is uploaded once"


@pytest.mark.slow
def test_a_killed_run_goes_on_as_its_own(tmp_path: Path, server: WandbServer) -> None:
    """Killed in an evaluation, when the server knew rows that its last checkpoint did not."""
    arguments = ["ratio=10", *TINY, "trainer.max_epochs=4", "logger=wandb_online"]
    arguments += ["curves/probes=[initial_drop,samples]", f"logs_dir={tmp_path}"]
    killed = forked(*arguments, "study=study", fault="in_an_evaluation")
    assert killed.returncode == -signal.SIGKILL
    again = forked(*arguments, "study=study")
    assert "goes on from step 6" in again.stderr
    (stored,) = (run for run in server.runs.values() if run.about)
    (status,) = (tmp_path / "study").glob("*/status.json")
    check_rows(stored.rows, status.parent)
    assert stored.exit_code == 0
    assert server.operations["RunResumeStatus"] == 2


@pytest.mark.slow
def test_a_wandb_sweep(tmp_path: Path, server: WandbServer, monkeypatch: Any) -> None:
    """W&B's own agent starts train.py; a combination that is trained already is told again."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    # The agent starts whichever `python` it finds first.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    file = "configs/wandb_sweep.yaml"
    wandb_command = [sys.executable, "-m", "wandb"]
    made = subprocess.run([*wandb_command, "sweep", file], capture_output=True, text=True)
    assert "wandb agent me/skewlab/sweep1" in made.stderr
    assert yaml.safe_load(server.sweep_config) == yaml.safe_load((ROOT / file).read_text())
    tiny = dict(word.split("=") for word in (*TINY, "model=mlp", f"logs_dir={tmp_path}"))
    for number, ratio in enumerate((1, 10, 10)):
        asked = {
            key: {"value": value} for key, value in {"ratio": ratio, "seed": 0, **tiny}.items()
        }
        server.commands.append({"id": f"c{number}", "run_id": f"run{number}", "args": asked})
    agent = subprocess.run(
        [*wandb_command, "agent", "me/skewlab/sweep1"], capture_output=True, text=True, timeout=300
    )
    assert agent.returncode == 0, agent.stderr
    assert agent.stderr.count("the run is done already and skipped") == 1
    runs = {name: run for name, run in server.runs.items() if run.about}
    assert list(runs) == ["run0", "run1", "run2"]
    for name, ratio in (("run0", 1), ("run1", 10), ("run2", 10)):
        (status,) = (tmp_path / "sweep").glob(f"*ratio{ratio}-*/status.json")
        check_rows(runs[name].rows, status.parent)
        assert runs[name].about["sweep"] == "sweep1"
        assert runs[name].exit_code == 0
        assert "val/balanced_accuracy" in runs[name].summary


@pytest.mark.slow
def test_a_killed_job_loses_a_second_of_its_record(tmp_path: Path) -> None:
    """The job and W&B's own process are killed at once, as when a machine goes down."""
    logs = tmp_path / "logs"
    script = f"""
import itertools, sys, time
sys.path.insert(0, {str(ROOT / "tests")!r})
from program import composed_at
from skewlab.config.schema import checked
from skewlab.loggers.wandb import WandbRun
from skewlab.runs.folder import RunFolder
from skewlab.runs.identity import run_path
from pathlib import Path
config = composed_at(Path({str(logs)!r}), "logger=wandb")
run_config = checked(config)
folder = RunFolder(run_path(run_config))
folder.start(config, {{}})
run = WandbRun(run_config, folder, mode="offline", project="p")
for step in itertools.count():
    run.log_metrics({{"at": time.time()}}, step)
    print(step, flush=True)
    time.sleep(0.02)
"""
    job = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert job.stdout is not None
    last = 0
    stop = threading.Timer(30, lambda: os.killpg(job.pid, signal.SIGKILL))
    for line in job.stdout:
        last = int(line)
        if last == 200:
            stop.cancel()
            victims = [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]
            for process in victims:
                process.send_signal(signal.SIGKILL)
            break
    job.wait()
    (file,) = logs.glob("*/*/wandb/offline-run-*/*.wandb")
    kept = [x.history for x in records(file) if x.WhichOneof("record_type") == "history"]
    times = [
        json.loads(item.value_json)
        for row in kept
        for item in row.item
        if "at" in (item.key, *item.nested_key)
    ]
    assert last == 200
    # 50 rows a second; W&B's default would have kept none of them.
    assert len(times) >= 200 - 75
