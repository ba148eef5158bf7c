"""What the report says of probes, on measurements whose truth is known."""

import csv
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import CLASSES, EPOCHS, make_run, rises
from sklearn.metrics import precision_recall_curve, roc_curve

from skewlab.metrics.per_class import Rankings
from skewlab.report import build, figures
from skewlab.report.build import build_report
from skewlab.report.drawing import curve
from skewlab.report.page import content
from skewlab.report.read import read_runs
from skewlab.report.sections import (
    calibration,
    decomposition,
    geometry,
    initial_drop,
    rankings,
    scaling_law,
)
from skewlab.report.sections.calibration import reliability_diagram
from skewlab.report.sections.initial_drop import Drop, drop_of
from skewlab.report.settings import Setting, by_setting
from skewlab.report.thresholds import Thresholds
from skewlab.runs import json_file
from skewlab.training.final_rankings import final_rankings

MAJORITY, MINORITY = [0, 1], [2, 3]


def by_group(majority: float, minority: float) -> list[float]:
    return [majority, majority, minority, minority]


def heads(few_as_at_10: float = 0.5, **minority: float) -> dict[str, Any]:
    """A representation probe's line: the minority's test recall by head; val says the same."""
    recall = {head: by_group(1.0, value) for head, value in minority.items()}
    val = {head: recall[head] for head in decomposition.FROM_TRAIN}
    return {"recall": {**recall, "few_as_at": {"10": by_group(1.0, few_as_at_10)}}, "val": val}


def all_alike(value: float) -> dict[str, float]:
    return dict.fromkeys(decomposition.HEADS, value)


def setting_of(study: Path) -> Setting:
    (setting,) = by_setting(read_runs([study]).finished)
    return setting


@pytest.fixture
def probed(tmp_path: Path) -> Path:
    """Three seeds at two ratios with all probes on, of values that are easy to add up."""
    for seed in range(3):
        for ratio in (1, 10):
            skew = ratio > 1
            known = all_alike(0.9) if not skew else all_alike(0.2) | {
                "prior_adjusted": 0.5, "nearest_class_mean": 0.4, "few_probe": 0.45,
                "balanced_probe": 0.8,
            }  # fmt: skip
            folder = make_run(
                tmp_path / "study",
                ratio=ratio,
                seed=seed,
                train=(rises(0.25), rises(5 if skew else 0.25)),
                found={
                    "representation": [
                        (0, heads(**all_alike(0.1))),
                        (EPOCHS, heads(0.85, **known)),
                    ],
                    "initial_drop": first_steps(rises_to=3.0 if skew else 2.0),
                    "gradients": [(e, gradient()) for e in (0, 1, EPOCHS)],
                    "geometry": [(e, shape(e)) for e in (0, 1, EPOCHS)],
                    "calibration": [(e, belief()) for e in (0, EPOCHS)],
                    "samples": [(e, {"forgetting": by_group(0, 1)}) for e in (1, EPOCHS)],
                    "mine": [
                        (0, {"depth": by_group(0, 0), "all": 0, "early": 7.0}),
                        (EPOCHS, {"depth": by_group(EPOCHS, 2 * EPOCHS), "all": EPOCHS}),
                    ],
                },
            )
            save_samples(folder)
            save_features(folder)
    return tmp_path / "study"


def first_steps(rises_to: float) -> list[tuple[float, dict[str, Any]]]:
    """Starts at 2, the minority's loss rises (or not) at step 2, and falls below at step 4."""
    minority = [2.0, 2.0, rises_to, 2.5 if rises_to > 2 else 1.5, 1.0]
    lines: list[tuple[float, dict[str, Any]]] = []
    for step, loss in enumerate(minority):
        line: dict[str, Any] = {
            "loss": by_group(2.0 - 0.3 * step, loss),
            "recall": by_group(0.2 * step, 0.1 if step in (0, 4) else 0.0),
        }
        if step:
            change = by_group(-0.3, loss - minority[step - 1])
            line |= {"happened": change, "predicted": [-change[0], *change[1:]]}
        lines.append((step / 8, line))
    return lines


