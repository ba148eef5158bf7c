"""Verdicts on made-up curves whose truth is known, in all four directions."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_up import EPOCHS, make_run, rises
from scipy import stats

from skewlab.errors import ConfigError
from skewlab.report.build import Report, build_report, summary_lines
from skewlab.report.opening import opening
from skewlab.report.read import read_runs
from skewlab.report.settings import by_setting, tuned_rate
from skewlab.report.statistics import Estimate, estimate
from skewlab.report.thresholds import Thresholds, read_thresholds
from skewlab.report.verdicts import (
    NOT_APPLICABLE,
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    Verdict,
    judge,
    verdicts,
)

SEEDS = range(4)
EARLY, LATE = rises(0.25), rises(7)


def judged(study: Path, **limits: float) -> dict[tuple[str, float], Verdict]:
    (setting,) = by_setting(read_runs([study]).finished)
    return {(v.claim, v.ratio): v for v in verdicts(setting, read_thresholds(limits))}


def said(found: dict[tuple[str, float], Verdict]) -> dict[tuple[str, float], str]:
    return {key: verdict.verdict for key, verdict in found.items()}


def test_a_study_that_shows_every_claim(tmp_path: Path) -> None:
    """The majority is learned at once, the minority after a third of the training, and none of it
    carries over to test; the probe finds little in the features either."""
    for seed in SEEDS:
        make_run(tmp_path, ratio=1, seed=seed, probe=(0.9, 0.9), noise=0.005)
        make_run(
            tmp_path, ratio=100, seed=seed, train=(EARLY, LATE),
            test=(EARLY, rises(7, 0.2)), probe=(0.2, 0.52), noise=0.005,
        )  # fmt: skip
    found = judged(tmp_path)
    assert set(found) == {("1", 1), ("2", 100), ("3", 100), ("4a", 100), ("4b", 100)}
    assert set(said(found).values()) == {SUPPORTED}
    # By hand: from 0 to epoch 0.25, where the phase ends, the lead rises from 0 to 1.
    assert found["2", 100].estimate.mean == pytest.approx(0.5, abs=0.02)
    assert found["4a", 100].estimate.mean == pytest.approx(0.8 - 0.05, abs=0.02)
    # Training adds 0.9 - 0.5 to the features, and imbalance takes 0.9 - 0.52 of it.
    assert found["4b", 100].estimate.mean == pytest.approx(0.38 / 0.4)


def test_a_study_that_refutes_every_claim(tmp_path: Path) -> None:
    """Balanced classes are learned apart; imbalanced ones alike. At ratio 10 half of the minority
    is learned, long after the majority; at ratio 100 all of it, and that generalises, and the
    features are those of the balanced network."""
    for seed in SEEDS:
        make_run(
            tmp_path, ratio=1, seed=seed, train=(EARLY, rises(15)), test=(EARLY, rises(15)),
            probe=(0.9, 0.9),
        )  # fmt: skip
        half = rises(1, 0.5)
        make_run(tmp_path, ratio=10, seed=seed, train=(rises(1), half), test=(rises(1), half))
        both = (rises(1), rises(1))
        make_run(tmp_path, ratio=100, seed=seed, train=both, test=both, probe=(0.5, 0.9))
    found = judged(tmp_path)
    assert said(found) == {
        ("1", 1): REFUTED,
        ("2", 10): REFUTED,
        ("2", 100): REFUTED,
        ("3", 10): REFUTED,
        ("3", 100): SUPPORTED,
        ("4a", 10): NOT_APPLICABLE,
        ("4a", 100): REFUTED,
        ("4b", 10): NOT_APPLICABLE,
        ("4b", 100): REFUTED,
    }


def test_a_study_that_decides_nothing(tmp_path: Path) -> None:
    """Seeds on both sides of every threshold."""
    for seed in SEEDS:
        odd = seed % 2
        late = rises(12) if odd else rises(1)
        make_run(tmp_path, ratio=1, seed=seed, train=(rises(1), late), probe=(0.9, 0.9))
        make_run(
            tmp_path, ratio=10, seed=seed,
            train=(EARLY if odd else rises(1), rises(3 if odd else 1, 1 - odd / 6)),
            test=(rises(1, 0.95), rises(1, 0.4 if odd else 0.95)), probe=(0.4, 0.6 if odd else 0.9),
        )  # fmt: skip
    assert set(said(judged(tmp_path)).values()) == {UNDECIDED}


def test_too_few_seeds_and_missing_measurements_are_said_with_a_command(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path, ratio=100, seed=seed, train=(EARLY, LATE))
    found = judged(tmp_path)
    assert {claim for claim, verdict in found.items() if verdict.verdict == UNDECIDED} == {
        ("3", 100)
    }
    assert {verdict.verdict for verdict in found.values()} == {UNDECIDED, NOT_APPLICABLE}
    assert found["3", 100].reason == "2 of at least 3 seeds"
    assert found["3", 100].command == "python train.py -m data=madeup ratio=100 seed=0,1,2"
    assert "ratio=1,100" in found["4a", 100].command, "it needs the balanced runs too"
    assert found["1", 1].reason == "not measured"
    assert "curves/probes=representation" in found["4b", 100].command


# ---- Gates. ----


def test_a_run_of_one_epoch_that_learned_nothing_is_not_judged(tmp_path: Path) -> None:
    low = (rises(0.5, 0.3), rises(0.5, 0.1))
    for seed in SEEDS:
        for ratio in (1, 100):
            make_run(
                tmp_path, ratio=ratio, seed=seed, train=low, test=low, epochs=1, probe=(0.1, 0.2)
            )
    found = judged(tmp_path)
    assert set(said(found).values()) == {NOT_APPLICABLE}
    assert found["1", 1].reason == (
        "the balanced network has not learned the majority: train recall 0.30 after 1 epochs, "
        "below 0.9"
    )
    assert found["1", 1].command.endswith("seed=0,1,2,3 trainer.max_epochs=4")
    assert all(np.isnan(verdict.p) for verdict in found.values()), "nothing is tested"


def test_a_minority_that_is_not_learned_soon_after_the_majority_is_not_refuted(
    tmp_path: Path,
) -> None:
    """ "In the end" is after ten times the updates that the majority took."""
    for epochs, verdict in ((3, NOT_APPLICABLE), (10, REFUTED)):
        for seed in SEEDS:
            never = rises(99)
            make_run(tmp_path / str(epochs), ratio=1, seed=seed, epochs=epochs)
            make_run(
                tmp_path / str(epochs), ratio=100, seed=seed, train=(rises(1), never),
                epochs=epochs,
            )  # fmt: skip
        found = judged(tmp_path / str(epochs))
        assert found["3", 100].verdict == verdict
        assert found["4a", 100].verdict == NOT_APPLICABLE
    short = judged(tmp_path / "3")["3", 100]
    assert "24 updates are not the end of the training: the majority took 8" in short.reason
    assert "trainer.max_epochs=12" in short.command


def test_a_minority_that_was_not_learned_has_nothing_to_generalise(tmp_path: Path) -> None:
    for seed in SEEDS:
        make_run(tmp_path, ratio=1, seed=seed)
        make_run(tmp_path, ratio=10, seed=seed, train=(rises(1), rises(1, 0.89)))
        make_run(tmp_path, ratio=100, seed=seed, train=(rises(1), rises(1, 0.91)))
    found = judged(tmp_path)
    assert found["4a", 10].verdict == NOT_APPLICABLE
    assert "has not learned the minority: train recall 0.89" in found["4a", 10].reason
    assert found["4a", 100].verdict == REFUTED


def test_a_probe_that_cannot_tell_trained_from_untrained_features(tmp_path: Path) -> None:
    """Untrained features in the place of the trained ones: no verdict, whatever their recall."""
    for seed in SEEDS:
        for ratio in (1, 100):
            make_run(tmp_path, ratio=ratio, seed=seed, probe=(0.9, 0.88), untrained=0.88)
    found = judged(tmp_path)["4b", 100]
    assert found.verdict == NOT_APPLICABLE
    assert found.reason.startswith("the probe cannot tell trained from untrained features")
    assert "data.val_per_class=20" in found.command


def test_untrained_features_in_the_place_of_the_imbalanced_ones_support_claim_4b(
    tmp_path: Path,
) -> None:
    for seed in SEEDS:
        make_run(tmp_path, ratio=1, seed=seed, probe=(0.95, 0.98), untrained=0.7)
        make_run(tmp_path, ratio=100, seed=seed, probe=(0.3, 0.7), untrained=0.7)
    found = judged(tmp_path)["4b", 100]
    assert found.estimate.mean == pytest.approx(1.0)
    assert found.verdict == SUPPORTED
    assert "the majority's by 0.000" in found.note, "what the probe costs the majority"
    assert "end of the grid" not in found.note


# ---- What the interval is of. ----


def test_crossed_seeds_are_not_independent_ones(tmp_path: Path) -> None:
    """Nine runs of three subsets and three weights: the subsets differ, and there are three."""
    gaps = (0.75, 0.85, 0.95)
    for data in range(3):
        for init in range(3):
            make_run(tmp_path, ratio=1, seed=0, seeds=(data, init, init))
            make_run(
                tmp_path, ratio=100, seed=0, seeds=(data, init, init),
                test=(rises(1, 0.95), rises(1, 1 - gaps[data])),
            )  # fmt: skip
    found = judged(tmp_path, generalisation_gap=0.7)["4a", 100]
    assert found.estimate.n == 3
    by_subset = [gap - 0.05 for gap in gaps]
    ends = stats.ttest_1samp(by_subset, 0).confidence_interval()
    # The test sample adds to it, and its part is known better.
    assert found.estimate.error > (ends.high - ends.low) / 2 / stats.t.ppf(0.975, 2)
    assert 2 < found.estimate.df < 3
    assert found.estimate.low < 0.7 < found.estimate.high
    assert found.verdict == UNDECIDED, "as nine independent ones it would be supported"
    alone = estimate({(k, k, k): gap for k, gap in enumerate(by_subset * 3)})
    assert alone.low > 0.7


def test_seeds_that_were_never_drawn_again_decide_nothing(tmp_path: Path) -> None:
    for init in range(5):
        make_run(tmp_path, ratio=1, seed=0, seeds=(0, init, 0))
        make_run(tmp_path, ratio=100, seed=0, seeds=(0, init, 0), train=(EARLY, LATE))
    found = judged(tmp_path)["2", 100]
    assert found.verdict == UNDECIDED
    assert found.reason == "data_seed is the same in all runs, so this is one training subset"
    assert found.command.endswith("ratio=1,100 seed=0,1,2,3,4,5,6,7,8,9")


def test_a_tiny_test_set_decides_nothing(tmp_path: Path) -> None:
    """Ten test samples a class: a gap of 0.2 is two samples. With 500 it is clear."""
    for on_test, verdict in ((10, UNDECIDED), (500, SUPPORTED)):
        for seed in SEEDS:
            study = tmp_path / str(on_test)
            for ratio, recall in ((1, 1.0), (100, 0.8)):
                make_run(
                    study, ratio=ratio, seed=seed, test=(rises(1), rises(1, recall)),
                    on_test=on_test, predicted=True,
                )  # fmt: skip
        assert judged(study)["4a", 100].verdict == verdict


def test_predictions_say_what_two_runs_have_in_common(tmp_path: Path) -> None:
    """Runs that are right on the same samples: their difference is known better than from their
    recalls alone."""
    widths = {}
    for predicted in (True, False):
        study = tmp_path / str(predicted)
        for seed in SEEDS:
            for ratio, recall in ((1, 0.7), (100, 0.5)):
                make_run(
                    study, ratio=ratio, seed=seed, test=(rises(1), rises(1, recall)),
                    predicted=predicted,
                )  # fmt: skip
        widths[predicted] = judged(study)["4a", 100].estimate.error
    # By hand: 1,000 samples of the minority, of which a fifth is right in one run only.
    assert widths[True] == pytest.approx(np.sqrt(0.2 * 0.8 / 1000), rel=1e-3)
    assert widths[False] == pytest.approx(np.sqrt((0.7 * 0.3 + 0.5 * 0.5) / 1000), rel=0.01)


def test_predictions_of_other_curves_are_not_used(tmp_path: Path) -> None:
    run = make_run(tmp_path, ratio=1, seed=0, predicted=True)
    (read,) = read_runs([tmp_path]).runs
    weights = read.class_weights("minority")
    assert read.on_test(weights).influence is not None
    assert read.on_test(weights, np.full(4, 0.123)).influence is None
    (run / "predictions.npz").unlink()
    (read,) = read_runs([tmp_path]).runs
    assert read.on_test(weights).influence is None


# ---- What claims are about. ----


def test_length_does_not_decide(tmp_path: Path) -> None:
    """The early phase ends when the majority has been learned, however long the run goes on."""
    found = {}
    for epochs in (8, 20, 80):
        for seed in SEEDS:
            make_run(tmp_path / str(epochs), ratio=1, seed=seed, epochs=epochs)
            make_run(
                tmp_path / str(epochs), ratio=100, seed=seed, train=(rises(2), rises(5)),
                epochs=epochs,
            )  # fmt: skip
        found[epochs] = judged(tmp_path / str(epochs))
    for claim in ("2", "4a"):
        estimates = {one[claim, 100].estimate.mean for one in found.values()}
        assert len(estimates) == 1
    assert len({tuple(said(one).items()) for one in found.values()}) == 1


def test_the_early_lead_is_net_of_the_balanced_run(tmp_path: Path) -> None:
    """The minority's classes are harder: balanced, they lag by as much."""
    for seed in SEEDS:
        for ratio in (1, 10):
            make_run(tmp_path, ratio=ratio, seed=seed, train=(EARLY, LATE))
    assert judged(tmp_path)["2", 10].estimate.mean == 0.0
    assert judged(tmp_path)["2", 10].verdict == REFUTED


