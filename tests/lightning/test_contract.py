"""What Lightning documents, through the command line: nothing below touches skewlab's sources.

Runs have 6 batches an epoch and 3 epochs, unless a test says otherwise.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from program import forked

from skewlab.runs.curve_file import read_curves

RUN = (
    *("ratio=5", "logger=none", "model=mlp", "model.hidden=[16]", "imbalance.n_max=60"),
    *("data.val_per_class=20", "data.batch_size=60", "trainer.max_epochs=3"),
    *("curves.early_points=0", "training.checkpoint_seconds=0"),
)
FORK = "+callbacks.{name}._target_=fork.{target}"
LIGHTNING = "pytorch_lightning.callbacks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(Path(__file__).parent)
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", here if before is None else f"{here}{os.pathsep}{before}")


def train(logs: Path, *arguments: str, code: int = 0) -> Path:
    """The folder of a run, trained by the command line."""
    ended = forked(*RUN, f"logs_dir={logs}", *arguments, fault="nothing")
    assert ended.returncode == code, ended.stderr + ended.stdout
    (status,) = logs.glob("*/*/status.json")
    return status.parent


def state(run: Path) -> str:
    return str(json.loads((run / "status.json").read_text())["state"])


def summary(run: Path) -> dict[str, float]:
    return dict(json.loads((run / "summary.json").read_text()))


def evaluations(run: Path, split: str = "test") -> list[dict[str, Any]]:
    return [line for line in read_curves(run)[0] if line.get("split") == split]


def test_every_hook_is_called_when_lightning_says(tmp_path: Path) -> None:
    run = train(tmp_path, FORK.format(name="hooks", target="Hooks"))
    found = json.loads((run / "hooks.json").read_text())
    once = ("setup", "on_fit_start", "on_train_start", "on_train_end", "on_fit_end")
    each_epoch = ("on_train_epoch_start", "on_train_epoch_end", "on_validation_start")
    each_epoch += ("on_validation_epoch_start", "on_validation_epoch_end", "on_validation_end")
    each_batch = ("on_train_batch_start", "on_before_backward", "on_after_backward")
    each_batch += ("on_before_optimizer_step", "on_before_zero_grad")
    expected = dict.fromkeys(once, 1) | dict.fromkeys(each_epoch, 3) | dict.fromkeys(each_batch, 18)
    # 200 samples of val in one batch.
    expected |= {"on_validation_batch_start": 3, "on_validation_batch_end": 3}
    assert found["hooks"] == expected
    assert found["sizes"] == [60] * 18
    assert len(found["losses"]) == 18
    assert len(set(found["losses"])) == 18


def test_weight_averaging_gives_the_curves_and_the_checkpoints(tmp_path: Path) -> None:
    target = f"+callbacks.ema._target_={LIGHTNING}.WeightAveraging"
    run = train(tmp_path / "averaged", target)
    state_dict = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert state_dict["averaging_state"]["n_averaged"] == 18
    raw, averaged = state_dict["current_model_state"], state_dict["state_dict"]
    assert any(not torch.equal(raw[name], averaged[name]) for name in raw)
    import skewlab

    scored = scores(skewlab.load(run))
    assert scored == pytest.approx(summary(run)["test/balanced_accuracy"], abs=1e-9)
    plain = summary(train(tmp_path / "plain"))
    assert plain["test/loss"] != summary(run)["test/loss"]


def scores(network: Any) -> float:
    """The balanced accuracy on the test digits, without skewlab's evaluation."""
    from skewlab.data.sources import mnist5k

    source = mnist5k("data")
    with torch.no_grad():
        predicted = network(torch.from_numpy(source.test_images)).argmax(1).numpy()
    hits = pd.Series(predicted == source.test_labels).groupby(source.test_labels).mean()
    return float(hits.mean())


