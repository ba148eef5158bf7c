"""Whose gradient moves the network: norms, shares, conflicts, and signal against noise, by class.

All gradients are of a class's mean cross-entropy L_c, not weighted and without the method's
changes. They are taken from one mixed forward pass in training mode with the other classes' losses
masked: a batch of one class alone would have other batch statistics than training has.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from skewlab.data.batches import Batch
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.errors import ConfigError
from skewlab.metrics.scores import FloatArray
from skewlab.probes.probe import Found, IntArray, Probe, RunFacts, check_whole
from skewlab.probes.steps import log_spaced
from skewlab.seeding import mixed_seed
from skewlab.training.module import ImbalanceClassifier

# Of each class, samples that are looked at however rare it is.
LEAST = 8
# A matrix for each layer is kept up to so many classes.
LAYER_CLASSES = 20
# Gradients of all classes are held at once: classes times parameters numbers of 4 bytes.
MOST_CLASSES = 200


def masked_gradients(network: nn.Module, images: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
    """Gradients of weighted sums of the samples' cross-entropies, from one forward pass.

    One backward pass for each: measured on two CPU cores this takes 0.6 to 0.9 of the time of
    `autograd.grad(is_grads_batched=True)`, and a quarter or less of `torch.func.jacrev` on
    convolutional networks.

    Args:
        network: used as it is, in training or eval mode; its buffers are not changed.
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
        # What is not trained has no gradient, and what does not take part has none either.
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
    """For each class the weights that make the mean over its samples, shape [classes, samples];
    zero for a class without any."""
    own = F.one_hot(labels, classes).T.float()
    return own / own.sum(1, keepdim=True).clamp(min=1)


def layers_of(network: nn.Module) -> dict[str, slice]:
    """Which of the flat parameters each layer owns, by the layer's name."""
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

    They sum to 1; one below 0 belongs to a class whose own gradient points away from the update.

    Args:
        products: <grad L_i, grad L_j>, shape [classes, classes].
        prior: pi, the classes' shares of the training set.
    """
    whole = products @ prior
    return np.asarray(prior * whole / (prior @ whole), dtype=np.float64)


def mean_cosine(matrix: FloatArray, rows: Sequence[int], columns: Sequence[int]) -> float:
    """The mean over pairs of different classes, one of each group; NaN without any."""
    pairs = [matrix[i, j] for i in rows for j in columns if i != j]
    pairs = [pair for pair in pairs if np.isfinite(pair)]
    return float(np.mean(pairs)) if pairs else float("nan")


class Gradients(Probe):
    """Gradients of every class at log-spaced steps, before the update, from the step 0 on.

    A line has, arrays over classes:

    - norm: |grad L_c|, of the class's whole gradient.
    - share: of the whole gradient, see `shares_of_update`.
    - conflict: cos(grad L_i, grad L_j), shape [classes, classes]; `layers/<name>` the same in each
      layer alone, up to 20 classes.
    - between, within_majority, within_minority: its means over pairs of different classes.
    - signal/batch: p_c = cos of the class's gradient in the step's own mini-batch with its whole
      gradient (Francazi et al. 2023); signal/single that of one sample with the whole gradient of
      its class's others, for the majority has more samples in a batch. noise/... : 1 - p_c^2, the
      share of noise in the direction.

    The whole gradient is over `rows` samples, in the training set's proportions but at least 8 of
    each class, all of it where that is less.

    Args:
        about: the run.
        points: how many steps.
        rows: samples of the whole gradient.

    Raises:
        ConfigError: more classes than can be held.
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

    def begin(self, module: ImbalanceClassifier, data: ImbalancedDataModule) -> Found | None:
        last = data.steps_per_epoch * int(module.trainer.max_epochs or 1) - 1
        self._steps = {0, *log_spaced(last, self._points)}
        self._sample = data.take("train", stratified(data.labels("train"), self._size))
        return None

    def before_step(self, step: int, batch: Batch, module: ImbalanceClassifier) -> Found | None:
        if step not in self._steps or self._sample is None:
            return None
        module.train()
        # Dropout depends on the step alone, not on where a run was resumed.
        torch.manual_seed(mixed_seed(self.about.seed, step))
        classes, network = self.about.classes, module.network
        images, labels = (x.to(module.device) for x in (self._sample.images, self._sample.labels))
        masks = class_masks(labels, classes)
        singles = self._one_of_each(labels, step)
        both = masked_gradients(
            network, module.normalise(images), labels, torch.cat([masks, singles])
        )
        whole, single = both[:classes], both[classes:]

        augmented = module.augment(batch.images, step, batch.first, batch.whole)
        own = class_masks(batch.labels, classes)
        in_batch = masked_gradients(network, module.normalise(augmented), batch.labels, own)

        products = (whole @ whole.T).double().cpu().numpy()
        conflict = _scaled(products)
        # A sample is a part of its class's mean: it is held against the mean of the others.
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
    """Cosine of each row with its partner, shape [rows]; NaN where one of them is zero."""
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