def gradient() -> dict[str, Any]:
    eye = np.eye(CLASSES).tolist()
    signal = {"batch": [0.9, 0.8, None, 0.5], "single": by_group(0.5, 0.4)}
    return {
        "norm": by_group(1, 3), "share": by_group(0.5, 0.0), "conflict": eye, "between": 0.0,
        "within_majority": 0.0, "within_minority": 0.0, "signal": signal, "noise": signal,
        "layers": {"body.0": eye, "head": eye},
    }  # fmt: skip


def shape(epoch: float) -> dict[str, Any]:
    points = [[float(k), epoch / EPOCHS] for k in range(CLASSES)]
    each = by_group(1.0, 0.5)
    return {
        "nc1": 1.0, "nc2_equinorm": 0.5, "nc2_equiangularity": 0.1, "nc2_widest_angles": 0.1,
        "nc3": 1.0, "nc4": {"train": 1.0, "test": 0.9},
        "head_cosine": {"minority": 0.6, "majority": -0.2},
        "mean_cosine": {"minority": 0.0, "majority": 0.0}, "mean_norm": each, "head_norm": each,
        "head_bias": each, "head_norm_slope": None, "head_bias_slope": 0.2,
        "deviation": by_group(0.0, 0.3), "spread": {"train": each, "test": each},
        "angles": np.eye(CLASSES).tolist(),
        "projection": {"means": points, "train": points, "test": points,
                       "train_labels": list(range(CLASSES)), "test_labels": list(range(CLASSES))},
    }  # fmt: skip


def belief() -> dict[str, Any]:
    both = {"true": by_group(0.1, 0.4), "predicted": [0.2, 0.2, 0.3, None], "all": 0.25}
    return {
        "error": both, "brier": both, "mean_prediction": by_group(0.4, 0.1),
        "prior": by_group(0.45, 0.05), "from_prior": 0.1, "from_uniform": 0.3,
        "reliability": {"true": diagram(0.2), "predicted": diagram(0.8)},
    }  # fmt: skip


def diagram(right: float) -> dict[str, Any]:
    """Two bins: five samples of each class, 0.4 sure and half right; five 0.9 sure."""
    return {
        "samples": [[5.0, 5.0]] * CLASSES,
        "confidence": [[2.0, 4.5]] * CLASSES,
        "right": [[2.5, 5 * right]] * CLASSES,
    }


def save_samples(folder: Path) -> None:
    labels = np.asarray([0, 0, 1, 2, 2, 3])
    np.savez(
        folder / "samples.npz",
        index=np.arange(6), label=labels, forgetting=np.asarray([0, 0, 0, 1, 3, 2]),
        first_learned=np.asarray([1, 1, 2, 4, np.nan, np.nan]),
        confidence=np.linspace(1, 0, 6), variability=np.linspace(0, 0.5, 6),
        correctness=np.linspace(1, 0, 6),
    )  # fmt: skip


def save_features(folder: Path) -> None:
    """Four samples a class of each split, far from those of other classes."""
    labels = np.repeat(np.arange(CLASSES), 4)
    features = 50.0 * np.eye(CLASSES)[labels] + np.random.default_rng(0).normal(size=(16, CLASSES))
    np.savez(
        folder / "features.npz", train=features, test=features + 0.1, train_labels=labels,
        test_labels=labels, train_rows=np.arange(16), test_rows=np.arange(16),
    )  # fmt: skip


def test_near_features_are_drawn_near(probed: Path) -> None:
    places, labels, of_test = geometry._embedded(setting_of(probed).runs[0])
    assert labels.tolist() == 2 * np.repeat(np.arange(CLASSES), 4).tolist()
    assert of_test.tolist() == [False] * 16 + [True] * 16
    apart = np.linalg.norm(places[:, None] - places, axis=2) + np.diag(np.full(32, np.inf))
    assert (labels[apart.argmin(1)] == labels).all()


