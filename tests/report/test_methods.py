"""Methods beside cross-entropy, on runs whose differences are known."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_up import make_run, rises

from skewlab.report import build, method_effects
from skewlab.report import comparison as compared
from skewlab.report.build import build_report
from skewlab.report.comparison import Comparison, Entry, comparisons
from skewlab.report.read import read_runs
from skewlab.report.sections import methods
from skewlab.report.settings import by_setting, in_full
from skewlab.report.thresholds import Thresholds
from skewlab.report.verdicts import verdicts

THRESHOLDS = Thresholds()
SEEDS = range(3)
# The minority's test recall with ce, by seed, and what each method adds to it.
CE = (0.40, 0.44, 0.48)
ADDED = {"balanced_softmax": (0.38, 0.40, 0.42), "focal": (-0.1, 0.0, 0.1)}
LOGIT_ADJUSTMENT = {
    "logit_adjustment": {"_target_": "skewlab.methods.post_hoc.PostHocLogitAdjustment"}
}


def minority_run(
    study: Path, method: str, seed: int, *, learned: float, train: float, test: float, **more: Any
) -> Path:
    return make_run(
        study,
        ratio=more.pop("ratio", 10),
        seed=seed,
        method=method,
        train=(rises(0.25), rises(learned, train)),
        test=(rises(0.25, 0.9), rises(learned, test)),
        **more,
    )


def add_rule(
    folder: Path,
    tau: float,
    minority: list[float | None],
    grid: tuple[float, ...] = (0, 0.5, 1),
    tuned_on: str | None = "val",
) -> None:
    """A run's post_hoc.json: the majority's recall is 0.8 under the rule."""
    found = {
        "samples": {"val": 200, "test": 1000},
        "rules": {
            "logit_adjustment": {
                "tuned_on": tuned_on,
                "criterion": tuned_on and "balanced_accuracy",
                "grid": list(grid),
                "tau": tau,
                "recall": {"test": [0.8, 0.8, *minority]},
            }
        },
    }
    (folder / "post_hoc.json").write_text(json.dumps(found))


def judged(study: Path, thresholds: Thresholds = THRESHOLDS) -> list[Comparison]:
    settings = by_setting(read_runs([study]).finished)
    return comparisons(settings, [v for s in settings for v in verdicts(s, thresholds)])


def entries(study: Path) -> dict[str, Entry]:
    (comparison,) = judged(study)
    return {entry.label: entry for entry in comparison.entries(10)}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """ce learns the minority at epoch 8; balanced softmax at 5 and generalises better; focal is as
    good as ce; with undersampling one seed never learns it."""
    for seed in SEEDS:
        for method in ("ce", *ADDED):
            minority_run(
                tmp_path,
                method,
                seed,
                learned=5 if method == "balanced_softmax" else 8,
                train=1.0,
                test=CE[seed] + ADDED.get(method, (0, 0, 0))[seed],
            )
        minority_run(
            tmp_path,
            "undersampling",
            seed,
            learned=99 if seed == 2 else 2 + seed,
            train=1.0,
            test=CE[seed] - 0.2 if seed < 2 else 0.0,
        )
    return tmp_path


def test_differences_are_of_the_same_seeds(study: Path) -> None:
    found = entries(study)
    base, method = found["ce"], found["balanced_softmax"]
    minority = compared.difference(method, base, compared.MINORITY)
    balanced = compared.difference(method, base, compared.BALANCED_ACCURACY)
    # By hand: (0.38 + 0.4 + 0.42) / 3, and half of it, as half of the classes are the minority.
    assert (minority.mean, balanced.mean, minority.n) == pytest.approx((0.4, 0.2, 3))
    # Of the seeds Student's, and of the test sample the binomial variance of both runs.
    sample = sum((r * 1000 + 4) / 1008 * (1 - (r * 1000 + 4) / 1008) / 1008 for r in (0.44, 0.84))
    assert minority.error**2 == pytest.approx(0.02**2 / 3 + sample, rel=0.01)
    # Not paired the interval would hold ce's own spread, 0.08, as well.
    gap = compared.difference(found["focal"], base, compared.GAP)
    assert gap.mean == pytest.approx(0, abs=1e-12)
    assert gap.error**2 == pytest.approx(0.1**2 / 3 + 2 * 0.44 * 0.56 / 1000, rel=0.02)


def test_differences_are_corrected_for_the_number_of_methods(study: Path) -> None:
    """Three methods beside ce: the least p-value counts three times, the next twice."""
    found = entries(study)
    base = found["ce"]
    family = compared.corrected(list(found.values()), base, compared.MINORITY, 3)
    alone = {
        label: compared.difference(entry, base, compared.MINORITY).p_value(0)
        for label, entry in found.items()
        if label != "ce"
    }
    first, second, third = sorted(alone, key=alone.__getitem__)
    assert family[first] == pytest.approx(3 * alone[first])
    assert family[second] == pytest.approx(max(family[first], min(1, 2 * alone[second])))
    assert family[third] == pytest.approx(max(family[second], alone[third]))
    (comparison,) = judged(study)
    rows = {row["method"]: row for row in methods.result_rows(comparison, THRESHOLDS)}
    for label in alone:
        for column, p in (("p", alone[label]), ("p corrected", family[label])):
            said = "<0.001" if p < 0.001 else f"{p:.2g}"
            assert rows[label][f"test minority, {column}"] == said
    assert rows["balanced_softmax"]["test minority, p"] == "<0.001"
    assert np.isnan(compared.corrected(list(found.values()), base, compared.MINORITY, 4)["focal"])


def test_a_seed_without_a_partner_is_in_no_difference(study: Path) -> None:
    minority_run(study, "balanced_softmax", 3, learned=5, train=1.0, test=0.0)
    found = entries(study)
    assert len(found["balanced_softmax"].outcomes) == 4
    one = compared.difference(found["balanced_softmax"], found["ce"], compared.MINORITY)
    assert (one.mean, one.n) == pytest.approx((0.4, 3))
    (comparison,) = judged(study)
    row = next(
        r for r in methods.result_rows(comparison, THRESHOLDS) if r["method"] == "balanced_softmax"
    )
    assert (row["seeds"], row["pairs"]) == (4, 3)


def test_cross_entropy_is_first_and_the_best_follow(study: Path) -> None:
    assert list(entries(study)) == ["ce", "balanced_softmax", "focal", "undersampling"]


def test_times_to_learn_and_those_that_are_not_seen(study: Path) -> None:
    found = entries(study)
    base = found["ce"]
    earlier = method_effects.learned_later(found["balanced_softmax"], base, THRESHOLDS)
    assert list(earlier.values()) == [-24, -24, -24]
    # Epochs 2, 3 and never of 20, against 8, at 8 updates an epoch: the last is in the restricted
    # difference only.
    both = method_effects.learned_later(found["undersampling"], base, THRESHOLDS)
    assert list(both.values()) == [-48, -40]
    restricted = method_effects.restricted_later(found["undersampling"], base, THRESHOLDS)
    assert (restricted.mean, restricted.n) == pytest.approx(((-48 - 40 + 96) / 3, 3))
    (comparison,) = judged(study)
    rows = {row["method"]: row for row in methods.dynamics_rows(comparison, THRESHOLDS)}
    assert rows["undersampling"]["pairs that learned"] == "2 of 3"
    assert rows["undersampling"]["updates to learn, minus ce"].mean == -44
    assert rows["undersampling"]["minority learned, updates"] == "16 to 24"


def test_where_most_seeds_never_learn_the_median_says_so(study: Path) -> None:
    for seed in SEEDS:
        minority_run(study, "ldam", seed, learned=99, train=1.0, test=0.0)
    (comparison,) = judged(study)
    row = next(r for r in methods.dynamics_rows(comparison, THRESHOLDS) if r["method"] == "ldam")
    assert row["minority learned, updates"] == ">160"
    assert row["updates to learn, minus ce"] == ""
    assert row["pairs that learned"] == "0 of 3"


def helps(entry: Entry, base: Entry) -> str:
    """With the p-value of this one difference."""
    p = compared.difference(entry, base, compared.MINORITY).p_value(0)
    return method_effects.helps_by(entry, base, p, THRESHOLDS)


def test_what_helps_and_how(study: Path) -> None:
    for seed in SEEDS:
        # The gain is on train: ce's gap, and no earlier.
        minority_run(study, "late", seed, learned=8, train=1.0, test=CE[seed] + 0.1)
    found = entries(study)
    base = found["ce"]
    helped = {label: helps(entry, base) for label, entry in found.items()}
    assert helped["balanced_softmax"] == "learning earlier and generalising better"
    assert helped["late"] == "generalising better"
    assert helped["focal"] == "no clear difference"
    # The seeds that differ much among themselves, -0.2, -0.2 and -0.48, are not clear of 0.
    assert helped["undersampling"] == "no clear difference"
    more = Thresholds(least_seeds=4)
    said = method_effects.helps_by(found["late"], base, 0.01, more)
    assert said == "undecided: 3 of at least 4 pairs"
    # Clear alone is not clear among all.
    said = "clear alone, not among all methods"
    assert method_effects.helps_by(found["late"], base, 0.06, THRESHOLDS) == said


def test_a_method_that_harms_is_said_to(study: Path) -> None:
    for seed in SEEDS:
        minority_run(study, "bad", seed, learned=8, train=1.0, test=CE[seed] - 0.2)
    found = entries(study)
    assert helps(found["bad"], found["ce"]) == "does harm"


def test_a_way_is_named_only_where_its_interval_is_above_zero(study: Path) -> None:
    """Test recall rises for every seed; the time to learn falls on average, and not for all."""
    for seed in SEEDS:
        learned = (1, 1, 12)[seed]
        minority_run(study, "unsure", seed, learned=learned, train=1.0, test=CE[seed] + 0.1)
    found = entries(study)
    earlier = method_effects.restricted_later(found["unsure"], found["ce"], THRESHOLDS)
    assert earlier.mean < 0 < earlier.high
    helped = helps(found["unsure"], found["ce"])
    assert helped == "generalising better"


def test_times_are_cut_at_the_end_of_the_shorter_training(study: Path) -> None:
    """8 updates an epoch: never learned in 4 epochs counts as 32 updates. Cross-entropy learned it
    after 64, which is after the end of those 4 epochs and counts as 32 too."""
    for seed in SEEDS:
        minority_run(study, "short", seed, learned=99, train=1.0, test=0.0, epochs=4)
    found = entries(study)
    for one, other in (("short", "ce"), ("ce", "short")):
        restricted = method_effects.restricted_later(found[one], found[other], THRESHOLDS)
        assert (restricted.mean, restricted.error) == (0, 0)


def test_methods_at_the_largest_ratio_come_first(study: Path) -> None:
    for seed in SEEDS:
        minority_run(study, "mild", seed, ratio=2, learned=5, train=1.0, test=0.99)
    settings = by_setting(read_runs([study]).finished)
    assert [setting.label for setting in settings][-1] == "madeup, mild"


def test_parts_that_are_null_are_parts_that_are_not_there(tmp_path: Path) -> None:
    """Cross-entropy is known by what it is trained with, and a run from before a key was there is
    of the setting of one in which the key is null."""
    parts = ({}, {"weights": None, "sampler": None}, {"weights": None})
    for seed, some in enumerate(parts):
        minority_run(tmp_path, "ce", seed, learned=8, train=1.0, test=0.5, parts=some)
    (setting,) = by_setting(read_runs([tmp_path]).finished)
    assert setting.is_cross_entropy
    assert len(setting.of()) == 3


def test_learning_more_is_no_better_generalisation(tmp_path: Path) -> None:
    for seed in SEEDS:
        minority_run(tmp_path, "ce", seed, learned=8, train=0.6, test=0.3)
        minority_run(tmp_path, "sam", seed, learned=8, train=0.8, test=0.5)
    found = entries(tmp_path)
    assert helps(found["sam"], found["ce"]) == "learning more"


def test_claims_that_a_method_overturns(tmp_path: Path) -> None:
    """At ratio 10 ce has claims 2, 3 and 4a supported. One method has no early gap; with another
    the minority is not learned in the end, so that there is nothing to generalise."""
    for seed in SEEDS:
        for method, learned, train, test in (
            ("ce", 8, 1.0, 0.4),
            ("early", 0.25, 1.0, 0.4),
            ("level", 8, 0.7, 0.7),
            ("none", 8, 1.0, 0.3),
        ):
            minority_run(tmp_path, method, seed, learned=learned, train=train, test=test)
            minority_run(
                tmp_path, method, seed, ratio=1, learned=0.25, train=1.0, test=0.9 - 0.001 * seed
            )
        minority_run(tmp_path, "unpaired", seed, learned=8, train=1.0, test=0.9)
    found = entries(tmp_path)
    base = found["ce"]
    overturned = {label: method_effects.overturned(entry, base) for label, entry in found.items()}
    assert overturned == {
        "ce": "none", "early": "2", "level": "3 (not applicable: 4a)", "none": "none",
        "unpaired": "none (not applicable: 2, 4a)",
    }  # fmt: skip
    (comparison,) = judged(tmp_path)
    balanced = {entry.label: entry for entry in comparison.entries(1)}
    assert set(balanced["early"].verdicts) == {"1"}


def test_a_rule_is_an_entry_beside_the_network_it_changes(study: Path) -> None:
    """Whether it was trained by itself or with ce's name: the network is ce's."""
    for seed, tau in zip(SEEDS, (0.5, 0.5, 1.0), strict=True):
        add_rule(make_rule_run(study, seed), tau, [CE[seed] + 0.2, CE[seed] + 0.2])
    found = entries(study)
    label = "ce + logit adjustment, tau 0.5 to 1 chosen on val"
    assert list(found)[:2] == ["ce", label]
    assert "post_hoc_logit_adjustment" not in found
    rule, base = found[label], found["ce"]
    minority = compared.difference(rule, base, compared.MINORITY)
    majority = compared.difference(rule, base, compared.MAJORITY)
    assert (minority.mean, majority.mean) == pytest.approx((0.2, -0.1))
    (comparison,) = judged(study)
    assert label not in {row["method"] for row in methods.dynamics_rows(comparison, THRESHOLDS)}
    tuned, rest = methods.tuned_rows(comparison, THRESHOLDS)
    assert tuned == {
        "ratio": "10", "method": "ce", "what": "tau of logit adjustment", "from": "0, 0.5, 1",
        "tuned on": "val (200 samples)", "values tried": 3, "by": "balanced accuracy",
        "chosen, by seed": "0.5, 0.5, 1",
    }  # fmt: skip
    assert (rest["method"], rest["tuned on"]) == ("all 4 others", "not tuned")
    assert rest["values tried"] == 0


def test_a_rule_whose_tau_is_given_had_no_tuning_budget(study: Path) -> None:
    for seed in SEEDS:
        add_rule(make_rule_run(study, seed), 1.0, [0.7, 0.7], (1.0,), tuned_on=None)
    assert "ce + logit adjustment, tau 1" in entries(study)
    (comparison,) = judged(study)
    given, _ = methods.tuned_rows(comparison, THRESHOLDS)
    assert (given["tuned on"], given["values tried"]) == ("not tuned", 0)
    assert given["from"] == "1, given"


def test_a_run_with_a_rule_is_a_run_of_what_it_is_trained_as(study: Path) -> None:
    """One row of ce everywhere, in which a seed counts once; nothing is left out."""
    shutil.rmtree(next(study.glob("none-ce-*seed2")))  # so that seed 2 has a rule only
    for seed in (0, 2):
        add_rule(make_rule_run(study, seed), 0.5, [0.7, 0.7])
    settings = by_setting(read_runs([study]).finished)
    assert [setting.label for setting in settings] == [
        "madeup, ce", "madeup, balanced_softmax", "madeup, focal", "madeup, undersampling",
    ]  # fmt: skip
    ce = settings[0].of()
    assert [run.seed for run in ce] == [0, 1, 2]
    assert [run.has_rules for run in ce] == [False, False, True]
    assert settings[0].not_counted() == []
    assert "ce + logit adjustment, tau 0.5 chosen on val" in entries(study)


def test_keys_that_a_command_gave_are_said_to_be_not_tuned(study: Path) -> None:
    for path in study.glob("*focal*"):
        status = json.loads((path / "status.json").read_text())
        status["provenance"]["command"] += ["method.loss.gamma=3", "method.name=x"]
        (path / "status.json").write_text(json.dumps(status))
    (comparison,) = judged(study)
    found = [(row["method"], row["what"]) for row in methods.tuned_rows(comparison, THRESHOLDS)]
    assert found[0] == ("focal", "method.loss.gamma=3")
    assert found[1][0] == "all 3 others"


def make_rule_run(study: Path, seed: int) -> Path:
    """Trained as ce, with a rule and a name of its own."""
    return minority_run(
        study / "rules",
        "post_hoc_logit_adjustment",
        seed,
        learned=8,
        train=1.0,
        test=CE[seed],
        parts={
            "loss": {"_target_": "skewlab.methods.losses.CrossEntropy"},
            "post_hoc": LOGIT_ADJUSTMENT,
        },
    )


def test_a_rule_alone_is_compared_with_its_own_network(tmp_path: Path) -> None:
    for seed in SEEDS:
        add_rule(make_rule_run(tmp_path, seed), 1.0, [0.7, 0.7])
    found = entries(tmp_path / "rules")
    assert list(found) == ["ce", "ce + logit adjustment, tau 1 chosen on val"]


def test_absent_classes_are_left_out(study: Path) -> None:
    """NaN: one of the minority's classes without test samples under the rule, for one seed both;
    and a method whose test set has no minority at all."""
    for seed, minority in zip(SEEDS, ([0.6, None], [None, 0.8], [None, None]), strict=True):
        add_rule(make_rule_run(study, seed), 1.0, minority)
        minority_run(study, "absent", seed, learned=8, train=1.0, test=float("nan"))
    found = entries(study)
    rule = found["ce + logit adjustment, tau 1 chosen on val"]
    minority_mean = rule.mean(compared.MINORITY)
    balanced = rule.mean(compared.BALANCED_ACCURACY)
    assert (minority_mean.mean, minority_mean.n) == pytest.approx((0.7, 2))
    by_hand = np.mean([(0.8 + 0.8 + 0.6) / 3, (0.8 + 0.8 + 0.8) / 3, 0.8])
    assert balanced.mean == pytest.approx(by_hand)
    assert found["absent"].mean(compared.GAP).n == 0
    assert helps(found["absent"], found["ce"]).startswith("undecided: 0 of")
    (comparison,) = judged(study)
    row = next(r for r in methods.result_rows(comparison, THRESHOLDS) if r["method"] == "absent")
    assert row["test minority"] == ""
    for draw in methods.SECTION.figures:
        made = draw(comparison, THRESHOLDS)
        assert made is not None
        plt.close(made[0])


def test_settings_that_differ_elsewhere_are_other_comparisons(study: Path) -> None:
    for seed in SEEDS:
        for method in ("ce", "focal"):
            minority_run(
                study / "adam", method, seed, learned=8, train=1.0, test=0.5, optimizer="adam"
            )
        minority_run(
            study / "alone", "focal", seed, learned=8, train=1.0, test=0.5, optimizer="sign"
        )
    found = {c.label: [m.label for m in c.methods] for c in judged(study)}
    assert found == {
        "madeup, sgd": ["ce", "balanced_softmax", "focal", "undersampling"],
        "madeup, adam": ["ce", "focal"],
    }


def test_methods_of_one_name_are_told_apart_by_their_keys(study: Path) -> None:
    for place, tau in (("one", 1.0), ("two", 2.0)):
        minority_run(
            study / place, "logit_adjustment", 0, learned=8, train=1.0, test=0.5,
            parts={"loss": {"_target_": "skewlab.LogitAdjustment", "tau": tau}},
        )  # fmt: skip
    sampler = {"sampler": {"_target_": "skewlab.methods.samplers.Oversampled"}}
    minority_run(study / "three", "ce", 0, learned=8, train=1.0, test=0.5, parts=sampler)
    (comparison,) = judged(study)
    labels = [method.label for method in comparison.methods]
    assert labels[0] == "ce, sampler=null"
    assert {"ce, sampler=Oversampled", "logit_adjustment, loss.tau=1.0"} <= set(labels)


def test_without_cross_entropy_there_are_recalls_and_no_differences(tmp_path: Path) -> None:
    for seed in SEEDS:
        for method in ("focal", "ldam"):
            minority_run(tmp_path, method, seed, learned=8, train=1.0, test=0.5)
    (comparison,) = judged(tmp_path)
    rows = methods.result_rows(comparison, THRESHOLDS)
    assert [row["test minority"].mean for row in rows] == [0.5, 0.5]
    assert "pairs" not in rows[0]
    assert methods.differences(comparison, THRESHOLDS) is None


def test_a_search_says_its_objective(study: Path) -> None:
    for path in study.glob("*focal*"):
        status = json.loads((path / "status.json").read_text())
        status["provenance"]["command"].append("hparams_search=optuna")
        (path / "status.json").write_text(json.dumps(status))
        text = (path / "config.yaml").read_text()
        (path / "config.yaml").write_text(text + "objective: val/worst_class\n")
    (comparison,) = judged(study)
    tuned, _ = methods.tuned_rows(comparison, THRESHOLDS)
    assert (tuned["method"], tuned["tuned on"], tuned["by"]) == ("focal", "val", "val/worst_class")


def test_of_too_few_seeds_a_difference_is_hollow_and_has_no_interval(study: Path) -> None:
    minority_run(study, "once", 0, learned=8, train=1.0, test=0.9)
    (comparison,) = judged(study)
    made = methods.differences(comparison, THRESHOLDS)
    assert made is not None
    figure, about = made
    axis = figure.axes[0]
    rows = dict(zip((label.get_text() for label in axis.get_yticklabels()), range(9), strict=False))
    for method, place in rows.items():
        own = [line for line in axis.get_lines() if set(line.get_ydata()) == {place}]
        assert len(own) == (1 if method == "once" else 2)
        assert (own[-1].get_markerfacecolor() == "none") == (method == "once")
    assert "fewer than 3 seeds" in about.caption
    plt.close(figure)


def test_all_of_it_is_in_the_report(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "FIGURES", ())  # those of each setting are not what is asked here
    for seed in SEEDS:
        add_rule(make_rule_run(study, seed), 1.0, [0.7, 0.7])
    report = build_report([study], THRESHOLDS)
    assert not report.left_out
    for name in ("method_differences", "method_curves"):
        assert (report.folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (report.folder / f"{name}.svg").read_text()
    for name in ("methods", "methods_dynamics", "methods_tuned"):
        assert (report.folder / f"{name}.csv").exists()
        assert "\\toprule" in (report.folder / f"{name}.tex").read_text()
    page = (report.folder / "index.html").read_text()
    assert '"key":"methods"' in page
    rows = list(csv.DictReader((report.folder / "methods.csv").open()))
    row = next(row for row in rows if row["method"] == "balanced_softmax")
    assert float(row["test minority, minus ce"]) == pytest.approx(0.4)


def test_one_method_alone_has_no_such_part(tmp_path: Path) -> None:
    make_run(tmp_path, ratio=10, seed=0)
    assert judged(tmp_path) == []


def test_an_unreadable_file_of_rules_is_as_good_as_none(tmp_path: Path) -> None:
    folder = make_run(tmp_path, ratio=10, seed=0)
    (folder / "post_hoc.json").write_text('{"rules": ')
    (run,) = read_runs([tmp_path]).finished
    assert run.post_hoc == {}


def test_of_many_methods_a_few_are_drawn_in_full_and_the_tables_have_all(tmp_path: Path) -> None:
    """ce, the best two and the last."""
    for number, test in enumerate(np.linspace(0.2, 0.9, 8)):
        method = "ce" if number == 3 else f"m{number}"
        minority_run(tmp_path, method, 0, learned=8, train=1.0, test=float(test))
    settings = by_setting(read_runs([tmp_path]).finished)
    names = [setting.label.removeprefix("madeup, ") for setting in settings]
    assert names == ["ce", "m7", "m6", "m5", "m4", "m2", "m1", "m0"]
    kept = [setting.label.removeprefix("madeup, ") for setting in in_full(settings)]
    assert kept == ["ce", "m7", "m6", "m0"]
    assert in_full(settings[:6]) == settings[:6]


def test_short_epochs_are_not_late_learning(tmp_path: Path) -> None:
    """A sampler's epochs of a quarter of the updates: twice the epochs are half the updates."""
    for seed in SEEDS:
        minority_run(tmp_path, "ce", seed, learned=8, train=1.0, test=0.4)
        folder = minority_run(tmp_path, "undersampling", seed, learned=16, train=1.0, test=0.5)
        path = folder / "curves.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        quartered = [{**line, "step": line["step"] // 4} for line in lines]
        path.write_text("".join(json.dumps(line) + "\n" for line in quartered))
    found = entries(tmp_path)
    later = method_effects.learned_later(found["undersampling"], found["ce"], THRESHOLDS)
    assert list(later.values()) == [-32, -32, -32]
