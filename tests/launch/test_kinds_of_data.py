"""One command on small data of each kind gives curves, a report and predictions."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import save_pictures
from program import forked

import skewlab

KINDS = ("table", "series", "tokens", "folder", "float images")


def made(kind: str, root: Path) -> list[str]:
    """Small data of a kind of two or three classes, and the overrides that choose it."""
    random = np.random.default_rng(0)
    if kind == "folder":
        return ["data=image_folder", f"data_dir={save_pictures(root / 'pictures')}", "model=mlp"]
    labels = np.arange(120) % 3
    if kind == "table":
        frame = pd.DataFrame({"x": random.normal(labels, 0.3), "site": random.choice(["a"], 120)})
        frame.loc[::9, "x"] = np.nan
        frame.assign(y=[f"class {label}" for label in labels]).to_csv(root / "t.csv", index=False)
        path = f"data.source.path={root / 't.csv'}"
        return ["data=table", path, "data.source.label=y", "model=tabular_resnet"]
    more: dict[str, int] = {}
    if kind == "series":
        inputs = random.normal(labels[:, None, None], 1, (120, 12, 2))
        model = "cnn_1d"
    elif kind == "tokens":
        inputs = random.integers(1, 4, (120, 6)) + 3 * labels[:, None]
        inputs[::2, 4:] = 0
        model, more = "embedding_bag", {"vocabulary": 10}
    else:
        inputs = random.normal(1000 * labels[:, None, None, None], 500, (120, 8, 8, 1))
        model = "small_cnn"
    np.savez(
        root / "own.npz",
        train_images=inputs[:90],
        train_labels=labels[:90, None],
        test_images=inputs[90:],
        test_labels=labels[90:, None],
        **more,
    )
    return ["data=arrays", f"data.source.path={root / 'own.npz'}", f"model={model}"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_command(kind: str, tmp_path: Path) -> None:
    trained = forked(
        *made(kind, tmp_path),
        *("ratio=4", "data.val_per_class=6", "data.batch_size=8", "trainer.max_epochs=8"),
        *("logger=none", f"logs_dir={tmp_path / 'logs'}"),
        "curves/probes=[samples,gradients]",
    )
    assert trained.returncode == 0, trained.stderr
    assert sum(line.startswith("data: ") for line in trained.stderr.splitlines()) == 1
    (run,) = (tmp_path / "logs" / "default").glob("*/status.json")
    run = run.parent
    assert json.loads((run / "status.json").read_text())["state"] == "done"
    assert (tmp_path / "logs" / "default" / "report" / "index.html").exists()
    assert (run / "samples.png").exists() == (kind in ("folder", "float images"))
    evaluated = forked(f"run={run}", program="eval.py")
    assert evaluated.returncode == 0, evaluated.stderr
    rows = list(csv.DictReader((run / "predictions.csv").open()))
    if kind != "folder":  # whose pixels are noise
        right = np.mean([row["label"] == row["predicted"] for row in rows])
        assert right > 0.6
    network = skewlab.load(run)
    if kind == "series":
        with np.load(tmp_path / "own.npz") as own:
            found = network(torch.from_numpy(own["test_images"])).argmax(1)
        assert found.tolist() == [int(row["predicted"]) for row in rows]
    if kind == "table":
        refused = forked(f"run={run}", "data=breast_cancer", program="eval.py")
        assert refused.returncode == 2
        assert "has inputs of [30], and the run's network takes [3]" in refused.stderr