@pytest.mark.parametrize(
    ("options", "files"),
    [
        (("monitor=val/balanced_accuracy", "mode=max", "filename=best"), 1),
        (("monitor=val/recall/minority", "mode=max", "save_top_k=2"), 2),
        (("every_n_train_steps=5", "save_top_k=-1"), 3),  # after updates 5, 10 and 15
    ],
)
def test_model_checkpoint_writes(tmp_path: Path, options: tuple[str, ...], files: int) -> None:
    run = train(
        tmp_path,
        f"+callbacks.more._target_={LIGHTNING}.ModelCheckpoint",
        *(
            f"+callbacks.more.{option.replace('{', chr(92) + '{').replace('}', chr(92) + '}')}"
            for option in options
        ),
    )
    own = {"last.ckpt", "val_best.ckpt"}
    found = {path.name for path in (run / "checkpoints").iterdir()}
    assert own <= found
    assert len(found - own) == files, found


def test_numbers_of_a_step_reach_the_loggers(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        *("logger=csv", "module._target_=fork.Logging", "trainer.log_every_n_steps=1"),
        "callbacks=learning_rate_monitor",
    )
    rows = pd.read_csv(run / "csv" / "metrics.csv")
    assert rows["train/step_loss"].notna().sum() == 18
    (rate,) = [name for name in rows if name.startswith("lr-")]
    assert rows[rate].notna().sum() == 18
    # A warm-up of one epoch, then half a cosine: the rate rises, then falls.
    rates = rows[rate].dropna().to_numpy()
    assert (np.diff(rates)[:5] > 0).all()
    assert (np.diff(rates)[6:] < 0).all()


def test_fewer_batches(tmp_path: Path) -> None:
    run = train(
        tmp_path, "trainer.limit_train_batches=2", FORK.format(name="hooks", target="Hooks")
    )
    assert json.loads((run / "hooks.json").read_text())["hooks"]["on_train_batch_start"] == 6
    assert [line["step"] for line in evaluations(run)] == [0, 2, 4, 6]
    assert [line["epoch"] for line in evaluations(run)] == [0, 1, 2, 3]


def test_fast_dev_run(tmp_path: Path) -> None:
    run = train(tmp_path, "trainer.fast_dev_run=true", FORK.format(name="hooks", target="Hooks"))
    found = json.loads((run / "hooks.json").read_text())["hooks"]
    assert (found["on_train_batch_start"], found["on_validation_batch_start"]) == (1, 1)
    assert not list(run.glob("checkpoints/*"))


def test_so_many_steps(tmp_path: Path) -> None:
    run = train(tmp_path, "trainer.max_steps=8", FORK.format(name="hooks", target="Hooks"))
    assert json.loads((run / "hooks.json").read_text())["hooks"]["on_train_batch_start"] == 8
    assert [line["step"] for line in evaluations(run)] == [0, 6, 8]


def test_the_profiler_tells_where_the_time_went(tmp_path: Path) -> None:
    ended = forked(*RUN, f"logs_dir={tmp_path}", "trainer.profiler=simple", fault="nothing")
    assert ended.returncode == 0
    assert "run_training_batch" in ended.stderr + ended.stdout


def test_a_step_that_returns_nan_is_not_done(tmp_path: Path) -> None:
    run = train(tmp_path, "module._target_=fork.Broken")
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["step"]) == ("diverged", 8)


def test_early_stopping_sees_every_evaluation(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        *("callbacks=early_stopping", "callbacks.early_stopping.patience=1"),
        # Nothing is that much better than what came before it.
        *("+callbacks.early_stopping.min_delta=2.0", "trainer.max_epochs=9"),
    )
    assert state(run) == "done"
    assert [line["epoch"] for line in evaluations(run)] == [0, 1, 2]
    again = forked(
        *RUN,
        *(f"logs_dir={tmp_path}", "callbacks=early_stopping", "trainer.max_epochs=9"),
        *("callbacks.early_stopping.patience=1", "+callbacks.early_stopping.min_delta=2.0"),
        fault="nothing",
    )
    assert "done already" in again.stderr


