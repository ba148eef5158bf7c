"""Loops in plain PyTorch that skewlab is measured against; each trains the same network on the same
samples with the same optimiser, and returns what it found at its end."""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn

from skewlab.config.parts import build
from skewlab.config.schema import RunConfig
from skewlab.data.plan import plan
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset
from skewlab.training.devices import accelerator

EVALUATED = 250  # samples of a batch in evaluation, as skewlab has it


@dataclass(frozen=True)
class Task:
    """What all loops are given.

    Attributes:
        config: a run's.
        source, subset: its data.
    """

    config: RunConfig
    source: Source
    subset: Subset

    @classmethod
    def of(cls, config: RunConfig) -> "Task":
        return cls(config, *plan(config))

    @property
    def epochs(self) -> int:
        return self.config.trainer.max_epochs

    @property
    def batch_size(self) -> int:
        return self.config.data.batch_size

    @property
    def classes(self) -> int:
        return len(self.source.class_names)

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if accelerator(self.config) == "gpu" else "cpu")

    def network(self) -> nn.Module:
        torch.manual_seed(self.config.init_seed)
        shape = self.source.input_shape
        network: nn.Module = build(self.config.model, shape, self.classes, key="model")
        return network

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = build(
            self.config.optimizer, network.parameters(), key="optimizer"
        )
        return optimizer

    def splits(self) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """uint8 images and labels of train, val and test."""
        pool = self.source.train_images, self.source.train_labels
        parts = {"train": self.subset.train, "val": self.subset.val}
        found = {name: (pool[0][rows], pool[1][rows]) for name, rows in parts.items()}
        return {**found, "test": (self.source.test_images, self.source.test_labels)}

    def resident(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Normalised images and labels of train, val and test, on the device."""
        return {
            name: (self.normalised(images), torch.from_numpy(labels).to(self.device))
            for name, (images, labels) in self.splits().items()
        }

    def normalised(self, images: NDArray[np.uint8]) -> Tensor:
        """float [samples, channels, height, width] on the device, in channels-last memory."""
        mean, std = (torch.tensor(values) for values in self.source.mean_and_std)
        scaled = (torch.from_numpy(images) / 255 - mean) / std
        return scaled.permute(0, 3, 1, 2).to(self.device)


def cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * (step + 0.5) / steps))
    )


def bare(task: Task, measured: bool) -> float:
    """The shortest loop there is: pixels as floats on the device, nothing else in a step.

    Args:
        task: what is trained.
        measured: whether the loss, recall and precision of each class are measured on all splits
            before the first epoch and after each; the balanced accuracy on test at the end in any
            case.
    """
    data = task.resident()
    images, labels = data["train"]
    network = task.network().to(task.device, memory_format=torch.channels_last)
    optimizer = task.optimizer(network)
    schedule = cosine(optimizer, task.epochs * math.ceil(len(labels) / task.batch_size))
    for epoch in range(task.epochs + 1):
        # Before the first epoch too, as skewlab does: what an untrained network favours is seen.
        if measured or epoch == task.epochs:
            for split in data.values() if measured else [data["test"]]:
                found = evaluate(network, *split, task.classes)  # of test at last
        if epoch == task.epochs:
            break
        network.train()
        for rows in torch.randperm(len(labels)).to(task.device).split(task.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(images[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    return float(found["recall"].mean())


@torch.inference_mode()
def evaluate(
    network: nn.Module, images: Tensor, labels: Tensor, classes: int
) -> dict[str, NDArray[np.float64]]:
    """Loss, recall and precision of each class."""
    network.eval()
    logits = torch.cat([network(batch) for batch in images.split(EVALUATED)])
    return per_class(logits, labels, classes)


def per_class(logits: Tensor, labels: Tensor, classes: int) -> dict[str, NDArray[np.float64]]:
    """Loss, recall and precision of each class, in as few operations as they take."""
    predicted = logits.argmax(1)
    losses = F.cross_entropy(logits, labels, reduction="none")
    rows = torch.stack([torch.ones_like(losses), losses, (predicted == labels).float()], 1)
    sums = torch.zeros(classes, 3, device=labels.device).index_add_(0, labels, rows)
    times = torch.zeros(classes, device=labels.device).index_add_(0, predicted, rows[:, 0])
    n, loss, correct = sums.cpu().numpy().astype(np.float64).T
    precision = correct / np.maximum(times.cpu().numpy(), 1)
    return {"loss": loss / n, "recall": correct / n, "precision": precision}


class Images(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Samples as torchvision's data sets hand them out: a PIL image through transforms."""

    def __init__(self, task: Task, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        from torchvision import transforms

        self._images, self._labels = images, labels
        self._transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(*task.source.mean_and_std)]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        from PIL import Image

        pixels = self._images[row]
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        return self._transform(image), int(self._labels[row])


class Average:
    """A running mean, as research scripts have it."""

    def __init__(self) -> None:
        self.sum, self.count = 0.0, 0

    def update(self, value: float, n: int) -> None:
        self.sum, self.count = self.sum + value * n, self.count + n


def research_script(task: Task) -> float:
    """The loop of long-tail research code: images through PIL in loader workers, the loss and the
    accuracy of each step read back at once, a confusion matrix in scikit-learn after each epoch."""
    splits = {name: Images(task, *split) for name, split in task.splits().items()}

    def loader(name: str, shuffle: bool) -> torch.utils.data.DataLoader[tuple[Tensor, Tensor]]:
        return torch.utils.data.DataLoader(
            splits[name],
            batch_size=task.batch_size if shuffle else EVALUATED,
            shuffle=shuffle,
            num_workers=2,
            pin_memory=task.device.type == "cuda",
        )

    network = task.network().to(task.device)
    optimizer = task.optimizer(network)
    criterion = nn.CrossEntropyLoss().to(task.device)
    training = loader("train", shuffle=True)
    schedule = cosine(optimizer, task.epochs * len(training))
    recall = np.zeros(task.classes)

    def evaluate_all() -> None:
        nonlocal recall
        network.eval()
        for name in splits:
            matrix = _confusion(task, network, criterion, loader(name, shuffle=False))
            recall = matrix.diagonal() / matrix.sum(1)

    with tempfile.TemporaryDirectory() as folder:
        evaluate_all()
        for _ in range(task.epochs):
            network.train()
            loss_so_far, accuracy_so_far = Average(), Average()
            for images, labels in training:
                images, labels = images.to(task.device), labels.to(task.device)
                logits = network(images)
                loss = criterion(logits, labels)
                loss_so_far.update(loss.item(), len(labels))
                accuracy = (logits.argmax(1) == labels).float().mean()
                accuracy_so_far.update(accuracy.item(), len(labels))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            evaluate_all()
            torch.save(network.state_dict(), Path(folder) / "last.pt")
    return float(recall.mean())


def _confusion(
    task: Task,
    network: nn.Module,
    criterion: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]] | torch.utils.data.DataLoader[tuple[Tensor, Tensor]],
) -> NDArray[np.int64]:
    true: list[int] = []
    predicted: list[int] = []
    losses = Average()
    with torch.no_grad():
        for images, labels in batches:
            images, labels = images.to(task.device), labels.to(task.device)
            logits = network(images)
            losses.update(criterion(logits, labels).item(), len(labels))
            true.extend(labels.cpu().numpy())
            predicted.extend(logits.argmax(1).cpu().numpy())
    matrix: NDArray[np.int64] = confusion_matrix(true, predicted, labels=range(task.classes))
    return matrix
