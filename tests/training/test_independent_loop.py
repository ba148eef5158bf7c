"""Whole short trainings, step by step, against a loop of our own in double precision: batches are
those that were trained on; forward pass, loss, weights, schedule and updates are written anew."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from program import ROOT
from torch import Tensor, nn
from trained import train_at

from skewlab.data import sources
from skewlab.data.batches import Batch
from skewlab.seeding import mixed_seed
from skewlab.training.module import SECOND_STAGE

# 165 samples in 5 batches of 33, 4 epochs.
RUN = (
    *("ratio=10", "imbalance.n_max=30", "data.val_per_class=20", "data.batch_size=33"),
    *("model=mlp", "model.hidden=[8]", "logger=none", "trainer.max_epochs=4"),
    *("trainer.precision=64-true", "optimizer.lr=0.1", "optimizer.weight_decay=0.01"),
)
COUNTS = np.array([30.0] * 5 + [3.0] * 5)
STEPS, EPOCHS = 5, 4
Weights = dict[str, Tensor]


class Recorder(pl.Callback):
    """Keeps the first and last weights, and the batches of a training."""

    first: ClassVar[Weights] = {}
    last: ClassVar[Weights] = {}
    batches: ClassVar[list[tuple[Tensor, Tensor]]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for kept in (self.first, self.last, self.batches):
            kept.clear()
        self.first.update({name: p.detach().clone() for name, p in weights_of(pl_module)})

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self.batches.append((batch.images.clone(), batch.labels.clone()))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.last.update({name: p.detach().clone() for name, p in weights_of(pl_module)})


def weights_of(module: pl.LightningModule) -> list[tuple[str, Tensor]]:
    return [(name.removeprefix("network."), p) for name, p in module.named_parameters()]


class Loop:
    """Stochastic gradient descent with momentum and weight decay, as its textbook has it."""

    def __init__(self, weights: Weights) -> None:
        self.weights = {name: p.double().clone().requires_grad_() for name, p in weights.items()}
        self.velocity = {name: torch.zeros_like(p) for name, p in self.weights.items()}
        digits = sources.mnist5k(str(ROOT / "data")).train_images / 255
        self._mean, self._std = digits.mean(), digits.std()

    def features(self, images: Tensor) -> Tensor:
        x = (images.double() / 255 - self._mean) / self._std
        x = x.permute(0, 3, 1, 2).reshape(len(images), -1)
        return (x @ self.weights["body.1.weight"].T + self.weights["body.1.bias"]).clamp_min(0)

    def step(self, loss: Tensor, rate: float, names: list[str]) -> None:
        gradients = torch.autograd.grad(loss, [self.weights[name] for name in names])
        for name, gradient in zip(names, gradients, strict=True):
            weight = self.weights[name].detach()
            self.velocity[name] = 0.9 * self.velocity[name] + gradient + 0.01 * weight
            self.weights[name] = (weight - rate * self.velocity[name]).requires_grad_()


def log_p(z: Tensor) -> Tensor:
    return z - z.exp().sum(dim=1, keepdim=True).log()


def linear(loop: Loop, images: Tensor) -> Tensor:
    return loop.features(images) @ loop.weights["head.weight"].T + loop.weights["head.bias"]


def cross_entropy(loop: Loop, images: Tensor, labels: Tensor, epoch: int) -> Tensor:
    return -log_p(linear(loop, images))[torch.arange(len(labels)), labels].mean()


def ldam_drw(loop: Loop, images: Tensor, labels: Tensor, epoch: int) -> Tensor:
    """Cao et al. 2019: cosines times 30, margins of at most 1/2, effective numbers from 0.8 of the
    training on: its last epoch of four."""
    f, w = loop.features(images), loop.weights["head.weight"]
    cosines = (f / f.norm(dim=1, keepdim=True)) @ (w / w.norm(dim=1, keepdim=True)).T
    margins = 0.5 * (COUNTS.min() / COUNTS) ** 0.25
    rows = torch.arange(len(labels))
    lowered = cosines.clone()
    lowered[rows, labels] -= torch.from_numpy(margins)[labels]
    each = -log_p(30 * lowered)[rows, labels]
    raw = (1 - 0.9999) / (1 - 0.9999**COUNTS)
    weights = torch.from_numpy(raw / raw.sum() * 10 if epoch >= 3 else np.ones(10))[labels]
    return (weights * each).sum() / weights.sum()


def rate(step: int) -> float:
    """An epoch of warm-up, times half a cosine over four, at the middle of each step."""
    time = (step + 0.5) / STEPS
    return 0.1 * min(1.0, time) * (1 + math.cos(math.pi * time / EPOCHS)) / 2


def trained(tmp_path: Path, *words: str) -> list[tuple[Tensor, Tensor]]:
    recorder: dict[str, Any] = {"recorder": {"_target_": f"{__name__}.Recorder"}}
    train_at(tmp_path, *RUN, *words, callbacks=recorder)
    return Recorder.batches


def assert_the_same(loop: Loop) -> None:
    """To what margins, class weights and pixels lose when they are stored in float32."""
    moved = 0.0
    for name, weight in loop.weights.items():
        torch.testing.assert_close(Recorder.last[name], weight.detach(), rtol=1e-5, atol=1e-6)
        moved = max(moved, float((weight - Recorder.first[name]).detach().abs().max()))
    assert moved > 0.05, "something was learned"


@pytest.mark.parametrize(("method", "loss"), [("ce", cross_entropy), ("ldam_drw", ldam_drw)])
def test_a_training_ends_where_an_independent_loop_does(
    tmp_path: Path, method: str, loss: Callable[[Loop, Tensor, Tensor, int], Tensor]
) -> None:
    batches = trained(tmp_path, f"method={method}")
    assert len(batches) == STEPS * EPOCHS
    loop = Loop(Recorder.first)
    for step, (images, labels) in enumerate(batches):
        loop.step(loss(loop, images, labels, step // STEPS), rate(step), list(loop.weights))
    assert_the_same(loop)


def test_a_second_stage_ends_where_an_independent_loop_does(tmp_path: Path) -> None:
    """Balanced softmax on a new head, at a rate of its own that falls by half a cosine."""
    keys = ("method.second_stage.epochs=2", "method.second_stage.lr=0.03")
    batches = trained(tmp_path, "method=balms_decoupled", *keys)
    loop = Loop(Recorder.first)
    first, second = batches[: STEPS * EPOCHS], batches[STEPS * EPOCHS :]
    for step, (images, labels) in enumerate(first):
        loop.step(cross_entropy(loop, images, labels, 0), rate(step), list(loop.weights))
    torch.manual_seed(mixed_seed(0, SECOND_STAGE))
    head = nn.Linear(8, 10, dtype=torch.float64)
    names = ["head.weight", "head.bias"]
    for name, fresh in zip(names, (head.weight, head.bias), strict=True):
        loop.weights[name] = fresh.detach().clone().requires_grad_()
        loop.velocity[name].zero_()
    assert len(second) == 2 * STEPS
    for step, (images, labels) in enumerate(second):
        z = linear(loop, images) + torch.from_numpy(COUNTS).log()
        loss = -log_p(z)[torch.arange(len(labels)), labels].mean()
        fall = (1 + math.cos(math.pi * (step + 0.5) / (2 * STEPS))) / 2
        loop.step(loss, 0.03 * fall, names)
    assert_the_same(loop)