@pytest.mark.parametrize("more", [(), ("trainer.limit_val_batches=0",)])
def test_callback_metrics_are_the_curves(tmp_path: Path, more: tuple[str, ...]) -> None:
    run = train(tmp_path, FORK.format(name="seen", target="Monitored"), *more)
    lines = [json.loads(line) for line in (run / "monitored.jsonl").read_text().splitlines()]
    if more:  # without validation the numbers come at the epoch's end, for monitors in time
        lines = lines[1:]
        wanted = [line["recall"].mean() for line in evaluations(run, "val")[1:3]]
    else:
        wanted = [line["recall"].mean() for line in evaluations(run, "val")[1:]]
    assert [line["val/balanced_accuracy"] for line in lines] == pytest.approx(wanted, abs=1e-6)
    assert {"val/recall/minority", "test/loss/majority", "gap/group/recall/test"} <= set(lines[0])


def test_gradients_are_clipped(tmp_path: Path) -> None:
    norms = FORK.format(name="norms", target="GradientNorms")

    def of(run: Path) -> list[float]:
        return [float(line) for line in (run / "norms.jsonl").read_text().splitlines()]

    free = of(train(tmp_path / "free", norms))
    clipped = of(train(tmp_path / "clipped", norms, "trainer.gradient_clip_val=0.05"))
    assert max(free) > 0.1
    assert max(clipped) <= 0.05 * (1 + 1e-4)


def test_gradients_are_accumulated(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        *("trainer.accumulate_grad_batches=2", FORK.format(name="hooks", target="Hooks")),
    )
    found = json.loads((run / "hooks.json").read_text())["hooks"]
    assert found["on_after_backward"] == 18
    assert found["on_before_optimizer_step"] == 9
    assert [line["step"] for line in evaluations(run)] == [0, 3, 6, 9]


def test_gradient_rules_clip_and_accumulate_too(tmp_path: Path) -> None:
    run = train(
        tmp_path, "method=sam", "trainer.gradient_clip_val=0.5", "trainer.accumulate_grad_batches=2"
    )
    assert [line["step"] for line in evaluations(run)] == [0, 3, 6, 9]


def test_classes_of_a_forks_own(tmp_path: Path) -> None:
    run = train(tmp_path / "data", "datamodule._target_=fork.Halved")
    assert [line["step"] for line in evaluations(run)] == [0, 12, 24, 36]
    run = train(tmp_path / "update", "module._target_=fork.TwoUpdates")
    assert [line["step"] for line in evaluations(run)] == [0, 12, 24, 36]
    run = train(tmp_path / "own", "module._target_=fork.Own", "+module.rate=0.5")
    assert summary(run)["train/recall/majority"] > 0.5


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("trainer.gradient_clip_vall=1", "trainer.gradient_clip_vall=1: no such key; did you mean"),
        ("trainer.max_epochs=many", "trainer.max_epochs=many: must be a whole number"),
        ("trainer.gradient_clip_val=much", "trainer.gradient_clip_val=much: must be"),
        ("trainer.precision=3", "trainer"),
        ("trainer.barebones=true", "trainer.barebones=true: "),
        ("trainer.devices=4", "trainer.devices=4: must be auto, 1"),
        ("+trainer.callbacks=[]", "trainer.callbacks=[]: set elsewhere"),
        ("+callbacks.x._target_=pytorch_lightning.callbacks.EarlyStoping", "callbacks.x._target_"),
        (f"+callbacks.x._target_={LIGHTNING}.EarlyStopping", "callbacks.x.monitor: must be given"),
        ("+module.rat=0.5", "module.rat=0.5: no such key"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_written(
    tmp_path: Path, argument: str, said: str
) -> None:
    ended = forked(*RUN, f"logs_dir={tmp_path}", argument, fault="nothing")
    assert ended.returncode == 2, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line]
    assert line.startswith(f"error: {said}"), line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_full_gpu_fails_one_run_with_advice_and_not_the_others(tmp_path: Path) -> None:
    full = FORK.format(name="full", target="OutOfMemory")
    ended = forked("-m", *RUN, f"logs_dir={tmp_path}", "seed=0,1", full)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "the GPU is out of memory; train fewer at a time on it" in ended.stderr
    states = {path.parent.name: state(path.parent) for path in tmp_path.glob("*/*/status.json")}
    assert [states[name] for name in sorted(states)] == ["failed", "done"]
