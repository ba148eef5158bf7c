"""One run on several real processes, started by torchrun."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from program import ROOT, command, forked

from skewlab.data.batches import EveryRowOnce, RowsInOrder, Share, TrainingBatches
from skewlab.data.transforms import CropAndFlip
from skewlab.runs.curve_file import read_curves

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")
# 170 samples: the last of three batches has 42; splits of 170, 200 and 1,000 samples in batches of
# 130 leave some processes with fewer of them, or none.
ARGUMENTS = (
    "seed=1",
    "imbalance.n_max=30",
    "data.val_per_class=20",
    "data.crop=2",
    "data.flip=true",
    "trainer.max_epochs=3",
    "training.checkpoint_seconds=0",
    "curves.evaluation_batch_size=130",
    "logger=none",
    "model=mlp",
)
# A rank that fails at its fifth step, a rank that kills itself there, a rank whose loss is NaN.
BREAK = """
import os, runpy, signal, sys
from skewlab.training.module import ImbalanceClassifier
original = ImbalanceClassifier.training_step
def training_step(self, *given):
    loss = original(self, *given)
    if self.global_step == 4 and os.environ["RANK"] == "1":
        if sys.argv[-1].endswith("raise"):
            raise RuntimeError("this rank is broken")
        if sys.argv[-1].endswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        loss = loss * float("nan")
    return loss
