"""The history of each training sample: when it is learned, how often it is forgotten, and the
network's probability of its true class."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.metrics.scores import FloatArray
from skewlab.probes.probe import (
    Found,
    IntArray,
    Moment,
    Probe,
    RunFacts,
    SplitOutputs,
    by_class,
    probabilities,
)
from skewlab.runs import json_file

NAME, PICTURE = "samples.npz", "samples.png"
# The number of images in each row of the picture.
PICTURED = 12


class History:
    """The history of each sample over the evaluations so far.

    - forgetting: number of forgetting events: correct at one evaluation and wrong at the next.
      Toneva et al. (2019) evaluate a sample when it is in a batch; here all samples are evaluated
      at the end of each epoch.
    - first_learned: the epoch at which it was first correct; NaN for never. A sample that was never
      correct has no forgetting events, although it was never learned.
    - confidence and variability: mean and standard deviation over evaluations of the probability of
      the true class; correctness: share of the evaluations at which it was correct (Swayamdipta et
      al. 2020).

    Args:
        samples: number of samples.
    """

    def __init__(self, samples: int) -> None:
        self.evaluations = 0
        self.forgetting = np.zeros(samples, dtype=np.int64)
        self.first_learned = np.full(samples, np.nan)
        self._correct = np.zeros(samples, dtype=np.int64)
        self._was_correct = np.zeros(samples, dtype=bool)
        # Mean and sum of squared deviations, by Welford's update, which is numerically stable.
        self._mean = np.zeros(samples)
        self._squares = np.zeros(samples)

    def see(self, epoch: float, correct: np.ndarray[Any, Any], probability: FloatArray) -> None:
        """Add one evaluation.

        Args:
            epoch: of the evaluation.
            correct: bool [samples].
            probability: of the true class, shape [samples].
        """
        self.forgetting += self._was_correct & ~correct
        self.first_learned[correct & np.isnan(self.first_learned)] = epoch
        self._was_correct = correct
        self._correct += correct
        self.evaluations += 1
        apart = probability - self._mean
        self._mean += apart / self.evaluations
        self._squares += apart * (probability - self._mean)

    @property
    def confidence(self) -> FloatArray:
        """Mean probability of the true class, shape [samples]."""
        return self._mean

    @property
    def variability(self) -> FloatArray:
        """Standard deviation of that probability (divided by n, not n - 1), shape [samples]."""
        return np.sqrt(self._squares / max(self.evaluations, 1))

    @property
    def correctness(self) -> FloatArray:
        """Share of the evaluations at which it was correct, shape [samples]."""
        return np.asarray(self._correct / max(self.evaluations, 1), dtype=np.float64)

    def state_dict(self) -> dict[str, Any]:
        arrays = {
            name: torch.from_numpy(value.copy())
            for name, value in vars(self).items()
            if isinstance(value, np.ndarray)
        }
        return {"evaluations": self.evaluations, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value.numpy() if isinstance(value, torch.Tensor) else value)


class Samples(Probe):
    """The history of every training sample, from the evaluations at the ends of epochs.

    A line has means over each class's samples so far: `forgetting`, `ever_learned`, `confidence`,
    `variability`, `correctness`. At the end of training it writes `samples.npz`, with arrays over
    samples: `index` in the source's training pool, `label`, and all of `History`. It also writes
    `samples.png`, with the minority's images that were forgotten most often and the hardest ones,
    if the data are images.

    Args:
        about: the run.
    """

    def __init__(self, about: RunFacts) -> None:
        super().__init__(about)
        self._history = History(int(about.counts.sum()))

    def wants(self, moment: Moment) -> tuple[str, ...]:
        return ("train",) if moment.whole else ()

    def measure(
        self, moment: Moment, outputs: Mapping[str, SplitOutputs], module: pl.LightningModule
    ) -> Found | None:
        seen, history = outputs["train"], self._history
        true = probabilities(seen.logits)[np.arange(len(seen.labels)), seen.labels]
        history.see(moment.epoch, seen.logits.argmax(1) == seen.labels, true)
        values = {
            "forgetting": history.forgetting,
            "ever_learned": ~np.isnan(history.first_learned),
            "confidence": history.confidence,
            "variability": history.variability,
            "correctness": history.correctness,
        }
        together = np.stack([value.astype(np.float64) for value in values.values()], axis=1)
        means = by_class(seen.labels, together, self.about.classes)
        return dict(zip(values, means.T, strict=True))

    def end(self, data: ImbalancedDataModule) -> None:
        history, labels = self._history, data.labels("train")
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            index=data.subset.train,
            label=labels,
            forgetting=history.forgetting,
            first_learned=history.first_learned.astype(np.float32),
            confidence=history.confidence.astype(np.float32),
            variability=history.variability.astype(np.float32),
            correctness=history.correctness.astype(np.float32),
        )
        json_file.write_bytes(self.about.folder / NAME, buffer.getvalue())
        self._draw(data, labels)

    def state_dict(self) -> dict[str, Any]:
        return self._history.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._history.load_state_dict(state)

    def _draw(self, data: ImbalancedDataModule, labels: IntArray) -> None:
        from skewlab.probes.picture import Picture, draw_samples

        source = data.source
        if not source.is_image or (source.kind == "float_image" and source.input_shape[2] != 1):
            return  # nothing that can be shown
        history = self._history
        forgotten, hardest = notable(history, np.isin(labels, self.about.minority))

        def pictures(rows: IntArray) -> list[Picture]:
            images = data.take("train", rows).images.cpu().numpy()
            return [
                Picture(
                    image,
                    self.about.class_names[labels[row]],
                    int(history.forgetting[row]),
                    float(history.first_learned[row]),
                    float(history.confidence[row]),
                )
                for row, image in zip(rows, images, strict=True)
            ]

        draw_samples(
            {
                "forgotten most: correct at one epoch's end and wrong at the next": pictures(
                    forgotten
                ),
                "hardest: the lowest mean probability of the true class": pictures(hardest),
            },
            self.about.folder / PICTURE,
        )


def notable(history: History, minority: np.ndarray[Any, Any]) -> tuple[IntArray, IntArray]:
    """The minority's samples with the most forgetting events, and those with the lowest mean
    probability of the true class; at most 12 rows each, the most notable first.

    Samples that were never learned have no forgetting events; they are among the hardest.
    """
    rows = np.flatnonzero(minority)
    events = history.forgetting[rows]
    forgotten = rows[np.lexsort((history.confidence[rows], -events))][: int((events > 0).sum())]
    hardest = rows[np.argsort(history.confidence[rows], kind="stable")]
    return forgotten[:PICTURED], hardest[:PICTURED]
