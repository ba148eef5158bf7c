"""The benchmark of methods: what it measures, what it says is published, that it goes on."""

import csv
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from program import ROOT, command

import skewlab.report
from skewlab.report.comparison import Entry

BENCHMARK = ROOT / "benchmarks" / "methods.py"
TINY = ("--seeds", "0", "--ratios", "100", "--epochs", "1")


@pytest.fixture(scope="module")
def benchmark() -> dict[str, Any]:
    return runpy.run_path(str(BENCHMARK), run_name="benchmark")


@pytest.mark.parametrize(
    ("data", "label", "rule", "figure"),
    [
        ("cifar10", "ce", "", 70.36),
        ("cifar100", "ldam_drw", "", 42.47),
        ("cifar10", "logit_adjustment", "", 78.57),
        ("cifar100", "logit_adjustment", "", None),
        ("cifar10", "ce + logit adjustment, tau 1 chosen on val", "logit_adjustment", 78.16),
        ("cifar100", "ce + tau normalisation, tau 1 chosen on val", "tau_normalisation", 40.96),
        ("cifar10", "focal + tau normalisation, tau 1 chosen on val", "tau_normalisation", None),
        ("cifar10", "pcnsgd", "", None),
    ],
)
def test_published_figures_are_of_the_same_method(
    benchmark: dict[str, Any], data: str, label: str, rule: str, figure: float | None
) -> None:
    found = benchmark["published"](data, Entry(label, {}, {}, rule))
    assert (found and found[0]) == figure


def rows(study: Path) -> dict[str, dict[str, str]]:
    with (study / "methods.csv").open() as file:
        return {row["method"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_the_reduced_form_is_measured_and_goes_on(tmp_path: Path) -> None:
    asked = ("--data", "mnist5k", *TINY, "--logs", str(tmp_path), "imbalance.n_max=100")
    first = command(str(BENCHMARK), *asked, "--methods", "ce,balanced_softmax")
    assert first.returncode == 0, first.stderr
    assert "data: mnist5k" in first.stdout
    assert "Published: there is none." in first.stdout
    (study,) = tmp_path.iterdir()
    frame = skewlab.report.load(study)
    last = frame[(frame.split == "test") & (frame.epoch == 1)].groupby("method").recall.mean()
    for method, row in rows(study).items():
        assert float(row["measured, %"]) == pytest.approx(100 * last[method], abs=1e-4)
    assert "published, %" not in rows(study)["ce"]
    assert (study / "methods.md").read_text().strip() in first.stdout
    # With a method more, the others are not trained again.
    again = command(str(BENCHMARK), *asked, "--methods", "ce,balanced_softmax,focal")
    assert again.returncode == 0, again.stderr
    assert "2 of 3 runs are done already" in again.stderr
    assert set(rows(study)) == {"ce", "balanced_softmax", "focal"}


@pytest.mark.slow
def test_images_of_a_folder_in_the_place_of_cifar(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split, samples in (("train", 104), ("test", 4)):
        for name in ("cat", "dog"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for k in range(samples):
                pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{k}.png")
    asked = ("--data", "cifar10", "--images", str(tmp_path / "images"), *TINY)
    done = command(
        str(BENCHMARK), *asked, "--methods", "ce,balanced_softmax",
        "--logs", str(tmp_path / "logs"), "data.val_per_class=4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "data: images of the folder images, not torchvision's cifar10" in done.stdout
    assert "100 to 1 images a class" in done.stdout
    (study,) = (tmp_path / "logs").iterdir()
    assert rows(study)["ce"]["published, %"] == "70.36"
    assert rows(study)["balanced_softmax"]["source"].startswith("BagofTricks-LT gallery")


@pytest.mark.slow
def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    done = command(str(BENCHMARK), "--data", "mnist5k", "--logs", str(tmp_path), "ratio=0.5")
    assert done.returncode == 2
    assert "ratio=0.5: must be a number of at least 1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_a_cpu(tmp_path: Path) -> None:
    done = command(
        str(ROOT / "benchmarks" / "gpu.py"), "--small", "--out", str(tmp_path), timeout=900
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "gpu.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert not [line for line in lines if line["what"] == "failed"]
    steps = {line["way"] for line in lines if line["what"] == "step"}
    assert {"bare loop, eager", "plain Lightning", "template", "skewlab"} <= steps
    same = {x["way"]: x["value"] for x in lines if x["what"] == "curves as the first time"}
    assert same == {"second": "yes", "killed and gone on": "yes"}
    together = [line["way"] for line in lines if line["what"] == "updates of all runs"]
    assert together == ["1 at a time, eager", "2 at a time, eager"]
    assert (tmp_path / "gpu.png").exists()
