"""What checkpoints hold does not depend on how often they are written."""

import json
from pathlib import Path

import torch
from trained import train_at

# The best epoch on val is not the last one: the rate is too high for this little network.
RUN = (
    *("ratio=5", "logger=none", "model=mlp", "model.hidden=[16]", "imbalance.n_max=30"),
    *("data.val_per_class=20", "trainer.max_epochs=6", "optimizer.lr=0.5", "scheduler=constant"),
)


def test_the_best_epoch_is_kept_where_there_is_no_checkpoint_of_it(tmp_path: Path) -> None:
    often, once = (
        train_at(tmp_path / name, *RUN, f"training.checkpoint_seconds={seconds}")
        for name, seconds in (("often", 0), ("once", 1000))
    )
    assert (often.path / "curves.jsonl").read_bytes() == (once.path / "curves.jsonl").read_bytes()
    assert (often.checkpoints / "previous.ckpt").exists()
    assert not (once.checkpoints / "previous.ckpt").exists(), "the last epoch has the only one"
    for name in ("last.ckpt", "val_best.ckpt"):
        one, other = (
            torch.load(run.checkpoints / name, weights_only=True) for run in (often, once)
        )
        assert one["epoch"] == other["epoch"] < (6 if name == "last.ckpt" else 5)
        for key, value in one["state_dict"].items():
            assert torch.equal(value, other["state_dict"][key]), (name, key)


def test_the_best_checkpoint_may_be_of_the_middle_of_an_epoch(tmp_path: Path) -> None:
    run = train_at(tmp_path, *RUN, "trainer.val_check_interval=1")
    summary = json.loads((run.path / "summary.json").read_text())
    best = torch.load(run.checkpoints / "val_best.ckpt", weights_only=True)
    assert summary["val_best/epoch"] % 1, "the case should have its best evaluation in an epoch"
    assert best["global_step"] == summary["val_best/step"]
