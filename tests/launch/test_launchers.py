"""Sweeps that other processes train: the same runs as a serial one, and what failures cost."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from program import ROOT, TINY, command
from wandb_records import read_run

SWEEP = ("train.py", "-m", "ratio=1,10", "seed=0,1", "model=mlp", *TINY)


def curves(logs: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in logs.glob("default/*/curves.jsonl")}


def states(logs: Path) -> list[str]:
    return [json.loads(path.read_text())["state"] for path in logs.glob("default/*/status.json")]


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    logs = tmp_path_factory.mktemp("serial")
    done = command(*SWEEP, "logger=none", f"logs_dir={logs}")
    assert done.returncode == 0, done.stderr
    return curves(logs)


@pytest.mark.slow
def test_joblib_gives_the_curves_of_the_serial_sweep(
    tmp_path: Path, serial: dict[str, bytes]
) -> None:
    done = command(
        *SWEEP, f"logs_dir={tmp_path}", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"
    )
    assert done.returncode == 0, done.stderr
    assert "took" in done.stdout
    assert "about" not in done.stdout, "no process knows how long the others' runs take"
    assert curves(tmp_path) == serial
    folders = [path.parent for path in tmp_path.glob("default/*/curves.jsonl")]
    processes = {json.loads((f / "status.json").read_text())["process"] for f in folders}
    assert len(processes) == 2
    # One W&B run for each job, its own.
    assert sorted(read_run(folder).name for folder in folders) == sorted(serial)
    assert len({read_run(folder).run_id for folder in folders}) == 4


@pytest.mark.slow
def test_cores_are_divided_between_workers(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if "THREADS" not in key}
    done = subprocess.run(
        [sys.executable, *SWEEP, "logger=none", f"logs_dir={tmp_path}", "hydra/launcher=joblib"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0
    for path in tmp_path.glob("default/*/status.json"):
        assert json.loads(path.read_text())["provenance"]["threads"] == 1, "as many jobs as cores"


LONG = (*SWEEP, "logger=none", "imbalance.n_max=300", "trainer.max_epochs=60")


def wait_for_curves(logs: Path, lines: int, runs: int) -> None:
    for _ in range(3000):
        found = curves(logs)
        if sum(text.count(b"\n") > lines for text in found.values()) >= runs:
            return
        time.sleep(0.1)
    raise AssertionError("no curves")


@pytest.mark.slow
def test_a_killed_worker_costs_no_other_run(tmp_path: Path) -> None:
    whole = command(*LONG, f"logs_dir={tmp_path}/whole")
    assert whole.returncode == 0
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"logs_dir={tmp_path}/killed"]
    sweep = subprocess.Popen(
        [sys.executable, *LONG, *joblib],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_curves(tmp_path / "killed", 60, 2)
    worker = json.loads(next((tmp_path / "killed").glob("default/*/status.json")).read_text())
    os.kill(worker["process"], signal.SIGKILL)
    _, said = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, said
    assert "a worker was killed; starting again (1 of at most 3 times)" in said
    assert curves(tmp_path / "killed") == curves(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [("SIGTERM", 143), ("Ctrl-C", 130)])
def test_a_stop_stops_all_workers_where_they_can_go_on(tmp_path: Path, how: str, code: int) -> None:
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"logs_dir={tmp_path}"]
    sweep = subprocess.Popen(
        [sys.executable, *LONG, *joblib],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_curves(tmp_path, 60, 2)
    workers = psutil.Process(sweep.pid).children(recursive=True)
    if how == "SIGTERM":
        sweep.terminate()
    else:  # as a terminal does: to the whole group
        os.killpg(sweep.pid, signal.SIGINT)
    out, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == code
    assert sorted(states(tmp_path)) == ["preempted", "preempted"]
    assert "4 of 4 runs were stopped" in out
    psutil.wait_procs(workers, timeout=20)
    assert not any(worker.is_running() for worker in workers)


@pytest.mark.slow
def test_workers_whose_sweep_was_killed_begin_no_more_runs(tmp_path: Path) -> None:
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"logs_dir={tmp_path}"]
    sweep = subprocess.Popen([sys.executable, *LONG, *joblib], cwd=ROOT, stdout=subprocess.DEVNULL)
    wait_for_curves(tmp_path, 60, 2)
    workers = psutil.Process(sweep.pid).children(recursive=True)
    sweep.kill()
    sweep.wait()
    for _ in range(600):
        if states(tmp_path) == ["done", "done"]:
            break
        time.sleep(0.1)
    time.sleep(5)
    assert states(tmp_path) == ["done", "done"], "theirs they end"
    _, alive = psutil.wait_procs(workers, timeout=30)
    for worker in alive:
        worker.kill()
    assert not alive, "and then themselves"


@pytest.mark.slow
def test_submitit_requeues_a_preempted_job_which_goes_on(tmp_path: Path) -> None:
    """With submitit's local executor, which answers SIGUSR2 as on SLURM."""
    whole = command(*LONG, f"logs_dir={tmp_path}/whole")
    assert whole.returncode == 0
    logs = tmp_path / "preempted"
    sweep = subprocess.Popen(
        [sys.executable, *LONG, "hydra/launcher=submitit_local", f"logs_dir={logs}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for_curves(logs, 60, 4)
    status = json.loads(next(logs.glob("default/*-ratio10-*-seed1-*/status.json")).read_text())
    os.kill(status["process"], signal.SIGUSR2)
    out, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, out
    (after,) = logs.glob("default/*-ratio10-*-seed1-*/status.json")
    found = json.loads(after.read_text())
    assert found["state"] == "done"
    assert len(found["resumed_at"]) == 1
    assert found["process"] != status["process"]
    assert curves(logs) == curves(tmp_path / "whole")


def test_slurm_is_refused_where_there_is_none(tmp_path: Path) -> None:
    if shutil.which("srun"):
        pytest.skip("there is SLURM here")
    refused = command(*SWEEP, "hydra/launcher=submitit_slurm", f"logs_dir={tmp_path}/logs")
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: hydra/launcher=submitit_slurm: there is no srun here")


@pytest.fixture
def ray_cluster() -> Iterator[str]:
    """A real cluster on this machine."""
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    started = subprocess.run(
        [*ray, "start", "--head", "--port=6399", "--num-cpus=2", "--include-dashboard=false"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert started.returncode == 0, started.stderr
    yield "127.0.0.1:6399"
    subprocess.run([*ray, "stop", "--force"], capture_output=True, env=environment, timeout=60)


@pytest.mark.slow
def test_ray_gives_the_curves_of_the_serial_sweep(
    tmp_path: Path, serial: dict[str, bytes], ray_cluster: str
) -> None:
    cluster = ["hydra/launcher=ray", f"hydra.launcher.ray.init.address={ray_cluster}"]
    done = subprocess.run(
        [sys.executable, *SWEEP, "logger=none", f"logs_dir={tmp_path}", *cluster],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert curves(tmp_path) == serial
    assert re.search(r"report +\S+index.html", done.stdout)
