"""Data as people have them: one command gives curves, a report and predictions."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import save_pictures
from PIL import Image
from program import forked
from sklearn import metrics as sklearn_metrics

from skewlab.runs.curve_file import read_curves

SMALL = (
    *("model=mlp", "model.hidden=[16]", "trainer.max_epochs=2", "curves.early_points=0"),
    *("logger=none", "data.batch_size=64"),
)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check_predictions(run: Path, split: str, positive: int | None = None) -> None:
    """What `eval.py` writes gives the numbers that are in the run's curves and summary."""
    output = run / f"{split}.csv"
    ended = forked(f"run={run}", f"split={split}", f"output={output}", program="eval.py")
    assert ended.returncode == 0, ended.stderr
    found = rows(output)
    labels = np.array([int(row["label"]) for row in found])
    predicted = np.array([int(row["predicted"]) for row in found])
    names = json.loads((run / "data.json").read_text())["class_names"]
    line = [line for line in read_curves(run)[0] if line.get("split") == split][-1]
    for label, name in enumerate(names):
        score = [float(row[f"p_{name}"]) for row in found]
        if 0 < (labels == label).sum() < len(labels):
            auroc = sklearn_metrics.roc_auc_score(labels == label, score)
            precision = sklearn_metrics.average_precision_score(labels == label, score)
            assert line["auroc"][label] == pytest.approx(auroc, abs=1e-3)
            assert line["average_precision"][label] == pytest.approx(precision, abs=1e-3)
    if positive is not None:
        summary = json.loads((run / "summary.json").read_text())
        expected = sklearn_metrics.matthews_corrcoef(labels, predicted)
        assert summary[f"{split}/matthews_correlation"] == pytest.approx(expected)
        expected = sklearn_metrics.f1_score(labels, predicted, pos_label=positive)
        assert summary[f"{split}/f1"] == pytest.approx(expected)
        assert summary[f"{split}/prevalence"] == pytest.approx((labels == positive).mean())


def test_two_classes_of_1108_and_77(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = {"train": np.repeat([0, 1], [1108, 77]), "test": np.repeat([0, 1], [100, 10])}
    arrays = {
        f"x_{split}": (random.normal(120 + 20 * some, 20, (4, 4, len(some))).T).astype(np.uint8)
        for split, some in labels.items()
    }
    answers = {f"y_{split}": some for split, some in labels.items()}
    np.savez(tmp_path / "set.npz", **arrays, **answers, class_names=np.array(["well", "ill"]))
    ended = forked(
        *("-m", "data=arrays", f"data.source.path={tmp_path / 'set.npz'}", "imbalance=natural"),
        *("control=none,same_total,same_minority", *SMALL, f"logs_dir={tmp_path / 'logs'}"),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "the data as they are have the ratio 14.45: 997 to 69 samples a class" in ended.stderr
    assert "control=same_total would need 1066 samples" in ended.stderr
    study = tmp_path / "logs" / "default"
    found = {
        tuple(data["train_counts"]): (path.parent, data)
        for path in study.glob("*/data.json")
        for data in [json.loads(path.read_text())]
    }
    assert set(found) == {(997, 69), (69, 69)}
    run, data = found[997, 69]
    assert data["val_counts"] == [111, 8]
    assert data["groups"] == {"majority": [0], "minority": [1]}
    assert data["ratio"] == data["ratio_reached"] == pytest.approx(997 / 69)
    assert {json.loads(p.read_text())["imbalanced_ratio"] for p in study.glob("*/data.json")} == {
        data["ratio"]
    }
    check_predictions(run, "test", positive=1)
    report = study / "report"
    (binary,) = rows(report / "binary.csv")
    assert binary["positive class"] == "ill"
    assert float(binary["test prevalence"]) == pytest.approx(10 / 110, abs=1e-5)
    assert {row["claim"] for row in rows(report / "verdicts.csv")} >= {"2", "3", "4a"}
    assert "ratio=1,natural" in (report / "index.html").read_text(), "what would decide them"
    assert {row["group"] for row in rows(report / "rankings.csv")} == {
        *("majority, many", "minority, medium")
    }
    points = rows(report / "ranking_curves.csv")
    assert {row["class"] for row in points} == {"well", "ill"}
    operating = {row["class"]: row for row in rows(report / "operating_points.csv")}
    kept = json.loads((run / "rankings.json").read_text())
    for label, name in enumerate(("well", "ill")):
        got = operating[name]["recall at the threshold of best F1 on val"]
        expected = kept["at_thresholds_of_val"]["f1"]["recall"][label]
        assert float(got) == pytest.approx(expected, abs=1e-5)


def test_named_folders_with_a_val_of_their_own(tmp_path: Path) -> None:
    """Its 3 images are all that val has: none of them is of dogs."""
    pictures = save_pictures(tmp_path / "pictures")
    random = np.random.default_rng(1)
    for name, samples in (("cat", 3), ("dog", 2)):
        (pictures / "val" / name).mkdir(parents=True)
        for sample in range(samples):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(pictures / "val" / name / f"{sample}.png")
    ended = forked(
        *("data=image_folder", f"data_dir={pictures}", "imbalance=natural", "data.crop=0", *SMALL),
        *("data.name=pets", f"logs_dir={tmp_path / 'logs'}"),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (data_file,) = (tmp_path / "logs").glob("default/pets-*/data.json")
    data = json.loads(data_file.read_text())
    assert (data["train_counts"], data["val_counts"]) == ([30, 20], [3, 2])
    check_predictions(data_file.parent, "val")
    check_predictions(data_file.parent, "test")
    report = forked(str(tmp_path / "logs" / "default"), program="report.py")
    assert report.returncode == 0, report.stderr


@pytest.mark.slow
def test_rankings_can_be_switched_off(tmp_path: Path) -> None:
    ended = forked(
        *(*SMALL, "curves.rankings=false", "imbalance.n_max=20", "data.val_per_class=5"),
        *("ratio=2", f"logs_dir={tmp_path}"),
    )
    assert ended.returncode == 0, ended.stderr
    (curves,) = tmp_path.glob("default/*/curves.jsonl")
    assert "auroc" not in curves.read_text()
    assert not (curves.parent / "rankings.json").exists()
    assert "auroc" not in (curves.parent / "summary.json").read_text()
