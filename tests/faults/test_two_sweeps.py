"""Two sweeps at once over the same study share the work."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from program import ROOT, TINY, command


def test_two_sweeps_at_once(tmp_path: Path, row: Callable[..., None]) -> None:
    arguments = ["train.py", "-m", "seed=0,1,2,3", "ratio=10", "logger=none", "model=mlp", *TINY]
    sweeps = [
        subprocess.Popen(
            [sys.executable, *arguments, f"logs_dir={tmp_path}/two"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [sweep.communicate(timeout=300) for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], said
    folders = sorted((tmp_path / "two" / "default").glob("mnist5k-*"))
    assert len(folders) == 4
    statuses = [json.loads((folder / "status.json").read_text()) for folder in folders]
    assert [status["state"] for status in statuses] == ["done"] * 4
    # Each run was begun once, by one of them, and met by the other.
    trained = {sweep.pid: 0 for sweep in sweeps}
    for status in statuses:
        assert status["resumed_at"] == []
        trained[status["process"]] += 1
    assert sum(trained.values()) == 4
    for sweep, (out, err) in zip(sweeps, said, strict=True):
        assert out.count("epoch 2/2") == trained[sweep.pid]
        assert err.count("left to it") <= 4 - trained[sweep.pid]
    alone = command(*arguments, f"logs_dir={tmp_path}/one")
    assert alone.returncode == 0
    for folder in folders:
        other = tmp_path / "one" / "default" / folder.name
        assert (folder / "curves.jsonl").read_bytes() == (other / "curves.jsonl").read_bytes()
    row(
        "the same sweep started twice at once",
        "each run trained once, by one of them",
        f"{min(trained.values())} and {max(trained.values())} of 4 runs",
        "nothing",
    )
