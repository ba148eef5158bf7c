"""Sweeps at once over the same study share the work."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from program import ROOT, TINY, forked


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_sweeps_at_once(count: int, tmp_path: Path, row: Callable[..., None]) -> None:
    arguments = ["-m", "seed=0,1,2", "ratio=10", "logger=none", "model=mlp", *TINY]
    sweeps = [
        subprocess.Popen(
            [sys.executable, "train.py", *arguments, f"logs_dir={tmp_path}/two"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    said = [sweep.communicate(timeout=300) for sweep in sweeps]
    everything = "\n".join(text for both in said for text in both)
    assert [sweep.returncode for sweep in sweeps] == [0] * count, everything
    folders = sorted((tmp_path / "two" / "default").glob("mnist5k-*"))
    assert len(folders) == 3
    statuses = [json.loads((folder / "status.json").read_text()) for folder in folders]
    assert [status["state"] for status in statuses] == ["done"] * 3
    # Each run was begun once, by one of them, and met by the other.
    trained = {sweep.pid: 0 for sweep in sweeps}
    for status in statuses:
        assert status["resumed_at"] == []
        trained[status["process"]] += 1
    assert sum(trained.values()) == 3
    for sweep, (out, err) in zip(sweeps, said, strict=True):
        assert out.count("epoch 2/2") == trained[sweep.pid]
        assert err.count("left to it") <= 3 - trained[sweep.pid]
    alone = forked(*arguments, f"logs_dir={tmp_path}/one", fault="nothing")
    assert alone.returncode == 0
    for folder in folders:
        other = tmp_path / "one" / "default" / folder.name
        assert (folder / "curves.jsonl").read_bytes() == (other / "curves.jsonl").read_bytes()
    row(
        f"the same sweep started {count} times at once",
        "each run trained once, by one of them",
        f"{', '.join(map(str, trained.values()))} of 3 runs",
        "nothing",
    )


def test_who_lost_the_lock_writes_nothing_more(tmp_path: Path, row: Callable[..., None]) -> None:
    """The run is another machine's from step 8 on; the checkpoint of step 6 is that one's."""
    arguments = ["ratio=10", "logger=none", *TINY, "trainer.max_epochs=4", "study=study"]
    robbed = forked(*arguments, f"logs_dir={tmp_path}", fault="robbed")
    assert robbed.returncode == 0, "what another one trains has not failed"
    assert "its lock was lost at step 9" in robbed.stderr
    assert "1 of 1 runs are being trained by another process" in robbed.stdout
    (folder,) = (tmp_path / "study").glob("mnist5k-*")
    assert json.loads((folder / "status.json").read_text())["state"] == "running"
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 6
    assert not (folder / "summary.json").exists()
    assert "host=elsewhere" in (folder / "lock").read_text(), "nor is the lock given back"
    row(
        "another machine takes the lock of a run",
        "who lost it stops at its next checkpoint, and writes neither that nor a status",
        "so",
        "nothing: the run is the other one's",
    )
