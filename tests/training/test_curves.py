"""When curves are evaluated."""

import json
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from program import TINY
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix, precision_recall_curve
from torch.utils.data import DataLoader, Subset, TensorDataset
from trained import train_at

from skewlab import PerClassCurves
from skewlab.data.sources import mnist5k
from skewlab.probes.steps import log_spaced
from skewlab.report.build import build_report
from skewlab.report.thresholds import Thresholds
from skewlab.runs.curve_file import read_curves
from skewlab.runs.predictions import read_predictions
from skewlab.runs.reading import read_data


def test_log_spaced_steps_by_hand() -> None:
    assert log_spaced(16, 5) == {1, 2, 4, 8, 16}
    assert log_spaced(16, 1) == {1}
    assert log_spaced(0, 5) == set()
    assert log_spaced(16, 0) == set()


@given(st.integers(1, 2500), st.integers(2, 40))
def test_log_spaced_steps_reach_from_the_first_to_the_last(last: int, points: int) -> None:
    steps = log_spaced(last, points)
    assert min(steps) == 1
    assert max(steps) == last
    assert len(steps) <= points


def test_each_pass_is_of_its_split_alone(tmp_path: Path) -> None:
    """Not of what an earlier pass has seen, of another split or at another time."""
    run = train_at(tmp_path, *TINY, "ratio=5", "model=mlp", "model.hidden=[8]", "logger=none")
    lines, _ = read_curves(run.path)
    counts = read_data(run.path)
    splits = {line["split"] for line in lines}
    assert splits == {"train", "val", "test"}
    assert len(lines) > 2 * len(splits)
    for line in lines:
        assert line["n"].tolist() == counts[f"{line['split']}_counts"]
        assert line["confusion"].sum(1).tolist() == line["n"].tolist()
    # What is kept of each test sample makes the last line's confusion matrix.
    found = read_predictions(run.path, len(counts["class_names"]))
    last = next(line for line in reversed(lines) if line["split"] == "test")
    kept = confusion_matrix(found["label"], found["predicted"], labels=range(len(last["n"])))
    assert kept.tolist() == last["confusion"].tolist()
    source = mnist5k("data")
    np.testing.assert_array_equal(found["label"], source.test_labels)
    assert run.status()["files"]["predictions.npz"]


class Linear(pl.LightningModule):
    """Somebody's own module: nothing of skewlab is in it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torch.nn.Linear(64, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(inputs)
        return logits

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def test_the_rankings_of_a_run_in_another_project(tmp_path: Path) -> None:
    """Against scikit-learn's curves of the trained module's own probabilities."""
    images, labels = (torch.from_numpy(one) for one in load_digits(return_X_y=True))
    data = TensorDataset(images.float() / 16, labels)
    train, val, test = (DataLoader(Subset(data, range(at, 1797, 3)), 64) for at in range(3))
    curves = PerClassCurves(tmp_path / "mine" / "seed0", val=val, test=test, at_precision=0.8)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    module = Linear()
    pl.Trainer(max_epochs=2, callbacks=[curves], **quiet).fit(module, train)

    kept = json.loads((tmp_path / "mine" / "seed0" / "rankings.json").read_text())
    with torch.inference_mode():
        rows = range(2, 1797, 3)
        scores = module(images[rows].float() / 16).double().softmax(dim=1).numpy()
    for label in range(10):
        truth = (labels[rows] == label).numpy()
        precision, recall, _ = precision_recall_curve(truth, scores[:, label])
        best = recall[precision >= 0.8].max()
        assert kept["test"]["recall_at_precision"][label] == pytest.approx(best)
    assert set(kept["at_thresholds_of_val"]) == {"f1", "recall_at_precision", "precision_at_recall"}
    report = build_report([tmp_path / "mine"], Thresholds())
    assert (report.folder / "operating_points.csv").exists()
