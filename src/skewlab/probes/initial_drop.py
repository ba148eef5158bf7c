"""The minority initial drop: in the first steps the minority's loss rises and its recall falls,
while the majority's loss falls (Anand et al. 1993; Francazi et al., ICML 2023, arXiv 2207.00391).

An update d of the parameters changes the loss of class c by <grad L_c, d> to first order. The probe
records this prediction and the real change of each step.
"""

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from skewlab.data.batches import Batch
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.metrics.scores import FloatArray
from skewlab.probes.outputs import network_input, network_of
from skewlab.probes.probe import Found, Probe, RunFacts, by_class, check_whole


class InitialDrop(Probe):
    """Loss and recall of each class after each of the first steps, with the first-order prediction
    of each step's change.

    They are measured in eval mode on the first samples of each class of the training subset. A line
    has `loss` (nats) and `recall`; from step 1 on also `predicted` = <grad L_c, d>, and `happened`,
    the change of L_c by the update d. For both, batch normalisation has its statistics from before
    the update.

    Args:
        about: the run.
        steps: number of first steps that are measured.
        per_class: samples of each class.
    """

    every_process = False

    def __init__(self, about: RunFacts, steps: int = 200, per_class: int = 50) -> None:
        super().__init__(about)
        check_whole("initial_drop", steps=steps, per_class=per_class)
        self._steps, self._per_class = steps, per_class
        self._batches: list[Batch] = []
        self._before: dict[str, Tensor] = {}

    def begin(self, module: pl.LightningModule, data: ImbalancedDataModule) -> Found | None:
        self._batches = list(data.evaluation_batches("train", self._per_class))
        module.eval()
        with torch.no_grad():
            loss, recall = self._losses(module, {})
        return {"loss": loss, "recall": recall}

    def before_step(self, step: int, batch: Batch, module: pl.LightningModule) -> Found | None:
        if step < self._steps:
            self._before = {
                k: v.detach().clone() for k, v in network_of(module).state_dict().items()
            }
        return None

    def after_step(self, step: int, module: pl.LightningModule) -> Found | None:
        if step > self._steps:
            self._before, self._batches = {}, []
            return None
        module.eval()
        names = dict(network_of(module).named_parameters())
        statistics = {name: v for name, v in self._before.items() if name not in names}
        with torch.no_grad():
            loss, recall = self._losses(module, {})
            after, _ = self._losses(module, statistics) if statistics else (loss, recall)
        before, predicted = self._predicted(module, {k: p.detach() for k, p in names.items()})
        return {
            "loss": loss,
            "recall": recall,
            "predicted": predicted,
            "happened": after - before,
        }

    def _losses(
        self, module: pl.LightningModule, state: dict[str, Tensor]
    ) -> tuple[FloatArray, FloatArray]:
        """Loss and recall of each class, with the network's state replaced by the given entries."""
        losses, hits, labels = [], [], []
        for batch in self._batches:
            images, target = (part.to(module.device) for part in (batch.images, batch.labels))
            logits = functional_call(
                network_of(module), state, (network_input(module, images),)
            ).float()
            losses.append(F.cross_entropy(logits, target, reduction="none"))
            hits.append(logits.argmax(1) == target)
            labels.append(target)
        together = [torch.cat(parts).cpu().numpy() for parts in (losses, hits, labels)]
        values = np.stack([together[0], together[1]], axis=1).astype(np.float64)
        loss, recall = by_class(together[2], values, self.about.classes).T
        return loss, recall

    def _predicted(
        self, module: pl.LightningModule, now: dict[str, Tensor]
    ) -> tuple[FloatArray, FloatArray]:
        """Loss of each class before the step, and <grad L_c, d> there.

        In eval mode a sample's loss does not depend on other samples, so each class has a forward
        pass of its own.
        """
        start = {
            name: value.requires_grad_() if name in now else value
            for name, value in self._before.items()
        }
        parameters = [start[name] for name in now]
        images = torch.cat([batch.images for batch in self._batches]).to(module.device)
        labels = torch.cat([batch.labels for batch in self._batches]).to(module.device)
        before, predicted = np.full((2, self.about.classes), np.nan)
        for label in range(self.about.classes):
            own = network_input(module, images[labels == label])
            if not len(own):
                continue
            logits = functional_call(network_of(module), start, (own,)).float()
            loss = F.cross_entropy(logits, torch.full_like(logits[:, 0], label).long())
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            before[label] = loss.item()
            predicted[label] = sum(
                float((gradient * (now[name] - start[name].detach())).sum())
                for name, gradient in zip(now, gradients, strict=True)
                if gradient is not None
            )
        return before, predicted
