"""The prediction of each step's change, as it is written down for a linear network."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import training_batches
from probe_cases import (
    LINEAR,
    NOISY,
    classifier_of,
    data_of,
    everything,
    facts,
    inputs,
    linear_gradient,
    linear_loss,
    softmax,
    weights,
)

from skewlab.probes.initial_drop import InitialDrop

COUNTS = (12, 5, 1)


def train(module: Any, data: Any, steps: int, probe: InitialDrop) -> list[dict[str, Any]]:
    """Real SGD steps on real batches, and what was found after each; the state before and after."""
    optimizer = torch.optim.SGD(module.parameters(), lr=module._optimizer["lr"], momentum=0.9)
    done = []
    batches = training_batches(data)
    for step in range(steps):
        batch = batches[step % len(batches)]
        before = copy.deepcopy(module.network)
        assert probe.before_step(step, batch, module) is None
        module.train()
        optimizer.zero_grad()
        module.objective.loss(module(batch.images), batch.labels).backward()
        optimizer.step()
        found = probe.after_step(step + 1, module)
        done.append({"found": found, "before": before, "after": copy.deepcopy(module.network)})
    return done


def test_a_linear_networks_prediction_is_the_one_written_down() -> None:
    module, data = classifier_of(COUNTS, LINEAR), data_of(COUNTS)
    probe, batch = InitialDrop(facts(COUNTS), steps=4), everything(data)
    x, labels = inputs(module, batch), batch.labels.numpy()
    start = probe.begin(module, data)
    first = weights(module)
    for number, step in enumerate(train(module, data, 4, probe)):
        found = step["found"]
        module.network = step["before"]
        before = weights(module)
        if not number:
            np.testing.assert_array_equal(before, first)
        module.network = step["after"]
        after = weights(module)
        for label in range(len(COUNTS)):
            own = labels == label
            gradient = linear_gradient(before, x[own], labels[own])
            then, now = (linear_loss(w, x[own], labels[own]) for w in (before, after))
            recall = (softmax(x[own] @ after.T).argmax(1) == label).mean()
            if not number:
                assert start is not None
                assert start["loss"][label] == pytest.approx(then, rel=1e-5)
            assert found["loss"][label] == pytest.approx(now, rel=1e-5)
            assert found["recall"][label] == pytest.approx(recall)
            predicted = (gradient * (after - before)).sum()
            assert found["predicted"][label] == pytest.approx(predicted, rel=1e-3, abs=1e-6)
            assert found["happened"][label] == pytest.approx(now - then, rel=1e-3, abs=2e-6)


def test_prediction_and_change_agree_to_second_order() -> None:
    """With half the step their difference is a quarter, while they themselves are a half."""
    found = []
    for rate in (0.02, 0.01):
        module, data = classifier_of(COUNTS, LINEAR, rate), data_of(COUNTS)
        probe = InitialDrop(facts(COUNTS))
        probe.begin(module, data)
        found.append(train(module, data, 1, probe)[0]["found"])
    apart = [line["happened"] - line["predicted"] for line in found]
    assert (np.abs(apart[0]) > 1e-5).all(), "large enough to be seen in float32"
    np.testing.assert_allclose(apart[0] / apart[1], 4, rtol=0.1)
    np.testing.assert_allclose(found[0]["predicted"] / found[1]["predicted"], 2, rtol=1e-3)
    np.testing.assert_allclose(found[1]["predicted"], found[1]["happened"], rtol=0.1)


def test_only_the_first_samples_of_each_class() -> None:
    module, data = classifier_of(COUNTS, LINEAR), data_of(COUNTS)
    start = InitialDrop(facts(COUNTS), per_class=2).begin(module, data)
    assert start is not None
    x, labels = inputs(module, everything(data)), data.labels("train")
    for label in range(len(COUNTS)):
        own = np.flatnonzero(labels == label)[:2]
        expected = linear_loss(weights(module), x[own], labels[own])
        assert start["loss"][label] == pytest.approx(expected, rel=1e-5)


def test_what_happened_is_at_the_batch_statistics_before_the_step() -> None:
    """The update alone; what moving statistics add is in `loss`."""
    module, data = classifier_of(COUNTS, NOISY), data_of(COUNTS)
    probe = InitialDrop(facts(COUNTS))
    probe.begin(module, data)
    (step,) = train(module, data, 1, probe)
    batch = everything(data)
    parameters = dict(step["after"].named_parameters())
    moved = copy.deepcopy(step["before"])
    moved.load_state_dict({**moved.state_dict(), **{k: p.detach() for k, p in parameters.items()}})

    def losses(network: torch.nn.Module) -> np.ndarray[Any, Any]:
        with torch.no_grad():
            logits = network.eval()(module.normalise(batch.images))
        each = F.cross_entropy(logits, batch.labels, reduction="none")
        return np.array([each[batch.labels == label].mean() for label in range(len(COUNTS))])

    expected = losses(moved) - losses(step["before"])
    with_statistics = losses(step["after"])
    np.testing.assert_allclose(step["found"]["happened"], expected, atol=1e-6)
    np.testing.assert_allclose(step["found"]["loss"], with_statistics, rtol=1e-5)
    assert np.abs(with_statistics - losses(moved)).max() > 1e-3, "they do move"


def test_after_the_first_steps_it_is_silent() -> None:
    module, data = classifier_of(COUNTS, LINEAR), data_of(COUNTS)
    probe = InitialDrop(facts(COUNTS), steps=2)
    probe.begin(module, data)
    found = [step["found"] is not None for step in train(module, data, 5, probe)]
    assert found == [True, True, False, False, False]