ImbalanceClassifier.training_step = training_step
sys.argv[0] = "train.py"
runpy.run_path(os.path.join(os.getcwd(), "train.py"), run_name="__main__")
"""


def torchrun(processes: int, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TORCHRUN, f"--nproc_per_node={processes}", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def lines(study: Path) -> list[dict[str, Any]]:
    (folder,) = study.glob("mnist5k-*")
    read, problems = read_curves(folder)
    assert not problems
    return read


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("alone")
    done = forked("ratio=7", *ARGUMENTS, f"logs_dir={logs}", fault="nothing")
    assert done.returncode == 0, done.stderr
    return logs / "default"


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_gives_the_same_curves(
    alone: Path, tmp_path: Path, processes: int
) -> None:
    done = torchrun(
        processes, "train.py", "ratio=7", *ARGUMENTS, "trainer=ddp", f"logs_dir={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 3/3") == 1, "one of them speaks"
    ours, theirs = lines(alone), lines(tmp_path / "default")
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert (one["step"], one["split"]) == (other["step"], other["split"])
        np.testing.assert_array_equal(one["n"], other["n"])
        if one["step"] == 0:  # the same weights: the same counts
            np.testing.assert_array_equal(one["confusion"], other["confusion"])
            np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-8)
            for name in ("auroc", "average_precision"):  # of all samples, whoever has seen them
                np.testing.assert_array_equal(one[name], other[name])
        # Gradients are summed in another order: a sample on the boundary may change sides.
        assert np.abs(one["confusion"] - other["confusion"]).sum() <= 2
        np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-6)
        np.testing.assert_allclose(one["auroc"], other["auroc"], atol=1e-3)
    assert ours[-1]["n"].sum() == 1000, "each test sample once"


def training_batches(
    rows: int, batch_size: int, step: int, rank: int = 0, processes: int = 1
) -> TrainingBatches:
    """Of a training that goes on after so many steps."""
    made = TrainingBatches(EveryRowOnce(rows), batch_size, 3, rank, processes)
    made.epoch, made.done = divmod(step, len(made))
    return made


@given(
    rows=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    processes=st.integers(1, 5),
    step=st.integers(0, 30),
)
def test_shares_are_the_batches(rows: int, batch_size: int, processes: int, step: int) -> None:
    """Whatever the sizes: together the shares are the batches of one process, from any step on."""
    whole = list(training_batches(rows, batch_size, step))
    shares = [
        list(training_batches(rows, batch_size, step, rank, processes)) for rank in range(processes)
    ]
    assert [len(own) for own in shares] == [len(whole)] * processes
    for place, batch in enumerate(whole):
        parts = [own[place] for own in shares]
        counted = [part for part in parts if part.counted]
        assert torch.cat([part.rows for part in counted]).tolist() == batch.rows.tolist()
        assert all(len(part.rows) >= 1 and part.whole == len(batch.rows) for part in parts)
        assert {part.number for part in parts} == {step + place}
        for part in counted:
            same = batch.rows[part.first : part.first + len(part.rows)]
            assert part.rows.tolist() == same.tolist()
    steps = -(-rows // batch_size)
    assert len(whole) == steps - step % steps
    begun = TrainingBatches(EveryRowOnce(rows), batch_size, 3)
    begun.set_epoch(step // steps)
    assert [b.rows.tolist() for b in list(begun)[step % steps :]] == [
        b.rows.tolist() for b in whole
    ]


@given(rows=st.integers(1, 60), batch_size=st.integers(1, 20), processes=st.integers(1, 5))
def test_evaluation_takes_each_row_once(rows: int, batch_size: int, processes: int) -> None:
    seen = [
        share.rows
        for rank in range(processes)
        for share in RowsInOrder(rows, batch_size, rank, processes)
    ]
    assert sorted(torch.cat(seen).tolist()) == list(range(rows))
    assert {tuple(batch.tolist()) for batch in seen} == {
        tuple(share.rows.tolist()) for share in RowsInOrder(rows, batch_size)
    }, "the same batches"


def test_an_image_is_augmented_the_same_whoever_has_it() -> None:
    images = torch.arange(7 * 6 * 6 * 1, dtype=torch.uint8).reshape(7, 6, 6, 1)
    augment = CropAndFlip(2, True, 0)
    whole = augment(images, 5)
    for rank in range(3):
        share = Share.of(torch.arange(7), 0, rank, 3)
        own = augment(images[share.rows], 5, share.first, share.whole)
        assert torch.equal(own, whole[share.rows])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raise", "kill"])
def test_a_failure_on_any_rank_ends_all(tmp_path: Path, how: str) -> None:
    program = tmp_path / "broken.py"
    program.write_text(BREAK)
    ended = torchrun(
        2, str(program), "-m", "ratio=7,8", *ARGUMENTS, "trainer=ddp", f"logs_dir={tmp_path}/{how}"
    )
    assert ended.returncode != 0
    (status,) = (tmp_path / how).glob("default/*/status.json")
    found = json.loads(status.read_text())
    assert found["state"] == "failed"
    if how == "raise":
        assert found["reason"] == "process 1: RuntimeError: this rank is broken"
        assert re.search(
            r"torchrun --standalone --nproc_per_node=2 \S*train.py -m ratio=7,8", ended.stdout
        )


@pytest.mark.slow
def test_divergence_seen_by_one_rank_is_everybodys(tmp_path: Path) -> None:
    program = tmp_path / "broken.py"
    program.write_text(BREAK)
    ended = torchrun(
        2, str(program), "ratio=7", *ARGUMENTS, "trainer=ddp", f"logs_dir={tmp_path}/nan"
    )
    assert ended.returncode == 0, ended.stderr
    (status,) = tmp_path.glob("nan/default/*/status.json")
    found = json.loads(status.read_text())
    assert (found["state"], found["reason"]) == ("diverged", "diverged at step 5")


@pytest.mark.slow
def test_sigterm_stops_all_at_one_step_and_they_go_on(tmp_path: Path) -> None:
    arguments = [
        "ratio=7",
        *ARGUMENTS,
        "imbalance.n_max=300",
        "trainer.max_epochs=40",
        "trainer=ddp",
    ]
    process = subprocess.Popen(
        [*TORCHRUN, "--nproc_per_node=2", "train.py", *arguments, f"logs_dir={tmp_path}/stopped"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):
        curves = next(iter((tmp_path / "stopped").glob("default/*/curves.jsonl")), None)
        if curves is not None and curves.read_text().count("\n") > 50:
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=60) != 0
    (status,) = tmp_path.glob("stopped/default/*/status.json")
    assert json.loads(status.read_text())["state"] == "preempted"
    for study in ("stopped", "whole"):
        done = torchrun(2, "train.py", *arguments, f"logs_dir={tmp_path}/{study}")
        assert done.returncode == 0, done.stderr
    (one,), (other,) = (
        (tmp_path / study).glob("default/*/curves.jsonl") for study in ("stopped", "whole")
    )
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("starter", "arguments", "said"),
    [
        (
            [],
            ["-m", "ratio=1,10", "trainer=ddp"],
            "torchrun --standalone --nproc_per_node=2 train.py -m ratio=1,10",
        ),
        (["-m", "torch.distributed.run", "--nproc_per_node=2"], ["ratio=10"], "add trainer=ddp"),
    ],
)
def test_the_wrong_start_is_refused(
    tmp_path: Path, starter: list[str], arguments: list[str], said: str
) -> None:
    refused = command(*starter, "train.py", *arguments, f"logs_dir={tmp_path}/logs")
    assert refused.returncode != 0
    (line,) = [text for text in refused.stderr.splitlines() if text.startswith("error: ")]
    assert said in line
    assert not (tmp_path / "logs").exists()
