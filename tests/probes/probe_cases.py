"""What the tests of probes look at: hand-made runs, outputs, data and small networks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import nn

from skewlab.data.batches import Batch
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset
from skewlab.errors import ConfigError
from skewlab.models.network import Network
from skewlab.probes.probe import Moment, RunFacts, SplitOutputs
from skewlab.training.module import ImbalanceClassifier

END_OF_EPOCH = Moment(1.0, 3, True, False)
LINEAR = {"_target_": "skewlab.models.small.mlp", "hidden": []}
NOISY = {"_target_": "probe_cases.noisy_network"}
SIDE = 4


def noisy_network(input_shape: tuple[int, int, int], classes: int) -> Network:
    """Batch normalisation and dropout: a state and random numbers that a probe could disturb."""
    pooled = input_shape[0] // 2 * (input_shape[1] // 2)
    body = nn.Sequential(
        nn.AvgPool2d(2),
        nn.Conv2d(input_shape[2], 4, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(4 * pooled, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
    )
    return Network(body, nn.Linear(8, classes))


class WithoutParts(nn.Module):
    """A network whose `features` are no method, as torchvision's have them, and without a head."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(input_shape[2], 4, 3)
        self.classifier = nn.Linear(4, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits


def facts(counts: Sequence[int], folder: Path = Path()) -> RunFacts:
    """A run whose class 0 is the majority."""
    names = tuple("abcdefghij"[: len(counts)])

    def counts_at(ratio: float) -> NDArray[np.int64]:
        if ratio > max(counts):
            raise ConfigError("there are not so many")
        few = round(max(counts) / ratio)
        return np.asarray([max(counts), *[few] * (len(counts) - 1)])

    return RunFacts(
        np.asarray(counts), names, (0,), tuple(range(1, len(counts))), folder, 0, counts_at
    )


def outputs(
    labels: Any, features: NDArray[Any] | None = None, logits: NDArray[Any] | None = None
) -> SplitOutputs:
    """What a network makes of samples; of what is not given, nothing."""
    labels = np.asarray(labels)
    classes = int(labels.max()) + 1
    return SplitOutputs(
        np.asarray(np.zeros((len(labels), 1)) if features is None else features, np.float32),
        np.asarray(np.zeros((len(labels), classes)) if logits is None else logits, np.float32),
        labels,
        np.arange(len(labels)),
    )


def data_of(counts: Sequence[int], batch_size: int = 8) -> ImbalancedDataModule:
    """So many random 4 x 4 images of each class, with a tendency."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    images = random.integers(0, 200, (len(labels), SIDE, SIDE, 1))
    images[np.arange(len(labels)), 0, labels] += 55
    images = images.astype(np.uint8)
    about = facts(counts)
    source = Source(about.class_names, images, labels, images, labels)
    everything = np.arange(len(labels))
    subset = Subset(
        everything,
        everything[:0],
        about.counts,
        about.counts,
        about.majority,
        about.minority,
        {},
        float(max(counts) / min(counts)),
    )
    data = ImbalancedDataModule(
        source,
        subset,
        batch_size=batch_size,
        evaluation_batch_size=7,
    )
    data.setup()
    return data


def classifier_of(
    counts: Sequence[int], model: dict[str, Any], learning_rate: float = 0.1
) -> ImbalanceClassifier:
    """A network for those images, about to be trained for two epochs."""
    module = ImbalanceClassifier(
        model=model,
        method={"loss": {"_target_": "skewlab.methods.losses.CrossEntropy"}},
        optimizer={"_target_": "torch.optim.SGD", "lr": learning_rate},
        scheduler={"_target_": "skewlab.training.schedules.constant"},
        input_shape=[SIDE, SIDE, 1],
        train_counts=list(counts),
        mean=[0.5],
        std=[0.25],
        init_seed=0,
        order_seed=0,
    )
    module.trainer = pl.Trainer(max_epochs=2, logger=False, enable_checkpointing=False)
    return module


def everything(data: ImbalancedDataModule) -> Batch:
    """The whole training set as one batch."""
    return data.take("train", np.arange(len(data.subset.train)))


def inputs(module: ImbalanceClassifier, batch: Batch) -> NDArray[np.float64]:
    """What a linear network is given, flat, with a 1 for the bias: shape [samples, 17]."""
    pixels = module.normalise(batch.images).flatten(1).double().numpy()
    return np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1)


def weights(module: ImbalanceClassifier) -> NDArray[np.float64]:
    """The head's weights and, in the last column, its biases."""
    head: Any = module.network.head
    return torch.cat([head.weight, head.bias[:, None]], dim=1).detach().double().numpy()


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def linear_gradient(
    matrix: NDArray[np.float64], x: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Of the mean cross-entropy of softmax(x matrix^T), written down: mean of (p - onehot) x^T."""
    apart = softmax(x @ matrix.T) - np.eye(len(matrix))[labels]
    return np.asarray(apart.T @ x / len(x))


def linear_loss(
    matrix: NDArray[np.float64], x: NDArray[np.float64], labels: NDArray[np.int64]
) -> float:
    """That mean cross-entropy."""
    return float(-np.log(softmax(x @ matrix.T)[np.arange(len(x)), labels]).mean())
