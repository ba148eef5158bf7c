"""A run that is killed at any moment, or whose files are damaged, ends as one that was not."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import save_pictures
from program import ROOT, command, forked

from skewlab.runs.curve_file import read_curves

# 165 samples in batches of 64: 3 steps an epoch, 12 in all. Augmented, so that a resumed run that
# draws other random numbers is seen; batch normalisation and momentum have a state to restore.
ARGUMENTS = (
    "ratio=10",
    "imbalance.n_max=30",
    "data.val_per_class=20",
    "trainer.max_epochs=4",
    "training.checkpoint_seconds=0",
    "logger=none",
    "data.flip=true",
    "data.crop=2",
)
NARROW = "model.widths=[4,4,8]"  # most of the time goes into evaluating it
# What is done to the process, and where: (exit code, steps it had done, step it goes on from).
KILLED = {
    "at_the_start": (-9, 0, None),
    "between_batches": (-9, 7, 6),
    "in_an_evaluation": (-9, 7, 6),
    "in_a_line": (-9, 8, 6),
    "in_a_checkpoint": (-9, 9, 6),
    "in_the_best_checkpoint": (-9, 6, 3),
    "between_checkpoints": (-9, 9, 6),
    "before_it_is_done": (-9, 12, 9),
    "sigterm": (143, 8, 8),
    "sigterm_at_an_epochs_end": (143, 6, 6),
    "ctrl_c": (130, 4, 4),
    "ctrl_c_twice": (130, 7, 6),
}
# Lightning's own ways to train. Of each: the step that it ends at, and what is done to it: at which
# batch, counted from 1, and then as above.
CONFIGURED = {
    # The third evaluation of val is the second without a better one.
    "callbacks EMAWeightAveraging and EarlyStopping": (
        (
            "callbacks=[ema,early_stopping]",
            "callbacks.ema.decay=0.8",
            "callbacks.early_stopping.patience=2",
            "+callbacks.early_stopping.min_delta=1",
        ),
        9,
        {
            "sigterm@8": (143, 8, 8),
            "between_batches@8": (-9, 7, 6),
            "before_it_is_done": (-9, 9, 6),
        },
    ),
    # A stop is asked for after three epochs, and waits for the fourth.
    "EarlyStopping and trainer.min_epochs=4": (
        (
            "callbacks=early_stopping",
            "callbacks.early_stopping.patience=2",
            "+callbacks.early_stopping.min_delta=1",
            "trainer.min_epochs=4",
            "trainer.max_epochs=6",
        ),
        12,
        {"between_batches@11": (-9, 10, 9)},
    ),
    # Six batches an epoch, of which two make an update.
    "trainer.accumulate_grad_batches=2": (
        ("trainer.accumulate_grad_batches=2", "data.batch_size=32"),
        12,
        {
            "sigterm@9": (143, 5, 5),
            "sigterm@10": (143, 5, 5),
            "between_batches@10": (-9, 4, 3),
        },
    ),
    "trainer.limit_train_batches=2": (
        ("trainer.limit_train_batches=2",),
        8,
        {
            "sigterm@6": (143, 6, 6),
            "sigterm@7": (143, 7, 7),
            "between_batches@8": (-9, 7, 6),
        },
    ),
    # In the middle of the third epoch.
    "trainer.max_steps=7": (
        ("trainer.max_steps=7",),
        7,
        {
            "sigterm@5": (143, 5, 5),
            "sigterm@7": (143, 7, None),  # it ends there anyway
            "between_batches@7": (-9, 6, 6),
            "before_it_is_done": (-9, 7, 6),
        },
    ),
    # In the middle of each epoch: a stop waits for the batch after it.
    "trainer.val_check_interval=2": (
        ("trainer.val_check_interval=2",),
        12,
        {
            "sigterm@7": (143, 7, 7),
            "sigterm@8": (143, 9, 9),
            "between_batches@9": (-9, 8, 6),
        },
    ),
    # Another learning rate after each epoch, by the loss on val.
    "scheduler ReduceLROnPlateau": (
        (
            "scheduler=constant",
            "~scheduler.warmup_epochs",
            "scheduler._target_=torch.optim.lr_scheduler.ReduceLROnPlateau",
            "+scheduler.patience=0",
            "+scheduler.threshold=100",
            "+scheduler.threshold_mode=abs",
            "+scheduler.factor=0.5",
        ),
        12,
        {"sigterm@8": (143, 8, 8), "between_batches@8": (-9, 7, 6)},
    ),
}
Damage = Callable[[Path], None]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    """In the middle, where weights lie: the file still has its length and its directory."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def both(folder: Path) -> None:
    truncate(folder / "checkpoints" / "last.ckpt")
    truncate(folder / "checkpoints" / "previous.ckpt")


