"""Each job of a sweep is composed once, and gets what Hydra would have composed."""

import pickle
from collections.abc import Iterator

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig
from program import ROOT

from skewlab.launch import composing
from skewlab.launch.composing import ComposedOnce

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
JOBS = [["ratio=10", "seed=1"], ["ratio=100", "method=ldam_drw"]]


class Sweep:
    """Hydra's own loader and a sweep's configuration; counts what is really composed."""

    def __init__(self) -> None:
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        self.loader: ConfigLoader = hydra.config_loader
        self.config: DictConfig = hydra.compose_config("train", [], run_mode=RunMode.MULTIRUN)
        self.composed = 0
        load = self.loader.load_configuration

        def counted(*arguments: object, **more: object) -> DictConfig:
            self.composed += 1
            return load(*arguments, **more)  # type: ignore[arg-type]

        self.loader.load_configuration = counted  # type: ignore[method-assign]
        self.expected = [self.loader.load_sweep_config(self.config, list(job)) for job in JOBS]
        assert self.composed == len(JOBS)
        self.composed = 0

    def ask(self) -> list[DictConfig]:
        """As Hydra does."""
        return [
            self.loader.load_sweep_config(master_config=self.config, sweep_overrides=list(job))
            for job in JOBS
        ]


@pytest.fixture
def sweep() -> Iterator[Sweep]:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        yield Sweep()


@pytest.mark.parametrize(("launcher", "times"), [(BASIC, 3), ("hydra_plugins.x.JoblibLauncher", 2)])
def test_a_job_is_composed_once_for_all_who_ask(sweep: Sweep, launcher: str, times: int) -> None:
    ComposedOnce(sweep.loader, launcher)
    for _ in range(times):
        assert sweep.ask() == sweep.expected
    assert sweep.composed == len(JOBS)
    # Nothing is kept for somebody who does not come.
    assert sweep.ask() == sweep.expected
    assert sweep.composed == 2 * len(JOBS)


def test_no_more_are_kept_than_fit(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "MOST_KEPT", 1)
    ComposedOnce(sweep.loader, BASIC)
    assert [sweep.ask() for _ in range(3)] == [sweep.expected] * 3
    assert sweep.composed == 1 + 3


def test_what_another_process_is_given_holds_no_other_jobs(sweep: Sweep) -> None:
    loader = type(sweep.loader).__new__(type(sweep.loader))
    loader.__dict__ = {k: v for k, v in sweep.loader.__dict__.items() if k != "load_configuration"}
    plain = pickle.dumps(loader)
    once = ComposedOnce(loader, BASIC)
    for job in JOBS:
        once(sweep.config, list(job))
    sent = pickle.dumps(loader)
    assert len(sent) < len(plain) + 200
    there = pickle.loads(sent)
    assert not isinstance(there.load_sweep_config, ComposedOnce)
    assert there.load_sweep_config(sweep.config, list(JOBS[0])) == sweep.expected[0]
