"""debug=profile: the parts are all there, and are the time that passed."""

import json
import re
import time
from pathlib import Path

import pytest
from trained import train_at


def test_the_parts_add_up_to_what_training_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.perf_counter()
    run = train_at(
        tmp_path, "debug=profile", "model=mlp", "imbalance.n_max=100", "trainer.max_epochs=4"
    ).path
    took = time.perf_counter() - began
    text = (run / "profile.txt").read_text()
    seconds = {
        match[1].strip(): float(match[2])
        for match in re.finditer(r"^(\S.*?)  +(\d+\.\d\d)  ", text, re.MULTILINE)
    }
    whole = seconds.pop("all")
    assert {"network, forward", "loss", "backward", "optimiser", "curves and probes"} <= set(
        seconds
    )
    assert sum(seconds.values()) == pytest.approx(whole, abs=0.1)
    assert 0 < whole < took
    # 505 samples in batches of 64, in two of the four epochs.
    assert "16 steps, without those of the first and the last epoch" in text
    assert text.partition("\n\n")[0] in capsys.readouterr().err
    operations = {
        event["name"] for event in json.loads((run / "trace.json").read_text())["traceEvents"]
    }
    assert {"aten::addmm", "Optimizer.step#SGD.step"} <= operations
    assert "aten::addmm" in text
