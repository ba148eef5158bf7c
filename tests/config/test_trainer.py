"""configs/trainer: the arguments of Lightning's Trainer."""

import inspect
from typing import Any

import pytest
import pytorch_lightning as pl
import yaml
from program import ROOT

from skewlab.launch.checks import SET_ELSEWHERE

FILE = ROOT / "configs" / "trainer" / "default.yaml"
# Where a run of skewlab's differs from Lightning's own defaults, and why.
DIFFERENT = {
    "max_epochs": 30,  # Lightning's 1,000 are meant for early stopping
    "precision": 32,  # another word for Lightning's 32-true, in the run's name
    "deterministic": True,  # same seed, same curves
    "num_sanity_val_steps": 0,  # the checks before the first job do more
    "use_distributed_sampler": False,  # the loaders cut each batch into shares themselves
    "log_every_n_steps": 10,  # epochs of small imbalanced sets have fewer than Lightning's 50
    "enable_progress_bar": False,  # a line for each run of a sweep
    "enable_model_summary": False,  # callbacks=model_summary
}
# What null is, where it is not Lightning's default.
TAKEN_FROM_ELSEWHERE = {"check_val_every_n_epoch": "curves.every_n_epochs"}


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text())


@pytest.fixture(scope="module")
def lightnings() -> dict[str, Any]:
    parameters = inspect.signature(pl.Trainer).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def test_every_argument_of_the_trainer_is_there(
    written: dict[str, Any], lightnings: dict[str, Any]
) -> None:
    elsewhere = {"callbacks", "logger", "default_root_dir"}
    assert set(written) == set(lightnings) - elsewhere
    assert set(SET_ELSEWHERE) == elsewhere
    for name in elsewhere:
        assert name in FILE.read_text(), "the file says where it is set"


def test_values_are_lightnings_own_defaults(
    written: dict[str, Any], lightnings: dict[str, Any]
) -> None:
    """But for those above. null leaves an argument to Lightning."""
    differing = {
        name: value
        for name, value in written.items()
        if value is not None and (value, type(value)) != (lightnings[name], type(lightnings[name]))
    }
    assert differing == DIFFERENT
    for name, source in TAKEN_FROM_ELSEWHERE.items():
        assert written[name] is None
        assert source in FILE.read_text()
