"""Representation or classifier: can the minority be told apart from what the network has learned?

Under imbalance a network's recall of the minority is low on test. Either its features do not
separate the minority's classes, or they do and the head, fitted to imbalanced classes, does not
use them (Kang et al., ICLR 2020). A linear classifier fitted to the frozen features of *balanced*
samples the network was not trained on, the val split, tells the two apart: compare its recall with
that of the same probe on a network trained on balanced data with the same seed.
"""

import warnings
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.runs import jsonfile

NAME = "representation.json"
# Inverse strengths of the probe's regularisation; cross-validation on val picks one.
STRENGTHS = (0.01, 0.1, 1.0)
FOLDS = 3


class RepresentationProbe(pl.Callback):
    """Fits the probe once, after training, and writes `representation.json`.

    Args:
        folder: the run's folder.
        here: whether this process is the one, of those that train together, to fit it.
    """

    def __init__(self, folder: Path, here: bool = True) -> None:
        self._folder, self._here = folder, here

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._here:
            return
        datamodule: ImbalancedDataModule = trainer.datamodule  # type: ignore[attr-defined]
        classes = len(datamodule.subset.counts)
        x, labels, _ = _features(trainer, pl_module, datamodule, "val")
        x_test, test_labels, own = _features(trainer, pl_module, datamodule, "test")
        predicted, strength = linear_probe(x, labels, x_test)
        jsonfile.write(
            self._folder / NAME,
            {
                "epoch": trainer.current_epoch,
                "step": trainer.global_step,
                "fitted_on": "val",
                "samples": len(labels),
                "features": x.shape[1],
                "strength": strength,
                "recall": {
                    "own_head": recalls(own, test_labels, classes).tolist(),
                    "probe": recalls(predicted, test_labels, classes).tolist(),
                },
            },
        )


def linear_probe(
    x: NDArray[np.float64], labels: NDArray[np.int64], x_test: NDArray[np.float64]
) -> tuple[NDArray[np.int64], float]:
    """Multinomial logistic regression on standardised features.

    The strength of its L2 penalty is chosen by cross-validated balanced accuracy on the samples
    it is fitted to; the test samples have no part in it.

    Args:
        x: features to fit, shape [samples, width].
        labels: shape [samples].
        x_test: features to classify, shape [test samples, width].

    Returns:
        The predicted classes of x_test, and the inverse strength that was chosen.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = min(FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
        {"logisticregression__C": STRENGTHS},
        scoring="balanced_accuracy",
        cv=StratifiedKFold(folds, shuffle=True, random_state=0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(x, labels)
    predicted: NDArray[np.int64] = search.predict(x_test)
    return predicted, float(search.best_params_["logisticregression__C"])


def recalls(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Recall of each class, shape [classes]; NaN where it has no sample."""
    hits = np.bincount(labels[predicted == labels], minlength=classes)
    with np.errstate(invalid="ignore"):
        return hits / np.bincount(labels, minlength=classes)


def _features(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    datamodule: ImbalancedDataModule,
    split: str,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """(features, labels, the own head's predictions) of a split."""
    features, labels, predicted = [], [], []
    module.eval()
    with torch.inference_mode(), trainer.precision_plugin.val_step_context():
        for batch in datamodule.evaluation_dataloader(split):
            images = module.normalise(batch.images.to(module.device))  # type: ignore[operator]
            x = module.network.features(images)  # type: ignore[operator, union-attr]
            predicted.append(module.network.head(x).argmax(1).cpu())  # type: ignore[operator, union-attr]
            features.append(x.float().cpu())
            labels.append(batch.labels.cpu())
    module.train()
    together = [torch.cat(parts).numpy() for parts in (features, labels, predicted)]
    return together[0].astype(np.float64), together[1], together[2]