def cut_curves(folder: Path) -> None:
    """To the first epoch: shorter than the last checkpoint knows of, as after a power failure."""
    lines = (folder / "curves.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] <= 6]
    (folder / "curves.jsonl").write_bytes(b"".join(kept))


# Done to the run that was stopped by SIGTERM at step 8, whose checkpoint before is of step 6: the
# damage, the step that it goes on from, and what is said of checkpoints that are not used.
LAST_IS_DAMAGED, PREVIOUS_IS_DAMAGED = "last.ckpt is damaged (", "previous.ckpt is damaged ("
DAMAGED: dict[str, tuple[Damage, int | None, tuple[str, ...]]] = {
    "last_checkpoint_truncated": (
        *(lambda folder: truncate(folder / "checkpoints" / "last.ckpt"), 6),
        (LAST_IS_DAMAGED,),
    ),
    "one_bit_flipped": (
        *(lambda folder: flip_a_bit(folder / "checkpoints" / "last.ckpt"), 6),
        (LAST_IS_DAMAGED,),
    ),
    "both_checkpoints_truncated": (both, None, (LAST_IS_DAMAGED, PREVIOUS_IS_DAMAGED)),
    "curves_cut": (cut_curves, 6, ("last.ckpt knows of other curves than those",)),
}


class Outcomes:
    """What came of each fault and of each damage, found out when it is first asked for.

    Args:
        logs: where the runs lie.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.ended: dict[str, int] = {}
        self.said: dict[str, str] = {}

    def folder(self, study: str) -> Path:
        """The folder of a study's run, which was broken and then went on to its end."""
        if study not in self.said:
            self._find_out(study)
        return folder_of(self._logs, study)

    def went_on_from(self, study: str) -> int | None:
        self.folder(study)
        return step_in(self.said[study])

    def _find_out(self, study: str) -> None:
        if study in KILLED:
            self._break(study)
        elif study in DAMAGED:
            if "sigterm" not in self.ended:
                self._break("sigterm")
            shutil.copytree(self._logs / "sigterm-only", self._logs / study)
            DAMAGED[study][0](folder_of(self._logs, study))
        codes, said = run({study: "nothing"}, self._logs, NARROW)
        assert codes == {study: 0}, said
        self.said |= said

    def _break(self, study: str) -> None:
        self.ended |= run({study: study}, self._logs, NARROW)[0]
        if study == "sigterm":
            shutil.copytree(self._logs / "sigterm", self._logs / "sigterm-only")


def folder_of(logs: Path, study: str) -> Path:
    """The folder of a study's only run."""
    (status,) = logs.glob(f"{study}/*/status.json")
    return status.parent


def step_in(said: str) -> int | None:
    """The step from which a command said that it goes on; None if it did not."""
    found = re.search(r" goes on from step (\d+)", said)
    return int(found[1]) if found else None


def run(faults: dict[str, str], logs: Path, *more: str) -> tuple[dict[str, int], dict[str, str]]:
    """Run a study for each fault; how the processes ended and what they said."""
    ended, said = {}, {}
    for study, fault in faults.items():
        done = forked(*ARGUMENTS, *more, f"logs_dir={logs}", f"study={study}", fault=fault)
        ended[study], said[study] = done.returncode, done.stdout + done.stderr
    return ended, said


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return Outcomes(tmp_path_factory.mktemp("faults"))


def some(names: Iterable[str], quick: Collection[str]) -> list[Any]:
    """The names as parameters of a test: only some of them in the default suite."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def assert_same(one: Path, other: Path) -> None:
    """Curves, summary, weights, optimiser, callbacks: bit for bit."""
    for name in ("curves.jsonl", "summary.json", "data.json", "predictions.npz"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    for name in ("last.ckpt", "val_best.ckpt"):
        ours, theirs = (
            torch.load(folder / "checkpoints" / name, weights_only=True) for folder in (one, other)
        )
        assert ours.keys() == theirs.keys()
        for key in ours.keys() - {"loops"}:  # Lightning counts a batch begun and one done apart
            assert torch.equal(flat(ours[key]), flat(theirs[key])), (name, key)


def flat(state: object) -> torch.Tensor:
    """All numbers of a nested state, in order."""
    if isinstance(state, torch.Tensor):
        return state.detach().double().flatten()
    if isinstance(state, dict):
        state = [state[key] for key in sorted(state, key=str)]
    if isinstance(state, list | tuple):
        parts = [flat(entry) for entry in state]
        return torch.cat(parts) if parts else torch.zeros(0)
    if isinstance(state, bool | int | float):
        return torch.tensor([float(state)], dtype=torch.float64)
    return torch.zeros(0, dtype=torch.float64)


def assert_whole(folder: Path) -> None:
    """No line is missing or there twice, and only the files that are needed are left."""
    lines, problems = read_curves(folder)
    assert not problems
    evaluated = [(line["step"], line["split"]) for line in lines]
    assert len(evaluated) == len(set(evaluated)) == 3 * 11
    steps = [step for step, split in evaluated if split == "test"]
    assert steps == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12]
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        *("config.yaml", "curves.jsonl", "data.json", "last.ckpt", "predictions.npz"),
        *("rankings.json", "run.log", "status.json", "summary.json", "val_best.ckpt"),
    ]
    assert not list(folder.parent.glob("*.before*"))


@pytest.mark.parametrize("fault", some(KILLED, ("in_a_line", "between_checkpoints", "sigterm")))
def test_killed(outcomes: Outcomes, fault: str, row: Callable[..., None]) -> None:
    code, reached, goes_on_from = KILLED[fault]
    assert outcomes.went_on_from(fault) == goes_on_from
    assert outcomes.ended[fault] == code
    assert_same(outcomes.folder(fault), outcomes.folder("reference"))
    assert_whole(outcomes.folder(fault))
    how = {-9: "SIGKILL", 143: "SIGTERM", 130: "Ctrl-C"}[code]
    lost = reached - (goes_on_from or 0)
    place = re.sub("sigterm|ctrl_c", "", fault).replace("_", " ").strip() or "within an epoch"
    row(
        f"{how} {place}",
        "goes on; ends as if never stopped",
        "curves, summary, weights and optimiser the same bit for bit",
        f"{lost} of 12 steps trained again" if lost else "nothing",
    )


@pytest.mark.parametrize("damage", some(DAMAGED, ("both_checkpoints_truncated",)))
def test_damaged(outcomes: Outcomes, damage: str, row: Callable[..., None]) -> None:
    _, goes_on_from, why = DAMAGED[damage]
    assert outcomes.went_on_from(damage) == goes_on_from
    for reason in why:
        assert reason in outcomes.said[damage]
    assert outcomes.said[damage].count("going back to the one before it") == len(why)
    assert_same(outcomes.folder(damage), outcomes.folder("reference"))
    assert_whole(outcomes.folder(damage))
    row(
        damage.replace("_", " "),
        "goes on from what is whole" if goes_on_from else "set aside, trained from the start",
        "curves, summary, weights and optimiser the same bit for bit",
        f"{8 - (goes_on_from or 0)} of 12 steps trained again",
    )


@pytest.mark.slow
@pytest.mark.parametrize("training", CONFIGURED)
def test_killed_in_lightnings_own_ways_to_train(
    tmp_path: Path, training: str, row: Callable[..., None]
) -> None:
    arguments, end, faults = CONFIGURED[training]
    given = (*arguments, NARROW)
    codes, said = run({"reference": "nothing"}, tmp_path, *given)
    assert codes == {"reference": 0}, said
    reference = folder_of(tmp_path, "reference")
    assert json.loads((reference / "summary.json").read_text())["step"] == end
    for fault, (code, _, goes_on_from) in faults.items():
        study = fault.replace("@", "-")
        codes, said = run({study: fault}, tmp_path, *given)
        assert codes == {study: code}, said
        codes, said = run({study: "nothing"}, tmp_path, *given)
        assert codes == {study: 0}, said
        assert step_in(said[study]) == goes_on_from, fault
        assert_same(folder_of(tmp_path, study), reference)
    lost = max(reached - from_step for _, reached, from_step in faults.values() if from_step)
    row(
        f"SIGKILL and SIGTERM with {training}",
        "goes on; ends as if never stopped",
        "curves, summary, weights, optimiser and callbacks the same bit for bit",
        f"at most {lost} of {end} steps trained again",
    )


@pytest.mark.slow
def test_killed_again_and_again(tmp_path: Path, row: Callable[..., None]) -> None:
    """A sweep of two runs, by another process, at moments that nobody chose, until it is done."""
    arguments = ["-m", "seed=0,1", *ARGUMENTS, "trainer.max_epochs=60", "model=mlp"]
    whole = command("train.py", *arguments, f"logs_dir={tmp_path}/whole")
    assert whole.returncode == 0
    random, killed = np.random.default_rng(0), 0
    while killed < 10:
        process = subprocess.Popen(
            [sys.executable, "train.py", *arguments, f"logs_dir={tmp_path}/killed"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        curves = None
        while process.poll() is None and curves is None:
            curves = next(iter((tmp_path / "killed").glob("default/*/checkpoints")), None)
            time.sleep(0.05)
        time.sleep(float(random.uniform(0, 1.5)))
        process.kill()
        if process.wait() == 0:
            break
        killed += 1
    assert command("train.py", *arguments, f"logs_dir={tmp_path}/killed").returncode == 0
    ended, wanted = (sorted((tmp_path / s).glob("default/mnist5k*")) for s in ("killed", "whole"))
    assert len(ended) == len(wanted) == 2
    for one, other in zip(ended, wanted, strict=True):
        assert_same(one, other)
    row(
        f"SIGKILL at {killed} random moments of a sweep of two runs",
        "goes on; ends as if never stopped",
        "curves, summary, weights and optimiser the same bit for bit",
        "steps since the last checkpoint",
    )


@pytest.mark.slow
def test_workers_that_read_ahead_go_on_at_the_right_batch(
    tmp_path: Path, row: Callable[..., None]
) -> None:
    """Images on disk, read by loader workers: stopped in the middle of an epoch."""
    pictures = save_pictures(tmp_path / "pictures")
    data = [
        "data=image_folder",
        f"data_dir={pictures}",
        "data.source.memory_gib=0",
        "data.workers=2",
        "data.val_per_class=4",
        "data.batch_size=8",
        "imbalance.n_max=null",
        "ratio=1",
        "model=mlp",
    ]
    codes, _ = run({"stopped": "sigterm"}, tmp_path, *data)
    assert codes == {"stopped": 143}
    codes, said = run({"stopped": "nothing", "reference": "nothing"}, tmp_path, *data)
    assert set(codes.values()) == {0}, said
    assert re.search(r"goes on from step \d+", said["stopped"])
    one, other = (next(tmp_path.glob(f"{s}/*/status.json")) for s in ("stopped", "reference"))
    assert_same(one.parent, other.parent)
    row(
        "SIGTERM with loader workers that read ahead",
        "goes on at the next batch",
        "curves, summary, weights and optimiser the same bit for bit",
        "nothing",
    )
