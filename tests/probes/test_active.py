"""That probes touch nothing, whichever they are and whatever they do."""

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from probe_cases import END_OF_EPOCH, NOISY, classifier_of, data_of, everything, facts, outputs

from skewlab.errors import ConfigError
from skewlab.probes.active import ActiveProbes
from skewlab.probes.calibration import Calibration
from skewlab.probes.geometry import Geometry
from skewlab.probes.gradients import Gradients
from skewlab.probes.initial_drop import InitialDrop
from skewlab.probes.probe import Found, Moment, Probe
from skewlab.probes.representation import Representation
from skewlab.probes.samples import Samples

COUNTS = (12, 5, 2)


class Careless(Probe):
    """A fork's probe that draws random numbers and leaves the network in another mode."""

    def before_step(self, step: int, batch: Any, module: Any) -> Found | None:
        module.eval()
        return {"drawn": float(torch.rand(()))}


class Mistaken(Probe):
    """A fork's probe that wants what there is not, or finds what cannot be written."""

    wanted: Any = ("test",)
    finds: Any = None

    def wants(self, moment: Moment) -> Any:
        return self.wanted

    def after_step(self, step: int, module: Any) -> Any:
        return self.finds


@pytest.mark.parametrize("wanted", ["test", ("tst",)])
def test_a_split_that_is_none_is_named(tmp_path: Path, wanted: Any) -> None:
    probe = Mistaken(facts(COUNTS, tmp_path))
    probe.wanted = wanted
    with pytest.raises(ConfigError, match=r"^curves.probes.mine: wants gave .*'t.?st'.* must be a"):
        ActiveProbes({"mine": probe}, print).wants(END_OF_EPOCH)


@pytest.mark.parametrize(
    ("finds", "said"),
    [
        (torch.ones(3), "curves.probes.mine: found a Tensor, must be a dict"),
        ([1.0], "curves.probes.mine: found a list, must be a dict"),
        ({"a": {"b": torch.ones(3)}}, "curves.probes.mine.a.b: found a Tensor, must be a number"),
        ({"a": "high"}, "curves.probes.mine.a: found a str, must be a number"),
    ],
)
def test_a_finding_that_cannot_be_written_is_named(tmp_path: Path, finds: Any, said: str) -> None:
    probe = Mistaken(facts(COUNTS, tmp_path))
    probe.finds = finds
    with pytest.raises(TypeError, match=f"^{re.escape(said)}"):
        ActiveProbes({"mine": probe}, print).after_step(1, classifier_of(COUNTS, NOISY))


def seen_of_a_network(module: Any, data: Any) -> dict[str, Any]:
    batch = everything(data)
    with torch.no_grad():
        features = module.eval().network.features(module.normalise(batch.images))
        logits = module.network.head(features)
    one = outputs(batch.labels.numpy(), features.numpy(), logits.numpy())
    return {"train": one, "val": one, "test": one}


def test_nothing_is_touched(tmp_path: Path) -> None:
    """A network with batch normalisation and dropout, its gradients and optimiser in mid-use."""
    module, data = classifier_of(COUNTS, NOISY), data_of(COUNTS)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    batch = everything(data)
    for _ in range(2):
        optimizer.zero_grad()
        module.objective.loss(module(batch.images), batch.labels).backward()
        optimizer.step()
    seen = seen_of_a_network(module, data)
    module.train()
    about = facts(COUNTS, tmp_path)
    kinds = [InitialDrop, Gradients, Samples, Geometry, Calibration, Representation, Careless]
    found: list[tuple[str, int]] = []
    probes = ActiveProbes(
        {kind.__name__: kind(about) for kind in kinds},
        lambda name, step, what: found.append((name, step)),
    )
    state = [copy.deepcopy(part.state_dict()) for part in (module, optimizer)]
    gradients = [p.grad.clone() for p in module.parameters()]
    random = torch.get_rng_state()

    probes.begin(0, module, data)
    probes.before_step(0, batch, module)
    probes.after_step(1, module)
    probes.measure(END_OF_EPOCH._replace(last=True), seen, module)

    assert torch.equal(random, torch.get_rng_state())
    assert module.training
    assert all(part.training for part in module.modules())
    assert all(torch.equal(a, p.grad) for a, p in zip(gradients, module.parameters(), strict=True))
    assert all(p.requires_grad for p in module.parameters())
    for before, part in zip(state, (module, optimizer), strict=True):
        torch.testing.assert_close(before, part.state_dict(), rtol=0, atol=0)
    assert {name for name, _ in found} == {kind.__name__ for kind in kinds}
    assert found[0] == ("InitialDrop", 0)
    assert ("InitialDrop", 1) in found
    assert probes.seconds.keys() == {kind.__name__ for kind in kinds}


def test_a_run_that_goes_on_does_not_tell_its_start_again() -> None:
    module, data = classifier_of(COUNTS, NOISY), data_of(COUNTS)
    told: list[int] = []
    probes = ActiveProbes(
        {"drop": InitialDrop(facts(COUNTS))}, lambda name, step, what: told.append(step)
    )
    probes.begin(5, module, data)
    assert not told
    probes.before_step(5, everything(data), module)
    probes.after_step(6, module)
    assert told == [6], "but goes on"


def test_a_probe_measures_only_where_all_that_it_wants_is_there() -> None:
    module, data = classifier_of(COUNTS, NOISY), data_of(COUNTS)
    seen = seen_of_a_network(module, data)
    told: list[str] = []
    about = facts(COUNTS)
    probes = ActiveProbes(
        {"geometry": Geometry(about), "calibration": Calibration(about)},
        lambda name, step, what: told.append(name),
    )
    assert probes.wants(END_OF_EPOCH) == {"train", "test"}
    probes.measure(END_OF_EPOCH, {"test": seen["test"]}, module)
    assert told == ["calibration"]
    probes.measure(END_OF_EPOCH, {}, module)  # another process than the first
    assert told == ["calibration"]


def test_a_network_that_has_diverged_is_not_measured() -> None:
    """Its loss is no number: that is said of the run, and no probe may end it before."""
    module, data = classifier_of(COUNTS, NOISY), data_of(COUNTS)
    seen = seen_of_a_network(module, data)
    told: list[str] = []
    about = facts(COUNTS)
    kinds = (Samples, Geometry, Calibration, Representation)
    probes = ActiveProbes(
        {kind.__name__: kind(about) for kind in kinds},
        lambda name, step, what: told.append(name),
    )
    one = seen["train"]
    for broken in (np.nan, np.inf):
        gone = one._replace(
            features=np.full_like(one.features, broken), logits=np.full_like(one.logits, np.nan)
        )
        probes.measure(END_OF_EPOCH._replace(last=True), dict.fromkeys(seen, gone), module)
    assert not told
    probes.measure(END_OF_EPOCH._replace(last=True), seen, module)
    assert len(told) == len(kinds)
