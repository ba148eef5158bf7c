"""Methods whose mean over a batch is weighted, or whose rows are drawn, on several processes."""

from pathlib import Path

import numpy as np
import pytest
from program import command
from test_distributed import ARGUMENTS, lines, torchrun

pytestmark = pytest.mark.slow


def test_weights_and_samplers_give_the_same_curves(tmp_path: Path) -> None:
    """The shares of a batch hold other weights: their means are not simply averaged."""
    method = ("method=weighted_inverse", "method/sampler=square_root", "trainer.max_epochs=2")
    arguments = ("ratio=7", *ARGUMENTS, *method)
    alone = command("train.py", *arguments, f"logs_dir={tmp_path}/alone")
    assert alone.returncode == 0, alone.stderr
    done = torchrun(2, "train.py", *arguments, "trainer=ddp", f"logs_dir={tmp_path}/several")
    assert done.returncode == 0, done.stderr
    ours, theirs = (lines(tmp_path / where / "default") for where in ("alone", "several"))
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert (one["step"], one["split"]) == (other["step"], other["split"])
        np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-5)


def test_what_needs_one_process_is_refused(tmp_path: Path) -> None:
    refused = torchrun(
        2, "train.py", "method=sam", "trainer=ddp", "logger=none", f"logs_dir={tmp_path}/logs"
    )
    assert refused.returncode != 0
    said = "method.gradient._target_=skewlab.methods.gradient_rules.SAM: needs trainer=default"
    assert said in refused.stderr
    assert not (tmp_path / "logs").exists()
