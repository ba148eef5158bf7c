"""Per-class gradients against the ones written down for a linear network, and against autograd."""

import copy
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from probe_cases import (
    LINEAR,
    NOISY,
    classifier_of,
    data_of,
    everything,
    facts,
    inputs,
    linear_gradient,
    noisy_network,
    weights,
)

from skewlab.errors import ConfigError
from skewlab.models.small import mlp
from skewlab.probes.gradients import (
    Gradients,
    class_masks,
    cosines,
    layers_of,
    masked_gradients,
    mean_cosine,
    shares_of_update,
    stratified,
)

COUNTS = (12, 5, 1)


def by_hand(module: Any, batch: Any) -> np.ndarray[Any, Any]:
    """Each class's gradient of a linear network in the order of its parameters."""
    x, labels = inputs(module, batch), batch.labels.numpy()
    found = []
    for label in range(len(COUNTS)):
        own = labels == label
        gradient = linear_gradient(weights(module), x[own], labels[own])
        found.append(np.concatenate([gradient[:, :-1].ravel(), gradient[:, -1]]))
    return np.stack(found)


@pytest.mark.parametrize("training", [True, False])
def test_a_linear_networks_gradients_are_those_written_down(training: bool) -> None:
    module, batch = classifier_of(COUNTS, LINEAR).train(training), everything(data_of(COUNTS))
    masks = class_masks(batch.labels, len(COUNTS))
    found = masked_gradients(
        module.network, module.normalise(batch.images), batch.labels, masks
    ).numpy()
    np.testing.assert_allclose(found, by_hand(module, batch), rtol=1e-4, atol=1e-6)


def test_a_class_that_is_not_there_has_no_gradient() -> None:
    masks = class_masks(torch.tensor([0, 2, 2]), 4)
    expected = [[1, 0, 0], [0, 0, 0], [0, 0.5, 0.5], [0, 0, 0]]
    np.testing.assert_array_equal(masks.numpy(), expected)


@pytest.mark.parametrize("training", [True, False])
def test_batch_statistics_are_those_of_the_mixed_batch(training: bool) -> None:
    """An ordinary backward pass of the masked loss on a copy; and nothing is left behind."""
    torch.manual_seed(0)
    network = noisy_network((4, 4, 1), 3).train(training)
    network.body[4].p = 0.0
    images, labels = torch.randn(20, 1, 4, 4), torch.arange(20) % 3
    masks = class_masks(labels, 3)
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    found = masked_gradients(network, images, labels, masks)
    for mask, gradient in zip(masks, found, strict=True):
        other = copy.deepcopy(network)
        (mask * F.cross_entropy(other(images), labels, reduction="none")).sum().backward()
        ordinary = torch.cat([p.grad.flatten() for p in other.parameters()])
        torch.testing.assert_close(gradient, ordinary)
    if training:  # a batch of one class alone has other statistics: another gradient
        alone = copy.deepcopy(network)
        F.cross_entropy(alone(images[labels == 0]), labels[labels == 0]).backward()
        apart = torch.cat([p.grad.flatten() for p in alone.parameters()])
        assert not torch.allclose(apart, found[0], rtol=1e-2)
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert torch.equal(random, torch.get_rng_state())


def test_what_is_frozen_or_takes_no_part_has_no_gradient() -> None:
    torch.manual_seed(0)
    network = mlp((2, 2, 1), 2, hidden=[3])
    network.unused = torch.nn.Linear(2, 2)
    images, labels = torch.randn(6, 1, 2, 2), torch.arange(6) % 2
    whole = masked_gradients(network, images, labels, class_masks(labels, 2))
    network.body[1].weight.requires_grad_(False)
    frozen = masked_gradients(network, images, labels, class_masks(labels, 2))
    assert whole[:, :12].abs().sum() > 0
    assert (frozen[:, :12] == 0).all()
    torch.testing.assert_close(frozen[:, 12:], whole[:, 12:])
    assert (whole[:, layers_of(network)["unused"]] == 0).all()


def test_shares_by_hand() -> None:
    """The minority's gradient (-1, 1) points away from the majority's (1, 0): G = (0.8, 0.1)."""
    gradients = np.array([[1.0, 0.0], [-1.0, 1.0]])
    shares = shares_of_update(gradients @ gradients.T, np.array([0.9, 0.1]))
    np.testing.assert_allclose(shares, [0.72 / 0.65, -0.07 / 0.65])


