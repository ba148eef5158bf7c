"""The search for hyper-parameters: what it maximises, that it goes on, that it never sees test."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from program import ROOT, TINY, command, forked

from skewlab.data import sources

SEARCH = (
    "hparams_search=optuna",
    "hydra.sweeper.n_trials=4",
    "ratio=5",
    "model=mlp",
    *TINY,
)
STOP = """
import os, runpy, signal, sys
from skewlab.training.module import ImbalanceClassifier
original, steps = ImbalanceClassifier.training_step, iter(range(10**9))
def step(self, *given):
    if next(steps) == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *given)
ImbalanceClassifier.training_step = step
sys.argv[0] = "train.py"
runpy.run_path(os.path.join(os.getcwd(), "train.py"), run_name="__main__")
"""


def best(logs: Path) -> dict[str, object]:
    found = yaml.safe_load((logs / "search" / "optimization_results.yaml").read_text())
    assert isinstance(found, dict)
    return found


def results(logs: Path) -> dict[str, float]:
    return {
        path.parent.name: json.loads(path.read_text())["val/balanced_accuracy"]
        for path in logs.glob("search/*/summary.json")
    }


@pytest.mark.slow
def test_the_best_on_val_is_found_and_a_killed_search_goes_on(tmp_path: Path) -> None:
    whole = command("train.py", *SEARCH, f"logs_dir={tmp_path}/whole")
    assert whole.returncode == 0, whole.stderr
    values = results(tmp_path / "whole")
    assert len(values) == 4
    assert best(tmp_path / "whole")["best_value"] == pytest.approx(max(values.values()))
    assert f"{max(values.values()):.4f}" in whole.stdout
    # Killed in its second trial, and started again.
    program = tmp_path / "stop.py"
    program.write_text(STOP)
    killed = subprocess.run(
        [sys.executable, str(program), *SEARCH, f"logs_dir={tmp_path}/killed"],
        cwd=ROOT,
        capture_output=True,
        timeout=300,
    )
    assert killed.returncode == -signal.SIGKILL
    again = command("train.py", *SEARCH, f"logs_dir={tmp_path}/killed")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("is done already") == 1
    assert again.stderr.count("goes on from step") == 1
    assert results(tmp_path / "killed") == values
    assert best(tmp_path / "killed") == best(tmp_path / "whole")


@pytest.mark.slow
def test_test_labels_do_not_change_a_search(tmp_path: Path) -> None:
    """The same search on the same digits, with test labels that are right, and with wrong ones."""
    digits = sources.mnist5k(str(ROOT / "data"))
    found = []
    for name, labels in (("right", digits.test_labels), ("wrong", 9 - digits.test_labels)):
        np.savez(
            tmp_path / f"{name}.npz",
            x_train=digits.train_images,
            y_train=digits.train_labels,
            x_test=digits.test_images,
            y_test=labels,
        )
        done = command(
            "train.py",
            *SEARCH,
            "data=arrays",
            f"data.source.path={tmp_path}/{name}.npz",
            f"logs_dir={tmp_path}/{name}",
        )
        assert done.returncode == 0, done.stderr
        found.append(best(tmp_path / name))
    assert found[0] == found[1]


def slow(*values: str) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (
            "objective=test/balanced_accuracy",
            "objective=test/balanced_accuracy: must be one of val/",
        ),
        slow("overwrite=true", "overwrite=true: a search goes on where it stopped"),
    ],
)
def test_what_a_search_refuses(tmp_path: Path, argument: str, said: str) -> None:
    refused = forked(*SEARCH, argument, f"logs_dir={tmp_path}/logs")
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"error: {said}")
    assert not (tmp_path / "logs").exists()
