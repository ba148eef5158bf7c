"""The gradient of each class: its norm, its share of the update, conflicts, signal and noise.

All gradients are of a class's mean cross-entropy L_c, not weighted and without the method's
changes. They are computed from one forward pass of samples of all classes, in training mode, where
the losses of the other classes are masked. A batch of a single class would have other batch
statistics than in training.
"""

from collections.abc import Sequence

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from skewlab.data.batches import Batch
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.errors import ConfigError
from skewlab.metrics.scores import FloatArray
from skewlab.probes.outputs import network_input, network_of
from skewlab.probes.probe import Found, IntArray, Probe, RunFacts, check_whole
from skewlab.probes.steps import log_spaced
from skewlab.seeding import mixed_seed

# The least number of samples of each class, where it has as many.
LEAST = 8
# With more classes than this there is no matrix for each layer.
LAYER_CLASSES = 20
# The gradients of all classes are in memory at once: classes * parameters * 4 bytes.
MOST_CLASSES = 200


def masked_gradients(network: nn.Module, images: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
    """Gradients of weighted sums of the samples' cross-entropies, from one forward pass.

    There is one backward pass for each sum. Measured on two CPU cores this takes 0.6 to 0.9 of the
    time of `autograd.grad(is_grads_batched=True)`, and a quarter or less of that of
    `torch.func.jacrev` on convolutional networks.

    Args:
        network: in training or eval mode; its buffers are not changed.
        images: its input, shape [samples, ...].
        labels: int64 [samples].
        masks: weights of the samples, shape [sums, samples].

    Returns:
        Shape [sums, parameters], parameters in the network's order.
    """
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    parameters = list(network.parameters())
    logits = functional_call(network, buffers, (images,)).float()
    losses = masks @ F.cross_entropy(logits, labels, reduction="none")
    found = []
    for place, loss in enumerate(losses):
        keep = place + 1 < len(losses)
        # Frozen parameters have no gradient, and parameters that are not used have none either.
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        gradients = iter(torch.autograd.grad(loss, trained, retain_graph=keep, allow_unused=True))
        parts = [next(gradients) if p.requires_grad else None for p in parameters]
        found.append(
            torch.cat(
                [
                    (torch.zeros_like(p) if part is None else part).detach().flatten()
                    for p, part in zip(parameters, parts, strict=True)
                ]
            )
        )
    return torch.stack(found)


def class_masks(labels: Tensor, classes: int) -> Tensor:
    """For each class the weights of its samples in their mean, shape [classes, samples]; 0 for a
    class without samples."""
    own = F.one_hot(labels, classes).T.float()
    return own / own.sum(1, keepdim=True).clamp(min=1)


def layers_of(network: nn.Module) -> dict[str, slice]:
    """The slice of the flat parameters that belongs to each layer, by the layer's name."""
    sizes: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        layer = name.rpartition(".")[0]
        sizes[layer] = sizes.get(layer, 0) + parameter.numel()
    ends = np.cumsum(list(sizes.values())).tolist()
    return {
        name: slice(end - size, end)
        for (name, size), end in zip(sizes.items(), ends, strict=True)
    }  # fmt: skip


def cosines(gradients: Tensor) -> FloatArray:
    """Cosine of each pair of rows, shape [rows, rows]; NaN where a row is zero."""
    return _scaled((gradients @ gradients.T).double().cpu().numpy())


def _scaled(products: FloatArray) -> FloatArray:
    norms = np.sqrt(np.diag(products))
    with np.errstate(invalid="ignore", divide="ignore"):
        return products / norms[:, None] / norms[None, :]


def shares_of_update(products: FloatArray, prior: FloatArray) -> FloatArray:
    """Each class's share of the whole gradient G = sum_c pi_c grad L_c: pi_c <grad L_c, G> / |G|^2.

    The shares sum to 1. A share below 0 means that the class's gradient points against G.

    Args:
        products: <grad L_i, grad L_j>, shape [classes, classes].
        prior: pi, the classes' shares of the training set.
    """
    whole = products @ prior
    return np.asarray(prior * whole / (prior @ whole), dtype=np.float64)


def mean_cosine(matrix: FloatArray, rows: Sequence[int], columns: Sequence[int]) -> float:
    """The mean over pairs of different classes, one from each group; NaN without such a pair."""
    pairs = [matrix[i, j] for i in rows for j in columns if i != j]
    pairs = [pair for pair in pairs if np.isfinite(pair)]
    return float(np.mean(pairs)) if pairs else float("nan")


class Gradients(Probe):
    """Gradients of every class at log-spaced steps, before the update, beginning with step 0.

    A line has, arrays over classes:

    - norm: |grad L_c|, of the class's whole gradient.
    - share: of the whole gradient, see `shares_of_update`.
    - conflict: cos(grad L_i, grad L_j), shape [classes, classes]; `layers/<name>` the same in each
      layer alone, up to 20 classes.
    - between, within_majority, within_minority: its means over pairs of different classes.
    - signal/batch: p_c, the cosine between the class's gradient in the step's mini-batch and its
      whole gradient (Francazi et al. 2023). signal/single: the same for one sample and the whole
      gradient of the other samples of its class; unlike signal/batch it does not depend on the
      number of samples in a batch. noise/... : 1 - p_c^2, the share of noise in the direction.

    The whole gradient is over about `rows` samples in the proportions of the training set, but at
    least 8 of each class, or all where a class has fewer.

    Args:
        about: the run.
        points: how many steps.
        rows: samples of the whole gradient.

    Raises:
        ConfigError: there are more than 200 classes.
    """

    every_process = False

    def __init__(self, about: RunFacts, points: int = 12, rows: int = 256) -> None:
        super().__init__(about)
        check_whole("gradients", points=points, rows=rows)
        if about.classes > MOST_CLASSES:
            raise ConfigError(
                f"curves/probes=gradients: holds the gradients of all classes at once, at most "
                f"{MOST_CLASSES} classes, not {about.classes}"
            )
        self._points, self._size = points, rows
        self._steps: set[int] = set()
        self._sample: Batch | None = None

    def begin(self, module: pl.LightningModule, data: ImbalancedDataModule) -> Found | None:
        last = int(module.trainer.estimated_stepping_batches) - 1
        self._steps = {0, *log_spaced(last, self._points)}
        self._sample = data.take("train", stratified(data.labels("train"), self._size))
        return None

    def before_step(self, step: int, batch: Batch, module: pl.LightningModule) -> Found | None:
        if step not in self._steps or self._sample is None:
            return None
        module.train()
        # Dropout depends on the step alone, not on where a run was resumed.
        torch.manual_seed(mixed_seed(self.about.seed, step))
        classes, network = self.about.classes, network_of(module)
        images, labels = (x.to(module.device) for x in (self._sample.images, self._sample.labels))
        masks = class_masks(labels, classes)
        singles = self._one_of_each(labels, step)
        both = masked_gradients(
            network, network_input(module, images), labels, torch.cat([masks, singles])
        )
        whole, single = both[:classes], both[classes:]

        own = class_masks(batch.labels, classes)
        trained_on = network_input(module, batch.images)
        in_batch = masked_gradients(network, trained_on, batch.labels, own)

        products = (whole @ whole.T).double().cpu().numpy()
        conflict = _scaled(products)
        # The sample is part of its class's mean, so it is compared with the mean of the others.
        number = labels.bincount(minlength=classes)[:, None]
        others = (number * whole - single) / (number - 1)
        signal = {"batch": _alignment(in_batch, whole), "single": _alignment(single, others)}
        groups = (self.about.majority, self.about.minority)
        return {
            "norm": np.sqrt(np.diag(products)),
            "share": shares_of_update(products, self.about.counts / self.about.counts.sum()),
            "conflict": conflict.round(4),
            "between": mean_cosine(conflict, *groups),
            "within_majority": mean_cosine(conflict, groups[0], groups[0]),
            "within_minority": mean_cosine(conflict, groups[1], groups[1]),
            "signal": signal,
            "noise": {name: 1 - p**2 for name, p in signal.items()},
            "layers": {
                name: cosines(whole[:, own]).round(4) for name, own in layers_of(network).items()
            }
            if classes <= LAYER_CLASSES
            else {},
        }

    def _one_of_each(self, labels: Tensor, step: int) -> Tensor:
        """Weights that pick one sample of each class, another one at each step."""
        random = np.random.default_rng(mixed_seed(self.about.seed, step))
        masks = torch.zeros(self.about.classes, len(labels), device=labels.device)
        for label in range(self.about.classes):
            places = (labels == label).nonzero().flatten()
            masks[label, places[int(random.integers(len(places)))]] = 1
        return masks


def _alignment(some: Tensor, whole: Tensor) -> FloatArray:
    """Cosine between equal rows of both, shape [rows]; NaN where one of them is zero."""
    products = (some * whole).sum(1) / (some.norm(dim=1) * whole.norm(dim=1))
    return np.asarray(products.double().cpu().numpy())


def stratified(labels: IntArray, size: int) -> IntArray:
    """The first samples of each class, about `size` in all: in proportion to the classes, but at
    least 8 of each, or all where there are fewer."""
    counts = np.bincount(labels)
    share = min(1.0, size / len(labels))
    kept = np.maximum(np.minimum(counts, LEAST), np.round(counts * share).astype(np.int64))
    return np.concatenate(
        [np.flatnonzero(labels == label)[:count] for label, count in enumerate(kept)]
    )