def test_every_part_is_in_the_report(probed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "FIGURES", ())  # those of every study are not what is asked here
    report = build_report([probed], Thresholds())
    page = (report.folder / "index.html").read_text()
    for key in ("representation-or-classifier", "initial-drop", "gradients", "geometry", "samples",
                "calibration", "scaling-law", "other-probes"):  # fmt: skip
        assert f'"key":"{key}"' in page
    for name in ("decomposition", "heads_over_time", "initial_drop", "gradients", "geometry",
                 "gradient_conflict", "neural_collapse", "head_against_count", "cartography",
                 "calibration", "reliability_diagram", "projection", "features_by_tsne",
                 "scaling_law", "probe_mine"):  # fmt: skip
        assert (report.folder / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
    assert (report.folder / "projection.gif").read_bytes().startswith(b"GIF")
    assert page.count("data:image/gif") == 1
    mine = {
        row["quantity"]: row for row in csv.DictReader((report.folder / "other_probes.csv").open())
    }
    assert float(mine["depth"]["minority"]) == 2 * EPOCHS
    assert float(mine["all"]["all"]) == EPOCHS
    assert float(mine["early"]["all"]) == 7, "its own last measurement"
    samples = list(csv.DictReader((report.folder / "samples.csv").open()))
    minority = next(row for row in samples if row["ratio"] == "10.0" and row["group"] == "minority")
    assert float(minority["forgetting events a sample"]) == 2.0
    assert float(minority["never correct"]) == pytest.approx(2 / 3, abs=1e-6)
    assert float(minority["first correct, epoch"]) == 4.0


def test_a_bin_of_the_reliability_diagram(probed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = reliability_diagram(setting_of(probed), Thresholds())
    assert drawn is not None
    first = drawn[0].axes[0]
    lines = {str(line.get_label()): line.get_xydata() for line in first.get_lines()}
    np.testing.assert_allclose(lines["minority, by true class"], [[0.4, 0.5], [0.9, 0.2]])
    np.testing.assert_allclose(lines["majority, by predicted class"], [[0.4, 0.5], [0.9, 0.8]])
    # Five samples of two classes in three seeds are 30 in each bin.
    monkeypatch.setattr(calibration, "LEAST_IN_BIN", 31)
    few = reliability_diagram(setting_of(probed), Thresholds())
    assert few is not None
    assert all(len(line.get_xdata()) == 0 for line in few[0].axes[0].get_lines()[1:])


def test_the_error_is_split_by_hand(probed: Path) -> None:
    setting = setting_of(probed)
    ((run, balanced), *_) = decomposition.pairs(setting, 10)
    assert decomposition.best_head(run) == "prior_adjusted"
    parts = decomposition.decompose(run, balanced)
    # own 0.2, prior-adjusted 0.5, few held-out 0.45, all held-out 0.8; on the balanced run's
    # features few 0.85, all 0.9: better features add 0.4 to few and 0.1 to all.
    assert tuple(parts) == pytest.approx((0.3, -0.05, 0.2, 0.25, 0.1))
    rows = {r["part"]: r["ratio 10"] for r in decomposition.term_rows(setting, Thresholds())}
    assert rows["error of the minority on test"].mean == pytest.approx(0.8)
    assert rows["too few samples to fit a head"].mean == pytest.approx(0.2)
    few = rows["recall that better features add to a head on as few held-out samples"]
    assert few.mean == pytest.approx(0.4)
    assert rows["best head of the training set, and in how many seeds"] == "prior-adjusted (3)"


@settings(max_examples=15)
@given(st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_the_parts_always_add_up_to_the_error(
    tmp_path_factory: pytest.TempPathFactory, recalls: list[float]
) -> None:
    study = tmp_path_factory.mktemp("study")
    own = dict(zip(decomposition.HEADS, recalls, strict=False))
    for ratio, known in ((10, own), (1, all_alike(recalls[7]))):
        line = [(EPOCHS, heads(**known))]
        make_run(study, ratio=ratio, seed=0, epochs=1, found={"representation": line})
    ((run, balanced),) = decomposition.pairs(setting_of(study), 10)
    parts = decomposition.decompose(run, balanced)
    assert sum(parts) == pytest.approx(1 - own["own_head"], abs=1e-6)


def test_without_a_head_on_few_the_representation_is_what_it_adds_to_all(tmp_path: Path) -> None:
    for ratio, value in ((20, 0.5), (1, 0.8)):
        line = [(EPOCHS, heads(**all_alike(value)))]  # measured as few as at ratio 10
        make_run(tmp_path, ratio=ratio, seed=0, found={"representation": line})
    ((run, balanced),) = decomposition.pairs(setting_of(tmp_path), 20)
    assert np.isnan(decomposition.better_features(run, balanced)[0])
    assert decomposition.decompose(run, balanced) == pytest.approx((0, 0, 0, 0.3, 0.2))


def test_a_run_without_its_balanced_partner_is_not_split(tmp_path: Path) -> None:
    line = [(EPOCHS, heads(**all_alike(0.5)))]
    make_run(tmp_path, ratio=10, seed=0, found={"representation": line})
    make_run(tmp_path, ratio=1, seed=1, found={"representation": line})
    setting = setting_of(tmp_path)
    assert decomposition.pairs(setting, 10) == []
    assert decomposition.term_rows(setting, Thresholds()) == []
    (line,) = decomposition.not_split(setting, Thresholds())
    assert "at ratio 10 is not split into parts for seed 0" in line
    assert len(decomposition.head_rows(setting, Thresholds())) == 8


@pytest.mark.parametrize(
    ("loss", "recall", "expected"),
    [
        # Rises to 1.7 at step 2, is below its start of 1.0 at step 8.
        ([1.0, 1.4, 1.7, 1.2, 0.9, 0.5], [0.5, 0.2, 0.1, 0.3, 0.6, 0.9], Drop(0.7, 0.4, 2, 8)),
        # A dip before the peak is no recovery, and 1.0 again is not below it.
        ([1.0, 0.9, 1.7, 1.0, 1.0, 0.5], [0.5, 0.5, 0.5, 0.5, 0.6, 0.9], Drop(0.7, 0, 2, 16)),
        # Never seen to recover: censored.
        ([1.0, 1.4, 1.7, 1.9, 1.9, 1.1], [0.5, 0.0, 0.0, 0.0, 0.0, 0.0], Drop(0.9, 0.5, 4, np.inf)),
        # Never rises.
        ([1.0, 0.9, 1.0, 0.7, 0.6, 0.5], [0.0, 0.1, 0.2, 0.3, 0.6, 0.9], Drop(0, 0, 0, 0)),
    ],
)
def test_the_drop_by_hand(loss: list[float], recall: list[float], expected: Drop) -> None:
    found = drop_of(np.array([0.0, 1, 2, 4, 8, 16]), np.array(loss), np.array(recall))
    assert found == pytest.approx(expected)


def test_the_drop_of_runs(probed: Path) -> None:
    setting = setting_of(probed)
    run = setting.of(ratio=10)[0]
    assert initial_drop.drop_of_group(run, "minority") == pytest.approx((1.0, 0.1, 2.0, 4.0))
    assert initial_drop.drop_of_group(run, "majority").duration == 0.0
    # The prediction of one of the two majority classes has the wrong sign throughout.
    assert initial_drop.sign_predicted(run, "majority") == 0.5
    assert initial_drop.sign_predicted(run, "minority") == 1.0


@pytest.mark.parametrize(("optimizer", "power"), [("sgd", 1.0), ("adam", 0.0)])
def test_the_scaling_law_of_made_up_times(tmp_path: Path, optimizer: str, power: float) -> None:
    """A class of the share pi is learned after about 0.8 / pi^power epochs."""
    for seed in range(3):
        for ratio in (1, 4, 10, 30):
            share = 1 / (2 * ratio + 2)
            make_run(
                tmp_path, ratio=ratio, seed=seed, epochs=100, optimizer=optimizer,
                train=(rises(0.8 / (ratio * share) ** power), rises(0.8 / share**power)),
            )  # fmt: skip
    setting = setting_of(tmp_path)
    (row,) = scaling_law.rows(setting, Thresholds())
    assert row["fitted slope"].mean == pytest.approx(-power, abs=0.12)
    assert float(row["predicted slope"]) == -power
    assert row["seeds"] == 3
    assert scaling_law.without_fit(setting, Thresholds()) == []


def test_a_seed_without_a_fit_is_said(tmp_path: Path) -> None:
    for seed, never in ((0, 1), (1, 99)):
        for ratio in (1, 10):
            make_run(tmp_path, ratio=ratio, seed=seed, train=(rises(1), rises(never)))
    (line,) = scaling_law.without_fit(setting_of(tmp_path), Thresholds())
    assert "for seed 1: classes of fewer than 3 frequencies were learned" in line


def test_curves_of_groups_are_of_the_classes_that_each_seed_has_drawn(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        low = (rises(1), rises(1, 0.4))
        make_run(tmp_path / "study", ratio=10, seed=seed, test=low, class_order="random")
    setting = setting_of(tmp_path / "study")
    assert len({tuple(run.data["groups"]["minority"]) for run in setting.runs}) > 1
    figure, axis = plt.subplots()
    for group in ("majority", "minority"):
        curve(axis, setting.runs, "test", group, "black", "-")
    assert [line.get_ydata()[-1] for line in axis.lines] == pytest.approx([1.0, 0.4])
    plt.close(figure)
    page = content._split(setting.runs, "test", by_class=True)["recall"]
    assert [page[group]["mean"][-1] for group in ("majority", "minority")] == [1.0, 0.4]
    first = setting.runs[0]
    assert {page["class"][label]["mean"][-1] for label in first.data["groups"]["minority"]} == {0.4}


def test_numbers_of_single_classes_are_of_seeds_in_which_they_have_the_same_roles(
    tmp_path: Path,
) -> None:
    seeds = range(4)
    for seed in seeds:
        test = (rises(1), rises(1, 0.4))
        folder = make_run(tmp_path, ratio=10, seed=seed, test=test, class_order="random")
        nothing = {"positives": [9] * 4, "negatives": [27] * 4, "curves": [None] * 4}
        made = {"at_precision": 0.9, "at_recall": 0.9, "test": nothing}
        (folder / "rankings.json").write_text(json.dumps(made))
    setting = setting_of(tmp_path)
    for run in setting.runs:
        values = run.curves["test"].values
        values["auroc"] = values["average_precision"] = recall = values["recall"]
        right = np.einsum("tc,cd->tcd", recall, np.eye(4))
        values["confusion"] = right + np.roll(np.einsum("tc,cd->tcd", 1 - recall, np.eye(4)), 1, 2)
    first = setting.of()[0]
    few = first.data["groups"]["minority"]
    alike = sum(set(run.data["groups"]["minority"]) == set(few) for run in setting.of())
    assert 1 <= alike < len(seeds)
    names = [first.data["class_names"][label] for label in few]
    for row in rankings.by_class(setting, Thresholds()):
        assert row["AUROC"].mean == pytest.approx(0.4 if row["class"] in names else 1.0), row
        assert row["seeds"] == alike
        assert row["AUROC"].within == (0, 1)
    for row in content._class_rows([setting], [setting.label]):
        assert row["test recall"] == (0.4 if row["class"] in names else 1.0), row
    for draw in (figures.per_class, figures.confusion_over_time):
        figure, said = draw(setting, Thresholds()) or pytest.fail("no figure")
        assert f"{alike} of 4 seeds" in said.caption or "Of seed 0 alone" in said.caption
        plt.close(figure)
    # A confusion matrix has the most frequent class first, in rows and columns.
    figure, _ = figures.confusion_over_time(setting, Thresholds()) or pytest.fail("no figure")
    matrices = [axis for axis in figure.axes if axis.images]
    many = [label for label in range(4) if label not in few]
    expected = [first.data["class_names"][label] for label in (*many, *sorted(few))]
    assert [tick.get_text() for tick in matrices[0].get_yticklabels()] == expected
    diagonal = np.diag(np.asarray(matrices[-1].images[0].get_array()))
    assert diagonal == pytest.approx([1.0, 1.0, 0.4, 0.4], abs=1e-9)


def test_curves_are_over_updates_where_they_were_evaluated_within_epochs(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path, ratio=10, seed=seed)
    setting = setting_of(tmp_path)
    train = setting.runs[0].curves["train"]
    figure, text = figures.learning_curves(setting, Thresholds())
    (axis,) = figure.axes
    assert (axis.get_xscale(), axis.lines[0].get_xdata().tolist()) == (
        "symlog",
        train.step.tolist(),
    )
    assert "over updates" in text.caption
    for run in setting.runs:
        for curves in run.curves.values():
            curves.epoch[:] = np.arange(len(curves.epoch))
    figure, text = figures.learning_curves(setting, Thresholds())
    (axis,) = figure.axes
    assert (axis.get_xscale(), axis.lines[0].get_xdata().tolist()) == (
        "linear",
        train.epoch.tolist(),
    )
    assert axis.get_xlabel() == "epoch"


def test_the_curves_of_a_class_are_means_over_seeds(tmp_path: Path) -> None:
    """Against scikit-learn's curves of the same scores; samples are so many that no step of the
    means is a step of the curves."""
    samples, classes, expected = 37, 4, []
    for seed in range(2):
        random = np.random.default_rng(seed)
        labels = np.repeat(np.arange(classes), samples)
        logits = random.normal(size=(len(labels), classes)) + np.eye(classes)[labels]
        kept = Rankings()
        kept.update(torch.from_numpy(logits), torch.from_numpy(labels))
        folder = make_run(tmp_path, ratio=10, seed=seed)
        json_file.write(folder / "rankings.json", final_rankings({"test": kept}, 0.9, 0.9, 20))
        expected.append([_by_scikit_learn(labels == c, logits, c) for c in range(classes)])
    setting = setting_of(tmp_path)
    for run in setting.runs:
        run.curves["test"].values["auroc"] = run.curves["test"].values["recall"]
    rows = list(rankings.curve_points(setting, Thresholds()))
    assert [row["at"] for row in rows] == classes * [round(0.01 * k, 2) for k in range(101)]
    names = list(setting.runs[0].data["class_names"])
    for name in names:
        found = [[*row.values()][-2:] for row in rows if row["class"] == name]
        mean = np.mean([of_seed[names.index(name)] for of_seed in expected], axis=0)
        np.testing.assert_allclose(found, mean, atol=2e-6)


def _by_scikit_learn(positive: Any, logits: Any, label: int) -> Any:
    """Precision at each recall and recall at each false positive rate, shape [steps, 2]."""
    scores = scipy.special.softmax(logits, axis=1)[:, label]
    precision, recall, _ = precision_recall_curve(positive, scores)
    false, true, _ = roc_curve(positive, scores, drop_intermediate=False)
    found = []
    for at in np.linspace(0, 1, 101):
        reached = recall[(recall > 0) & (recall >= at - 1e-9)].min()
        highest = precision[recall == reached].max()
        found.append((highest, true[false <= at + 1e-9].max()))
    return found


def test_a_share_of_one_is_no_count() -> None:
    """1.0 and 1 are one number in JSON: the page is told which columns are whole."""
    made = content._table([{"ratio": 10.0, "seeds": 1, "recall": 1.0}, {"recall": None}])
    assert dict(zip(made["columns"], made["whole"], strict=True)) == {
        "ratio": True, "seeds": True, "recall": False,
    }  # fmt: skip


def test_a_setting_is_named_by_what_its_name_does_not_tell(tmp_path: Path) -> None:
    studies = []
    for optimizer, rate in (("adam", 0.1), ("adam", 0.01), ("sign", 0.001)):
        studies.append(tmp_path / f"{optimizer}{rate}")
        make_run(studies[-1], ratio=10, seed=0, optimizer=optimizer, rate=rate)
    labels = {one.label for one in by_setting(read_runs(studies).finished)}
    assert labels == {
        "madeup, adam, optimizer.lr=0.1",
        "madeup, adam, optimizer.lr=0.01",
        "madeup, sign, optimizer.lr=0.001",
    }
