"""What probes promise of real runs: the curves and the network are as without them, an interruption
is not seen, and what cannot be is said before training."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import refused
from program import TINY, command, forked

from skewlab.launch.checks import check_jobs
from skewlab.runs.curve_file import read_curves

PROBES = ("initial_drop", "gradients", "samples", "geometry", "calibration", "representation")
# Three steps an epoch, twelve in all, augmented; batch normalisation, dropout and momentum: a state
# and random numbers that could be disturbed.
ARGUMENTS = (
    "ratio=10",
    "imbalance.n_max=30",
    "data.val_per_class=20",
    "trainer.max_epochs=4",
    "logger=none",
    "data.flip=true",
    "data.crop=2",
    "model=mlp",
    "~model.hidden",
    "model.name=noisy",
    "model._target_=probe_cases.noisy_network",
)
SHORT = ("ratio=10", "logger=none", "model=mlp", *TINY)
ON = (
    f"curves/probes=[{','.join(PROBES)}]",
    "curves.probes.initial_drop.steps=8",
    "curves.probes.gradients.points=20",
    "curves.probes.gradients.rows=60",
)


def ended(fault: str, *arguments: str) -> int:
    """How a run ended that finds the networks of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        return forked(*ARGUMENTS, *arguments, fault=fault).returncode


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies without probes, with all of them, and with all of them and killed at step 7."""
    logs = tmp_path_factory.mktemp("probed")
    assert ended("nothing", f"logs_dir={logs}", "study=off") == 0
    for study, fault, code in (
        ("on", "nothing", 0),
        ("killed", "between_batches", -9),
        ("killed", "nothing", 0),
    ):
        assert ended(fault, *ON, f"logs_dir={logs}", f"study={study}") == code
    return logs


def folder(logs: Path, study: str) -> Path:
    (status,) = logs.glob(f"{study}/*/status.json")
    assert json.loads(status.read_text())["state"] == "done"
    return status.parent


def texts(run: Path, kind: str) -> list[str]:
    """The lines of splits or of probes, as they are on disk."""
    lines = (run / "curves.jsonl").read_text().splitlines()
    return [line for line in lines if kind in json.loads(line)]


def assert_same_state(one: Path, other: Path) -> None:
    """Network and optimiser of the last checkpoint, exactly."""
    ours, theirs = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (one, other)
    )
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=0)


@pytest.mark.slow
def test_the_curves_and_the_network_are_as_without_probes(logs: Path) -> None:
    off, on = folder(logs, "off"), folder(logs, "on")
    assert texts(off, "split") == texts(on, "split")
    assert not texts(off, "probe")
    assert_same_state(off, on)


@pytest.mark.slow
def test_each_probe_has_measured_when_it_should(logs: Path) -> None:
    lines, problems = read_curves(folder(logs, "on"))
    assert not problems
    steps: dict[str, list[int]] = {}
    for line in lines:
        steps.setdefault(line.get("probe") or line["split"], []).append(line["step"])
    evaluated = steps["test"]
    assert evaluated == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12]
    assert steps["geometry"] == steps["calibration"] == evaluated
    assert steps["samples"] == [3, 6, 9, 12]
    assert steps["representation"] == [0, 12]
    assert steps["initial_drop"] == list(range(9))
    assert steps["gradients"] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)


@pytest.mark.slow
def test_the_probes_agree_with_the_curves(logs: Path) -> None:
    """Recall with the network's own head; the share of training samples that are right."""
    run = folder(logs, "on")
    lines, _ = read_curves(run)

    def last(kind: str, name: str) -> dict[str, Any]:
        return [line for line in lines if line.get(kind) == name][-1]

    own = last("probe", "representation")
    np.testing.assert_allclose(own["recall/own_head"], last("split", "test")["recall"])
    np.testing.assert_allclose(own["val/own_head"], last("split", "val")["recall"])
    recalls = [
        line["recall"]
        for line in lines
        if line.get("split") == "train" and line["step"] in (3, 6, 9, 12)
    ]
    samples = last("probe", "samples")
    np.testing.assert_allclose(samples["correctness"], np.mean(recalls, axis=0), rtol=1e-8)
    with np.load(run / "samples.npz") as file:
        assert len(file["label"]) == last("split", "train")["n"].sum()
        for label in range(10):
            mean = file["forgetting"][file["label"] == label].mean()
            assert samples["forgetting"][label] == pytest.approx(mean)
    assert (run / "samples.png").exists()
    # The first samples of each class, here all of them, at every one of the first steps.
    drop = {line["step"]: line for line in lines if line.get("probe") == "initial_drop"}
    for line in lines:
        if line.get("split") == "train" and line["step"] in drop:
            np.testing.assert_allclose(drop[line["step"]]["loss"], line["loss"], rtol=1e-5)


