"""The experiments that come with the project: every job of theirs is one that can be trained."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from program import ROOT, composed_at

from skewlab.config.parts import build
from skewlab.config.schema import checked
from skewlab.launch.checks import check_jobs
from skewlab.launch.sweep import _parse, product
from skewlab.runs.identity import run_path

# Of many jobs.
SLOW = ("methods", "paper", "tuned_rate", "variance")
EXPERIMENTS = sorted(path.stem for path in (ROOT / "configs" / "experiment").glob("*.yaml"))
LONG_TAILS = {"cifar10_lt": 10, "cifar100_lt": 100}


METHODS = sorted(path.stem for path in (ROOT / "configs" / "method").glob("*.yaml"))
FITTING = [name for name in METHODS if name != "pcngd"]


def sweep(experiment: str) -> dict[str, list[str]]:
    """The choices of each key that the experiment varies."""
    path = ROOT / "configs" / "experiment" / f"{experiment}.yaml"
    varied = yaml.safe_load(path.read_text())["hydra"]["sweeper"]["params"]
    found = {k: [word.strip() for word in str(v).split(",")] for k, v in varied.items()}
    if varied.get("method") == "glob(*,exclude=pcngd)":
        found["method"] = FITTING
    return found


def jobs(logs: Path, experiment: str, *overrides: str) -> Iterator[dict[str, Any]]:
    """Every job of an experiment, of its first seed."""
    varied = {key: values for key, values in sweep(experiment).items() if key != "seed"}
    for values in itertools.product(*varied.values()):
        chosen = [f"{key}={value}" for key, value in zip(varied, values, strict=True)]
        yield composed_at(logs, f"experiment={experiment}", *chosen, *overrides)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of CIFAR's shape, 120 images a class."""
    path = tmp_path_factory.mktemp("data") / "noise.npz"
    labels = np.repeat(np.arange(10), 120)
    images = np.random.default_rng(0).integers(0, 256, (1200, 32, 32, 3), dtype=np.uint8)
    np.savez(path, x_train=images, y_train=labels, x_test=images[:200], y_test=np.arange(200) % 10)
    return path


@pytest.mark.parametrize(
    "experiment",
    [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in EXPERIMENTS],
)
def test_every_job_has_a_run_of_its_own(tmp_path: Path, experiment: str) -> None:
    settings = [checked(job) for job in jobs(tmp_path, experiment)]
    expected = np.prod([len(values) for key, values in sweep(experiment).items() if key != "seed"])
    assert len(settings) == expected
    if "control" not in sweep(experiment):  # a balanced run is several controls' at once
        assert len({run_path(job) for job in settings}) == expected


@pytest.mark.parametrize("experiment", LONG_TAILS)
def test_the_long_tails_pass_all_checks(tmp_path: Path, pictures: Path, experiment: str) -> None:
    """On pictures that need no download."""
    small = ("data=arrays", f"data.source.path={pictures}", "data.val_per_class=5")
    check_jobs(list(jobs(tmp_path, experiment, *small)))


@pytest.mark.slow
def test_every_method_passes_all_checks(tmp_path: Path) -> None:
    check_jobs(list(jobs(tmp_path, "methods")))


def test_the_sweep_of_all_methods_is_read_by_hydra(tmp_path: Path) -> None:
    path = ROOT / "configs" / "experiment" / "methods.yaml"
    params = yaml.safe_load(path.read_text())["hydra"]["sweeper"]["params"]
    product = hydra_jobs([f"{key}={value}" for key, value in params.items()])
    last = [f"method={name}" for name in FITTING]
    assert product[-len(FITTING) :] == [["seed=4", "ratio=100", method] for method in last]
    assert len(product) == 5 * 2 * len(FITTING)


def test_some_methods_have_other_keys_on_cifar_100(tmp_path: Path) -> None:
    def loss(*words: str) -> dict[str, Any]:
        found = composed_at(tmp_path, *words)["method"]["loss"]
        return {key: value for key, value in found.items() if key != "_target_"}

    assert loss("method=vs", "data=cifar10") == {"gamma": 0.15, "tau": 1.25}
    assert loss("method=vs", "experiment=cifar100_lt") == {"gamma": 0.05, "tau": 0.75}
    assert loss("method=vs", "data=cifar100", "method.loss.tau=2") == {"gamma": 0.05, "tau": 2}
    smoothing = {"head": 0.4, "tail": 0.1}
    assert loss("method=label_aware_smoothing", "data=cifar100") == smoothing
    assert loss("method=ldam", "data=cifar100")["max_margin"] == 0.5
    second = composed_at(tmp_path, "method=mislas", "data=cifar100")["method"]["second_stage"]
    assert {"head": second["loss"]["head"], "tail": second["loss"]["tail"]} == smoothing


def hydra_jobs(words: list[str]) -> list[list[str]]:
    from hydra import initialize_config_dir

    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return product(_parse(words))


@pytest.mark.parametrize("experiment", LONG_TAILS)
def test_the_long_tails_are_trained_as_published(tmp_path: Path, experiment: str) -> None:
    """Cao et al. 2019, and the counts of their followers with data.val_per_class=0."""
    job = checked(next(jobs(tmp_path, experiment)))
    assert (job.model["name"], job.imbalance.profile, job.ratio) == ("resnet32", "exp", 100)
    assert (job.data.batch_size, job.data.crop, job.data.flip) == (128, 4, True)
    known = {"lr": 0.1, "momentum": 0.9, "weight_decay": 2e-4, "nesterov": False}
    assert {key: job.optimizer[key] for key in known} == known
    assert job.trainer.max_epochs == 200

    def rate(epoch: float) -> float:
        return float(build(job.scheduler, epoch, 200, key="scheduler"))

    assert [rate(e) for e in (0, 1, 5, 159.9, 160, 179.9)] == [0, 0.2, 1, 1, 0.01, 0.01]
    assert rate(180) == pytest.approx(1e-4)
    deferred = [one for one in jobs(tmp_path, experiment) if one["method"]["name"] == "ldam_drw"]
    weights = checked(deferred[0]).method.weights
    assert weights is not None
    assert (weights["deferred_until"] * 200, weights["beta"]) == (160, 0.9999)
