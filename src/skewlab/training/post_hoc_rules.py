"""The callback that applies a method's post-hoc rules to the trained network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from skewlab.config.parts import build
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.methods.post_hoc import LogitsAndHead, PostHoc, choose
from skewlab.metrics.scores import FloatArray, recall_per_class
from skewlab.probes.outputs import Gathered, network_of
from skewlab.runs import json_file
from skewlab.training.evaluation import evaluated

NAME = "post_hoc.json"
# What chooses a rule's strength.
TUNED_ON, CRITERION = "val", "balanced_accuracy"


class PostHocRules(pl.Callback):
    """After training, writes `post_hoc.json`: for each rule the recall of every class on val, where
    there is one, and test at each tau of its grid, and the tau that is best on val.

    Args:
        rules: the rules by name, each a part; there may be none.
        counts: training samples of each class.
        folder: the run's folder.
        here: whether this process is the one, of those that train together, to do it.
    """

    def __init__(
        self,
        rules: Mapping[str, Mapping[str, Any]],
        counts: NDArray[np.int64],
        folder: Path,
        here: bool = True,
    ) -> None:
        self._rules: dict[str, PostHoc] = {
            name: build(rule, torch.from_numpy(counts), key=f"method.post_hoc.{name}")
            for name, rule in rules.items()
        }
        self._folder, self._here = folder, here

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not (self._rules and self._here):
            return
        outputs, labels = {}, {}
        splits = trainer.datamodule.splits  # type: ignore[attr-defined]
        for split in [split for split in ("val", "test") if split in splits]:
            outputs[split], labels[split] = _outputs(trainer, pl_module, split)
        json_file.write(
            self._folder / NAME,
            {
                "epoch": trainer.current_epoch,
                "step": trainer.global_step,
                "tuned_on": TUNED_ON if TUNED_ON in splits else None,
                "criterion": CRITERION,
                "samples": {split: len(labels[split]) for split in labels},
                "own": {s: _recall(outputs[s].logits, labels[s]).tolist() for s in labels},
                "rules": {
                    name: evaluate(rule, outputs, labels) for name, rule in self._rules.items()
                },
            },
        )


def evaluate(
    rule: PostHoc, outputs: Mapping[str, LogitsAndHead], labels: Mapping[str, Tensor]
) -> dict[str, Any]:
    """A rule's entry in `post_hoc.json`: `grid`, the chosen `tau`, and for each split the `recall`
    of each class at that tau and, under `by_tau`, at every one. A single tau needs no val."""
    by_tau = {
        split: [_recall(rule(outputs[split], tau), labels[split]) for tau in rule.grid]
        for split in outputs
    }
    place = choose(by_tau[TUNED_ON]) if len(rule.grid) > 1 else 0
    return {
        "grid": rule.grid,
        "tau": rule.grid[place],
        "recall": {split: found[place].tolist() for split, found in by_tau.items()},
        "by_tau": {split: [one.tolist() for one in found] for split, found in by_tau.items()},
    }


def _recall(logits: Tensor, labels: Tensor) -> FloatArray:
    """Recall of each class, shape [classes], when the largest logit is the prediction."""
    return recall_per_class(logits.argmax(dim=1).numpy(), labels.numpy(), logits.shape[1])


def _outputs(
    trainer: pl.Trainer, module: pl.LightningModule, split: str
) -> tuple[LogitsAndHead, Tensor]:
    """What the network says of a split, on the CPU in double precision, and the labels."""
    datamodule: ImbalancedDataModule = trainer.datamodule  # type: ignore[attr-defined]
    seen = Gathered()
    with (
        evaluated(trainer, module),
        torch.inference_mode(),
        trainer.precision_plugin.val_step_context(),
    ):
        for batch in datamodule.evaluation_batches(split):
            images = batch.images.to(module.device, non_blocking=True)
            seen.add(module, images, batch.labels, batch.rows)
        weight = getattr(getattr(network_of(module), "head", None), "weight", None)
        weight = None if weight is None else weight.detach().double().cpu()
    whole = seen.whole()
    assert whole is not None
    logits, features = (torch.from_numpy(x).double() for x in (whole.logits, whole.features))
    return LogitsAndHead(logits, features, weight), torch.from_numpy(whole.labels)