@pytest.mark.slow
def test_a_killed_run_ends_as_one_that_was_not(logs: Path) -> None:
    on, killed = folder(logs, "on"), folder(logs, "killed")
    for name in ("curves.jsonl", "summary.json"):
        assert (on / name).read_bytes() == (killed / name).read_bytes(), name
    assert_same_state(on, killed)
    for file in ("samples.npz", "features.npz"):
        with np.load(on / file) as ours, np.load(killed / file) as theirs:
            assert ours.files == theirs.files
            for name in ours.files:
                np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.slow
def test_steps_are_updates_where_gradients_are_gathered(tmp_path: Path) -> None:
    """Two batches make an update, and the third one of an epoch another: none is told twice."""
    gathered = (*ON, "trainer.accumulate_grad_batches=2", f"logs_dir={tmp_path}", "study=gathered")
    assert ended("nothing", *gathered) == 0
    lines, _ = read_curves(folder(tmp_path, "gathered"))
    steps: dict[str, list[int]] = {}
    for line in lines:
        steps.setdefault(line.get("probe") or line["split"], []).append(line["step"])
    assert steps["test"] == [0, 1, 2, 3, 4, 5, 6, 8]
    assert steps["initial_drop"] == list(range(9))
    assert steps["gradients"] == list(range(8))


@pytest.mark.slow
def test_a_run_that_diverges_is_diverged(tmp_path: Path) -> None:
    """Its features and gradients are no numbers, which no solver takes: that is no failure."""
    assert ended("nothing", *ON, "optimizer.lr=1e30", f"logs_dir={tmp_path}", "study=gone") == 0
    (status,) = tmp_path.glob("gone/*/status.json")
    assert json.loads(status.read_text())["state"] == "diverged"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["curves/probes=nonsense"], "curves/probes"),
        pytest.param(
            ["curves/probes=gradients", "curves.probes.gradients.rows=0"],
            "curves.probes.gradients.rows=0: must be a whole number of at least 1",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    ended = command("train.py", *SHORT, *arguments, f"logs_dir={tmp_path}/logs")
    assert ended.returncode != 0
    (line,) = [text for text in ended.stderr.splitlines() if text.startswith("error: ")]
    assert said in line
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["curves/probes=geometry", "~model.hidden", "model._target_=probe_cases.WithoutParts"],
            "curves/probes=geometry: needs a network with `features` and `head`",
        ),
        (
            ["curves/probes=representation", "data.val_per_class=1"],
            "data.val_per_class=1: must be at least 2 for curves/probes=representation",
        ),
        (["curves/probes=samples", "+curves.probes.samples.bins=2"], "curves.probes.samples.bins"),
    ],
)
def test_what_a_probe_needs_is_checked_before_training(
    composed: Callable[..., dict[str, Any]], arguments: list[str], said: str
) -> None:
    assert refused(lambda: check_jobs([composed(*SHORT, *arguments)])).startswith(said)


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    return command(
        *["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train.py"],
        *["trainer=ddp", *SHORT, *arguments],
    )


@pytest.mark.slow
def test_single_steps_are_not_looked_at_on_several_processes(tmp_path: Path) -> None:
    ended = torchrun("curves/probes=gradients", f"logs_dir={tmp_path}/logs")
    assert ended.returncode != 0
    lines = [text for text in ended.stderr.splitlines() if "error: " in text]
    assert len([line for line in lines if "not with trainer=ddp" in line]) == 1, lines
    assert not (tmp_path / "logs").exists()


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path: Path) -> None:
    """Batches of 130 of 165, 200 and 1,000 samples: one process has fewer of them."""
    arguments = [
        "curves/probes=[samples,geometry,calibration]",
        "curves.evaluation_batch_size=130",
    ]
    alone = command("train.py", *SHORT, *arguments, f"logs_dir={tmp_path}/one")
    assert alone.returncode == 0, alone.stderr
    together = torchrun(*arguments, f"logs_dir={tmp_path}/two")
    assert together.returncode == 0, together.stderr
    ours, theirs = (
        [line for line in read_curves(folder(tmp_path / place, "default"))[0] if "probe" in line]
        for place in ("one", "two")
    )
    assert [(line["probe"], line["step"]) for line in ours] == [
        (line["probe"], line["step"]) for line in theirs
    ]
    assert {line["probe"] for line in ours} == {"samples", "geometry", "calibration"}
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            # Gradients are summed in another order; pictures are rounded to three digits.
            loose = {"atol": 5e-3} if name.startswith("projection") else {"rtol": 1e-4}
            if name not in ("probe", "nc4/train", "nc4/test"):
                np.testing.assert_allclose(value, other[name], err_msg=name, **loose)