def test_classes_that_cancel_in_their_groups_are_not_alike(tmp_path: Path) -> None:
    """In both groups one class is at 0.99 and one at 0.6."""
    for seed in SEEDS:
        run = make_run(tmp_path, ratio=1, seed=seed)
        lines = [json.loads(line) for line in (run / "curves.jsonl").read_text().splitlines()]
        for line in lines:
            if line["split"] == "test":
                line["recall"] = [0.99, 0.6, 0.99, 0.6]
        (run / "curves.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    alike = judged(tmp_path)["1", 1]
    assert alike.estimate.mean == pytest.approx(np.std([0.99, 0.6, 0.99, 0.6], ddof=1), abs=0.001)
    assert alike.verdict == REFUTED


def test_groups_shuffled_over_seeds_support_no_difference(tmp_path: Path) -> None:
    """Which group is learned late is drawn for each seed: on average there is no effect."""
    random = np.random.RandomState(0)
    for seed in range(8):
        make_run(tmp_path, ratio=1, seed=seed)
        first, second = ((EARLY, LATE)[i] for i in random.permutation(2))
        make_run(tmp_path, ratio=100, seed=seed, train=(first, second))
    assert judged(tmp_path)["2", 100].verdict != SUPPORTED


def test_another_verdict_at_the_epoch_that_is_best_on_val_is_said(tmp_path: Path) -> None:
    """Val is best at epoch 5, when the minority is not learned yet."""

    def best_at_five(epoch: float) -> float:
        return 0.8 if epoch == 5 else 0.5

    for seed in SEEDS:
        val = (best_at_five, best_at_five)
        make_run(tmp_path, ratio=1, seed=seed, val=val)
        make_run(tmp_path, ratio=100, seed=seed, train=(EARLY, LATE), val=val)
    learned = judged(tmp_path)["3", 100]
    assert (learned.verdict, learned.verdict_at_best) == (SUPPORTED, REFUTED)
    assert learned.at_best.mean == 0.0
    assert learned.disagreement == (
        "at the epoch best on val it is refuted: 0.000 (0.000 to 0.023)"
    )
    early = judged(tmp_path)["2", 100]
    assert early.verdict_at_best == early.verdict == SUPPORTED
    assert not early.disagreement


# ---- Pairs, controls, families. ----


def test_class_orders_pair_only_with_themselves(tmp_path: Path) -> None:
    """Two orders in one sweep are two settings, and no run of one is the other's."""
    for order, recall in (("identity", 0.3), ("random", 0.6)):
        for seed in SEEDS:
            make_run(tmp_path, ratio=1, seed=seed, class_order=order)
            make_run(
                tmp_path, ratio=100, seed=seed, class_order=order,
                test=(rises(1), rises(1, recall)), train=(EARLY, LATE),
            )  # fmt: skip
    settings = by_setting(read_runs([tmp_path]).finished)
    assert [len(setting.of()) for setting in settings] == [8, 8]
    assert not any(setting.not_counted() for setting in settings)
    report = reported(tmp_path)
    gaps = {v.setting: v.estimate.mean for v in report.verdicts if v.claim == "4a"}
    assert gaps == pytest.approx(
        {
            "madeup, imbalance.class_order=identity": 0.7 - 0.05,
            "madeup, imbalance.class_order=random": 0.4 - 0.05,
        }
    )
    by_design = {v.setting: v.controls for v in report.verdicts if v.claim == "2"}
    outcomes = [
        by_design[f"madeup, imbalance.class_order={o}"][-1].outcome for o in ("identity", "random")
    ]
    assert outcomes == ["not controlled", "by design: each seed draws them anew"]


def test_what_survives_each_control(tmp_path: Path) -> None:
    """The minority's gap of 0.8 against 0.05: with few samples alone it would be 0.35."""
    for seed in SEEDS:
        for ratio in (1, 100):
            late = rises(1) if ratio == 1 else LATE
            bad = rises(1, 0.95) if ratio == 1 else rises(7, 0.2)
            make_run(tmp_path, ratio=ratio, seed=seed, train=(EARLY, late), test=(rises(1), bad))
            swapped = rises(1, 0.85) if ratio == 1 else rises(7, 0.4)
            make_run(
                tmp_path, ratio=ratio, seed=seed, control="swapped_roles", train=(EARLY, late),
                test=(rises(1), swapped),
            )  # fmt: skip
        few = (rises(1), rises(1))
        few_test = (rises(1, 0.65), rises(1, 0.65))
        make_run(tmp_path, ratio=100, seed=seed, control="same_minority", train=few, test=few_test)
        make_run(tmp_path, ratio=100, seed=seed, control="same_total")
        for control, recall in (("equal_updates", 0.5), ("equal_exposures", 0.93)):
            make_run(
                tmp_path, ratio=100, seed=seed, control=control, train=few,
                test=(rises(1), rises(1, recall)),
            )  # fmt: skip
    found = judged(tmp_path)
    controls = {survival.control: survival for survival in found["4a", 100].controls}
    assert {name: left.survives.mean for name, left in controls.items()} == pytest.approx(
        {
            "same_total": (0.8 - 0.05) / 0.75,
            "same_minority": (0.8 - 0.35) / 0.75,
            "equal_updates": (0.5 - 0.05) / 0.75,
            "equal_exposures": (0.07 - 0.05) / 0.75,
            "swapped_roles": (0.6 - 0.15) / 0.75,
        }
    )
    assert controls["equal_updates"].estimate.n == len(SEEDS)
    assert str(controls["same_minority"]).startswith(
        "beyond few samples of the minority: survives, 60% is left, 0.450 ("
    )
    assert str(controls["equal_exposures"]).startswith(
        "beyond fewer exposures of the minority: does not survive, 3% is left, 0.020 ("
    )
    # Claim 3 is no difference from balanced data: a balanced control takes nothing away from it.
    learned = {one.control: one.estimate.mean for one in found["3", 100].controls}
    assert learned == {"equal_updates": 1.0, "equal_exposures": 1.0, "swapped_roles": 1.0}
    # The controls of supported claims are one family; of other claims nothing can survive.
    family = [
        control
        for verdict in found.values()
        if verdict.verdict == SUPPORTED
        for control in verdict.controls
        if control.estimate.n
    ]
    least, most = (pick(family, key=lambda control: control.p) for pick in (min, max))
    assert least.p_corrected == pytest.approx(len(family) * least.p)
    assert most.p < most.p_corrected or most.p == pytest.approx(most.p_corrected)
    others = [v for v in found.values() if v.verdict != SUPPORTED and v.controls]
    assert others
    for verdict in others:
        for control in verdict.controls:
            assert np.isnan(control.p_corrected)
            if control.estimate.n:
                assert control.outcome.startswith(f"the claim itself is {verdict.verdict}, ")


def test_all_verdicts_on_a_setting_are_one_family(tmp_path: Path) -> None:
    """What is clear alone is not clear among five, nor at the epoch that is best on val, where the
    recalls are those of the end."""

    def best(epoch: float) -> float:
        return 0.8 if epoch == EPOCHS - 1 else 0.5

    gaps = (0.13, 0.19, 0.22, 0.28)
    for seed, gap in zip(SEEDS, gaps, strict=True):
        balanced = (rises(1), rises(1))
        make_run(tmp_path, ratio=1, seed=seed, test=balanced, predicted=True, val=(best, best))
        for ratio in (10, 100):
            make_run(
                tmp_path, ratio=ratio, seed=seed, test=(rises(1), rises(1, 1 - gap)),
                train=(EARLY, LATE), predicted=True, val=(best, best),
            )  # fmt: skip
    found = judged(tmp_path)["4a", 100]
    assert found.p == pytest.approx(found.estimate.p_value(0.1))
    assert found.p < 0.05 < found.p_corrected
    assert found.estimate.low > 0.1 > found.corrected[0]
    assert found.verdict == UNDECIDED
    assert found.reason.startswith("clear alone (p = 0.0")
    assert found.at_best.mean == pytest.approx(found.estimate.mean)
    assert found.verdict_at_best == UNDECIDED
    assert not found.disagreement
    assert judged(tmp_path, level=0.2)["4a", 100].verdict == SUPPORTED


@pytest.mark.parametrize(
    ("mean", "at_most", "verdict"),
    [(0.4, False, SUPPORTED), (0.1, False, REFUTED), (0.4, True, REFUTED), (0.1, True, SUPPORTED)],
)
def test_judge(mean: float, at_most: bool, verdict: str) -> None:
    limits = Thresholds()
    found = Estimate(mean, 0.02, 4, 5)
    assert judge(found, 0.25, at_most, limits, 0.01)[0] == verdict
    assert judge(found, 0.25, at_most, limits, 0.06)[0] == UNDECIDED
    assert judge(Estimate(mean, 0.02, 1, 2), 0.25, at_most, limits, 0.01)[0] == UNDECIDED
    fixed = Estimate(mean, 0.02, 4, 5, ("init_seed",))
    assert judge(fixed, 0.25, at_most, limits, 0.01)[1] == (
        "init_seed is the same in all runs, so this is one initial weights"
    )
    order = Estimate(mean, 0.02, 4, 5, ("order_seed",))
    assert judge(order, 0.25, at_most, limits, 0.01)[0] == verdict


def test_the_deciding_command_is_the_one_that_trained_the_runs(tmp_path: Path) -> None:
    """With twice the seeds where there are enough, its own words for the rest, and the controls
    of an experiment left out; a word with a space stays one word of the shell."""
    command = ["train.py", "-m", "experiment=paper", "data=my set", "ratio=9", "seed=0"]
    command += ["data_seed=3", "control=x", "overwrite=true", "trainer=ddp"]
    for seed in range(5):
        run = make_run(
            tmp_path, ratio=2, seed=seed, train=(rises(1), rises(1, 1 if seed % 2 else 0.84))
        )
        status = json.loads((run / "status.json").read_text())
        status["provenance"]["command"] = command
        (run / "status.json").write_text(json.dumps(status))
    undecided = judged(tmp_path)["3", 2]
    assert undecided.reason == "the interval holds the threshold"
    seeds = ",".join(str(number) for number in range(10))
    assert undecided.command == (
        f"python train.py -m experiment=paper 'data=my set' ratio=2 seed={seeds} control=none"
    )
    many = judged(tmp_path, least_seeds=20)["3", 2].command
    assert " 'seed=range(20)' " in many, "Hydra's range, and one word of the shell"


def test_a_seed_trained_twice_counts_once(tmp_path: Path) -> None:
    """A run trained again with the probe takes the place of the one without."""
    for name, probe in (("first", None), ("again", (0.9, 0.9))):
        for seed in range(2):
            make_run(tmp_path / name, ratio=1, seed=seed, probe=probe)
    (setting,) = by_setting(read_runs([tmp_path]).finished)
    assert [run.seed for run in setting.of(ratio=1)] == [0, 1]
    assert all("representation" in run.probes for run in setting.of(ratio=1))


def test_a_rate_tuned_for_each_ratio_is_a_setting_of_its_own(tmp_path: Path) -> None:
    """At ratio 1 the low rate is best on val, at ratio 100 the high one; test says otherwise."""
    for rate, good_at in ((0.01, 1), (0.1, 100)):
        for ratio in (1, 100):
            on_val = 0.9 if ratio == good_at else 0.5
            for seed in SEEDS:
                make_run(
                    tmp_path / str(rate), ratio=ratio, seed=seed, rate=rate,
                    val=(rises(1, on_val), rises(1, on_val)),
                    test=(rises(1), rises(1, 1 - rate * ratio / 100)),
                )  # fmt: skip
    settings = by_setting(read_runs([tmp_path]).finished)
    (tuned,) = tuned_rate(settings)
    assert tuned.label == ("madeup, optimizer.lr tuned on val: 0.01 at ratio 1, 0.1 at ratio 100")
    found = {(v.claim, v.ratio): v for v in verdicts(tuned, Thresholds())}
    assert found["4a", 100].estimate.mean == pytest.approx(0.1 - 0.01 * 0.01, abs=0.003)
    assert tuned_rate(settings[:1]) == []


# ---- What was found, in one sentence. ----


def reported(study: Path) -> Report:
    """Without figures and the page, which take seconds."""
    settings = by_setting(read_runs([study]).finished)
    judged = [verdict for setting in settings for verdict in verdicts(setting, Thresholds())]
    return Report(opening(settings, Thresholds()), study, judged, [], 0, [])


def test_what_was_found_is_said_before_any_verdict(tmp_path: Path) -> None:
    for ratio in (1, 100):
        recall = 0.99 if ratio == 1 else 0.27
        make_run(tmp_path, ratio=ratio, seed=0, test=(rises(1), rises(1, recall)))
    first, second, *_ = summary_lines(reported(tmp_path))
    assert first == (
        "At ratio 100 the minority is fully learned on train and 27% right on test; trained on "
        "balanced data, 99% (one seed)."
    )
    assert second == "verdicts: 0 supported, 0 refuted, 4 undecided, 1 not applicable"


def test_a_few_settings_have_a_sentence_each(tmp_path: Path) -> None:
    for method, recall in (("ce", 0.2), ("ldam", 0.4), ("focal", 0.3), ("vs", 0.1)):
        make_run(tmp_path, ratio=10, seed=0, method=method, test=(rises(1), rises(1, recall)))
    settings = by_setting(read_runs([tmp_path]).finished)
    said = "at ratio 10 the minority is fully learned on train and"
    assert opening(settings[:2], Thresholds()).lower() == (
        f"madeup, ce: {said} 20% right on test (one seed). "
        f"madeup, ldam: {said} 40% right on test (one seed)."
    )


def test_many_settings_have_a_sentence_on_the_first_the_best_and_the_worst(tmp_path: Path) -> None:
    for optimizer, recall in (("adam", 0.2), ("muon", 0.4), ("sgd", 0.3), ("sign", 0.1)):
        test = (rises(1), rises(1, recall))
        make_run(tmp_path / optimizer, ratio=10, seed=0, optimizer=optimizer, test=test)
    assert opening(
        by_setting(read_runs(sorted(tmp_path.iterdir())).finished), Thresholds()
    ).endswith(
        "20% right on test (one seed). [madeup, adam, the first of 4 settings] Of all 4 at ratio "
        "10, the minority is right on test from 10% (madeup, sign) to 40% (madeup, muon)."
    )


def test_many_methods_have_a_sentence_on_those_that_are_clearly_better(tmp_path: Path) -> None:
    means = {"ce": 0.2, "ldam": 0.4, "focal": 0.21, "vs": 0.1}
    for seed in range(3):
        for method, recall in means.items():
            # Focal differs from ce by as much as seeds do, the others by far more.
            own = recall + 0.002 * seed * (1 if method == "focal" else 0)
            test = (rises(1), rises(1, own - 0.02 * (method == "focal") * (seed == 1)))
            make_run(tmp_path, ratio=10, seed=seed, method=method, test=test)
    assert opening(by_setting(read_runs([tmp_path]).finished), Thresholds()) == (
        "At ratio 10, of 3 methods and rules beside ce, 1 has a clearly higher balanced accuracy "
        "on test and 1 a clearly lower one. The best is ldam, 0.70 (ce 0.60): 40% of the minority "
        "right (ce 20%) and 100% of the majority (ce 100%)."
    )


def test_clearly_better_is_by_the_level_of_the_report(tmp_path: Path) -> None:
    for seed in range(3):
        for method, recall in {"ce": 0.2, "ldam": 0.4, "focal": 0.2, "vs": 0.2}.items():
            test = (rises(1), rises(1, recall))
            make_run(tmp_path, ratio=10, seed=seed, method=method, test=test)
    settings = by_setting(read_runs([tmp_path]).finished)
    assert "1 has a clearly higher" in opening(settings, Thresholds())
    assert "0 have a clearly higher" in opening(settings, Thresholds(level=1e-300))


def test_many_methods_of_one_seed_are_not_judged(tmp_path: Path) -> None:
    for method, recall in (("ce", 0.2), ("ldam", 0.4), ("focal", 0.3), ("vs", 0.1)):
        make_run(tmp_path, ratio=10, seed=0, method=method, test=(rises(1), rises(1, recall)))
    assert opening(by_setting(read_runs([tmp_path]).finished), Thresholds()).startswith(
        "At ratio 10, of 3 methods and rules beside ce, none can be judged with fewer than 3 seeds."
    )


def test_a_minority_that_is_not_learned_is_not_said_to_be(tmp_path: Path) -> None:
    make_run(tmp_path, ratio=10, seed=0, train=(rises(1), rises(1, 0.4)))
    make_run(tmp_path, ratio=10, seed=1, train=(rises(1), rises(1, 0.5)))
    assert reported(tmp_path).opening == (
        "At ratio 10 the minority is 45% right on train and 95% right on test (mean of 2 seeds)."
    )


def test_not_applicable_is_counted_apart(tmp_path: Path) -> None:
    for seed in range(3):
        for ratio in (1, 100):
            low = (rises(1, 0.5), rises(1, 0.5))
            make_run(tmp_path, ratio=ratio, seed=seed, train=low, epochs=1)
    report = build_report([tmp_path], Thresholds())
    lines = summary_lines(report)
    assert lines[1] == "verdicts: 0 supported, 0 refuted, 0 undecided, 5 not applicable"
    assert any(
        line.startswith(
            "not applicable: 5 of 5 verdicts, such as claim 3 at ratio 100: the balanced"
        )
        and line.endswith("trainer.max_epochs=4")
        for line in lines
    )
    for name in ("verdicts.csv", "verdicts.tex", "index.html"):
        assert "not applicable" in (report.folder / name).read_text()


def test_thresholds_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"early_gp=0\.3: no such key"):
        read_thresholds({"early_gp": 0.3})
    with pytest.raises(ConfigError, match="alike=2: must be a number between 0 and 1"):
        read_thresholds({"alike": 2})
    assert read_thresholds({"early_gap": 0.4}).early_gap == 0.4
    assert Thresholds().least_seeds == 3
