"""A run's two checkpoints: the last evaluated epoch, and the best one on val."""

import shutil
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from skewlab.curves.callback import PerClassCurves

LAST, BEST = "last.ckpt", "val_best.ckpt"


class Checkpoints(Checkpoint):
    """Writes `last.ckpt` after each evaluated epoch, and keeps it as `val_best.ckpt` if the epoch
    is the best so far.

    Lightning's own ModelCheckpoint writes its last one only when it also has a new best one. Both
    files are replaced in one move, so there is never half of one.

    Args:
        folder: where they lie.
        curves: knows when an epoch was evaluated and whether it is the best.
    """

    def __init__(self, folder: Path, curves: PerClassCurves) -> None:
        self._folder, self._curves = folder, curves

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._curves.evaluated_epochs != trainer.current_epoch + 1:
            return
        beside = self._folder / f".{LAST}"
        trainer.save_checkpoint(beside)
        beside.replace(self._folder / LAST)
        if self._curves.is_best:
            shutil.copyfile(self._folder / LAST, beside)
            beside.replace(self._folder / BEST)