@given(st.integers(0, 10_000), st.integers(2, 8))
def test_shares_sum_to_one(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    gradients = random.normal(size=(classes, 20))
    shares = shares_of_update(gradients @ gradients.T, random.dirichlet(np.ones(classes)))
    assert shares.sum() == pytest.approx(1)


def test_cosines_by_hand() -> None:
    matrix = cosines(torch.tensor([[2.0, 0.0], [3.0, 3.0], [0.0, 0.0], [-1.0, 0.0]]))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(matrix[0], [1, half, np.nan, -1], rtol=1e-6)
    assert mean_cosine(matrix, (0,), (1, 3)) == pytest.approx((half - 1) / 2)
    assert mean_cosine(matrix, (0, 1, 3), (0, 1, 3)) == pytest.approx((half - 1 - half) / 3)
    assert mean_cosine(matrix, (0,), (1, 2)) == pytest.approx(half), "no gradient: left out"
    assert np.isnan(mean_cosine(matrix, (0,), (0,))), "no pair of different classes"


def test_layers_own_their_parameters_in_order() -> None:
    network = mlp((2, 2, 1), 2, hidden=[3])
    assert layers_of(network) == {"body.1": slice(0, 15), "head": slice(15, 23)}
    flat = torch.cat([p.flatten() for p in network.parameters()])
    head = torch.cat([network.head.weight.flatten(), network.head.bias])
    assert torch.equal(flat[15:23], head)


@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=8),
    size=st.integers(1, 400),
    seed=st.integers(0, 100),
)
def test_every_class_is_looked_at(counts: list[int], size: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = stratified(labels, size)
    assert len(set(rows)) == len(rows), "no sample twice"
    kept = np.bincount(labels[rows], minlength=len(counts))
    for label, count in enumerate(counts):
        assert min(8, count) <= kept[label] <= count
        assert abs(kept[label] - min(1, size / sum(counts)) * count) <= 0.5 or kept[label] <= 8
        assert set(rows[labels[rows] == label]) == set(
            np.flatnonzero(labels == label)[: kept[label]]
        )


def test_the_line_of_a_linear_network_is_the_one_written_down() -> None:
    module, data = classifier_of(COUNTS, LINEAR), data_of(COUNTS)
    probe, batch = Gradients(facts(COUNTS), rows=1000), everything(data)
    assert probe.begin(module, data) is None
    found = probe.before_step(0, batch, module)
    assert found is not None
    whole = by_hand(module, batch)
    norms, prior = np.linalg.norm(whole, axis=1), np.array(COUNTS) / sum(COUNTS)
    update = prior @ whole
    conflict = whole @ whole.T / np.outer(norms, norms)
    np.testing.assert_allclose(found["norm"], norms, rtol=1e-4)
    np.testing.assert_allclose(found["conflict"], conflict, atol=1e-4)
    np.testing.assert_allclose(found["layers"]["head"], conflict, atol=1e-4)
    np.testing.assert_allclose(found["share"], prior * (whole @ update) / (update @ update), 1e-4)
    assert found["between"] == pytest.approx((conflict[0, 1] + conflict[0, 2]) / 2, abs=1e-4)
    assert found["within_minority"] == pytest.approx(conflict[1, 2], abs=1e-4)
    assert np.isnan(found["within_majority"])
    np.testing.assert_allclose(found["signal"]["batch"], 1, rtol=1e-5)
    np.testing.assert_allclose(found["noise"]["batch"], 0, atol=1e-5)

    single, x, labels = found["signal"]["single"], inputs(module, batch), batch.labels.numpy()
    assert np.isnan(single[2]), "a single sample has no others"
    for label in (0, 1):
        of_samples = [
            linear_gradient(weights(module), x[[row]], labels[[row]])
            for row in np.flatnonzero(labels == label)
        ]
        flat = np.stack([np.append(g[:, :-1].ravel(), g[:, -1]) for g in of_samples])
        others = (len(flat) * whole[label] - flat) / (len(flat) - 1)
        sizes = np.linalg.norm(flat, axis=1) * np.linalg.norm(others, axis=1)
        possible = (flat * others).sum(1) / sizes
        assert np.abs(possible - single[label]).min() < 1e-4
        assert found["noise"]["single"][label] == pytest.approx(1 - single[label] ** 2)


def test_a_mini_batch_of_one_class_has_one_signal() -> None:
    module, data = classifier_of(COUNTS, LINEAR), data_of(COUNTS)
    probe = Gradients(facts(COUNTS), rows=1000)
    probe.begin(module, data)
    found = probe.before_step(0, data.take("train", np.arange(3)), module)
    assert found is not None
    x, labels = inputs(module, everything(data)), data.labels("train")
    few, all_of_it = (
        linear_gradient(weights(module), x[:rows], labels[:rows]).ravel() for rows in (3, COUNTS[0])
    )
    expected = few @ all_of_it / np.linalg.norm(few) / np.linalg.norm(all_of_it)
    assert found["signal"]["batch"][0] == pytest.approx(expected, abs=1e-4)
    assert np.isnan(found["signal"]["batch"][1:]).all()


class EachStep(pl.Callback):
    """Shows a probe every step of a training, and notes those at which it measures."""

    def __init__(self, probe: Gradients) -> None:
        self.probe, self.measured = probe, list[int]()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.probe.begin(pl_module, trainer.datamodule)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.probe.before_step(trainer.global_step, batch, pl_module) is not None:
            self.measured.append(trainer.global_step)


def test_steps_are_log_spaced_from_the_first() -> None:
    """18 samples in batches of 3, two epochs: the updates 0 to 11, and four points of them."""
    module, data = classifier_of(COUNTS, LINEAR), data_of(COUNTS, batch_size=3)
    each_step = EachStep(Gradients(facts(COUNTS), points=4, rows=1))
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[each_step],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == 12
    assert each_step.measured == [0, 1, 2, 5, 11]


def test_dropout_is_drawn_alike_whatever_came_before() -> None:
    """As in a run that goes on: the random stream is elsewhere, the line must not be."""
    lines = []
    for seed in (1, 2):
        module, data = classifier_of(COUNTS, NOISY), data_of(COUNTS)
        probe = Gradients(facts(COUNTS))
        probe.begin(module, data)
        torch.manual_seed(seed)
        lines.append(probe.before_step(0, everything(data), module))
    for one, other in zip(lines[0]["norm"], lines[1]["norm"], strict=True):
        assert one == other


def test_too_many_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"at most 200 classes, not 201"):
        Gradients(facts([2] * 201))
