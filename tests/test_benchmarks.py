"""The benchmark of methods: what it measures, what it says is published, that it goes on."""

import csv
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import make_run
from PIL import Image
from program import ROOT, command, composed_at

import skewlab.report
from skewlab.errors import ConfigError
from skewlab.report.comparison import Entry, Outcome
from skewlab.report.read import Run

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
        ("cifar10", "sigmoid_focal", "", 71.56),
        ("cifar10", "focal", "", None),
        ("cifar10", "logit_adjustment", "", 78.57),
        ("cifar100", "logit_adjustment", "", None),
        ("cifar10", "ce + logit adjustment, tau 1 chosen on val", "logit_adjustment", 78.16),
        ("cifar100", "ce + tau normalisation, tau 1", "tau_normalisation", 40.96),
        ("cifar10", "focal + tau normalisation, tau 1 chosen on val", "tau_normalisation", None),
        ("cifar10", "weighted_inverse, weights.deferred_until=0.8", "", None),
        ("mnist5k", "ce", "", None),
    ],
)
def test_published_figures_are_of_the_same_method(
    benchmark: dict[str, Any], data: str, label: str, rule: str, figure: float | None
) -> None:
    assert benchmark["published"](data, Entry(label, {}, {}, rule)) == figure


def test_published_methods_have_files(benchmark: dict[str, Any]) -> None:
    named = {path.stem for path in (ROOT / "configs" / "method").glob("*.yaml")}
    assert set(benchmark["PUBLISHED"]) <= named


@pytest.mark.parametrize(
    ("method", "words", "same"),
    [
        ("ce", ["data.val_per_class=0", "seed=3"], True),
        ("ce", [], False),  # a tenth of the images is val
        ("ce", ["data.val_per_class=0", "trainer.max_epochs=100"], False),
        ("ldam_drw", ["data.val_per_class=0"], True),
        ("class_balanced", ["data.val_per_class=0", "method.weights.normalise=batch_size"], False),
        ("crt", ["data.val_per_class=0"], False),  # the published one's second stage is another
        ("logit_adjustment", ["data.val_per_class=0"], False),  # 1,241 epochs
    ],
)
def test_a_figure_stands_beside_a_measured_one_of_the_same_protocol_only(
    benchmark: dict[str, Any], tmp_path: Path, method: str, words: list[str], same: bool
) -> None:
    config = composed_at(tmp_path, "experiment=cifar10_lt", f"method={method}", *words)
    run = Run(tmp_path, "done", config, "", {}, {}, {}, {})
    data = benchmark["Data"]("cifar10", "cifar10_lt", [], "")
    entry = Entry(method, {(0,): Outcome(run, np.zeros(10))}, {})
    assert benchmark["trained_as_published"](data, entry) == same


def test_a_column_of_a_page_is_filled(benchmark: dict[str, Any]) -> None:
    page = "# Page\n\n| method | a, % | b, % |\n|---|---|---|\n| `ce` | 1 | 2 |\n| `vs` | 3 |  |\n"
    found = benchmark["filled"](page, "b, %", {"ce": "9 (8 to 10)", "new": "4"})
    assert found == page.replace("| `ce` | 1 | 2 |", "| `ce` | 1 | 9 (8 to 10) |")
    with pytest.raises(ConfigError, match="has no table of methods with a column 'c'"):
        benchmark["filled"](page, "c", {})


def test_the_table_of_the_documentation_can_be_filled(benchmark: dict[str, Any]) -> None:
    """Every method has a row, and each measured column is found."""
    page = (ROOT / "docs" / "methods.md").read_text()
    names = {path.stem: "!" for path in (ROOT / "configs" / "method").glob("*.yaml")}
    for data in ("mnist5k", "fashion_mnist"):
        assert benchmark["filled"](page, f"{data}, %", names).count("| ! |") == len(names)


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
    assert not any("published" in name for name in rows(study)["ce"])
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
    assert rows(study)["ce"]["published, same protocol, %"] == "", "these are other images"
    assert "| ce | 70.36 | cross-entropy | 200 epochs | BagofTricks-LT gallery" in done.stdout


@pytest.mark.slow
def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    done = command(str(BENCHMARK), "--data", "mnist5k", "--logs", str(tmp_path), "ratio=0.5")
    assert done.returncode == 2
    assert "ratio=0.5: must be a number of at least 1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_made_up_study_of_many_runs_is_reported_whole(tmp_path: Path) -> None:
    done = command(str(ROOT / "benchmarks" / "scale.py"), "8", str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = command("report.py", str(tmp_path / "scale"))
    assert report.returncode == 0, report.stderr
    assert "left out" not in report.stdout + report.stderr
    assert skewlab.report.load(tmp_path / "scale").run.nunique() == 8


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


def test_findings_fill_their_tables_and_leave_the_rest_of_the_page(tmp_path: Path) -> None:
    main = runpy.run_path(str(ROOT / "benchmarks" / "findings.py"), run_name="benchmark")["main"]
    for seed in range(3):
        for ratio in (1, 10):
            make_run(tmp_path / "study", ratio=ratio, seed=seed)
    page = tmp_path / "findings.md"
    page.write_text("Before.\n<!-- table: recalls -->\nold\n<!-- end -->\nAfter.\n")
    for _ in range(2):  # the second time it replaces what it wrote
        assert main([str(tmp_path / "study"), "--into", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("Before.\n<!-- table: recalls -->\n\n| data | network |")
    assert text.endswith("|\n\n<!-- end -->\nAfter.\n")
    assert "old" not in text
    rows = list(csv.DictReader((tmp_path / "findings" / "recalls.csv").open()))
    frame = skewlab.report.load(tmp_path / "study")
    last = frame[(frame.split == "test") & (frame.step == frame.step.max())]
    for row in rows:
        some = last[(last.ratio == float(row["ratio"])) & (last.group == "minority")]
        assert float(row["test minority"].split(" ")[0]) == pytest.approx(
            some.recall.mean(), abs=1e-3
        )
    judged = list(csv.DictReader((tmp_path / "findings" / "verdicts.csv").open()))
    assert [row["claim"] for row in judged] == ["1", "2", "3", "4a", "4b"]
    # A study with another optimiser is added, and takes its own rows' place the second time.
    for ratio in (1, 10):
        make_run(tmp_path / "other", ratio=ratio, seed=0, optimizer="adamw")
    for _ in range(2):
        assert main([str(tmp_path / "other"), "--into", str(page), "--add"]) == 0
    more = list(csv.DictReader((tmp_path / "findings" / "recalls.csv").open()))
    assert more[: len(rows)] == rows
    assert [row["trained"].split(",")[0] for row in more] == ["sgd"] * 2 + ["adamw"] * 2
    assert page.read_text().count("\n| made") == 4
