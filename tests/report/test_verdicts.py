"""Verdicts on made-up curves whose truth is known, in all three directions."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_up import make_run, rises

from skewlab.errors import ConfigError
from skewlab.report.read import read_runs
from skewlab.report.settings import by_setting
from skewlab.report.statistics import Estimate
from skewlab.report.thresholds import Thresholds, read_thresholds
from skewlab.report.verdicts import (
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    Verdict,
    judge,
    verdicts,
)

SEEDS = range(4)


def judged(study: Path, **limits: float) -> dict[tuple[str, float], Verdict]:
    (setting,) = by_setting(read_runs([study]).finished)
    return {(v.claim, v.ratio): v for v in verdicts(setting, read_thresholds(limits))}


def test_a_study_that_shows_every_claim(tmp_path: Path) -> None:
    """The majority is learned at once, the minority after a third of the training, and none of it
    carries over to test; the probe finds nothing in the features either."""
    for seed in SEEDS:
        make_run(tmp_path, ratio=1, seed=seed, probe=(0.9, 0.9), noise=0.01)
        make_run(
            tmp_path,
            ratio=100,
            seed=seed,
            train=(rises(0.25), rises(7)),
            test=(rises(0.25), rises(7, 0.2)),
            probe=(0.2, 0.25),
            noise=0.01,
        )
    found = judged(tmp_path)
    assert set(found) == {("1", 1), ("2", 100), ("3", 100), ("4a", 100), ("4b", 100)}
    assert {verdict.verdict for verdict in found.values()} == {SUPPORTED}
    # By hand: 0 to epoch 0.25 the lead rises from 0 to 1, then stays 1 to epoch 2.
    early = found["2", 100].estimate
    assert early is not None
    assert early.mean == pytest.approx((0.125 + 1.75) / 2, abs=0.03)
    gap = found["4a", 100].estimate
    assert gap is not None
    assert gap.mean == pytest.approx(0.8 - 0.05, abs=0.03)
    share = found["4b", 100].estimate
    assert share is not None
    assert share.mean == pytest.approx(0.65 / 0.7, abs=0.01)


def test_a_study_that_refutes_every_claim(tmp_path: Path) -> None:
    """Balanced groups are learned apart; imbalanced ones alike, the minority half at most, and
    that half generalises; the probe recovers the whole deficit."""
    for seed in SEEDS:
        make_run(
            tmp_path,
            ratio=1,
            seed=seed,
            train=(rises(0.25), rises(15)),
            test=(rises(0.25), rises(15)),
            probe=(0.9, 0.9),
        )
        half = rises(1, 0.5)
        make_run(
            tmp_path, ratio=10, seed=seed, train=(half, half), test=(half, half), probe=(0.5, 0.88)
        )
    found = judged(tmp_path)
    assert {key: verdict.verdict for key, verdict in found.items()} == dict.fromkeys(found, REFUTED)


def test_a_study_that_decides_nothing(tmp_path: Path) -> None:
    """Seeds on both sides of every threshold."""
    for seed in SEEDS:
        late = rises(19) if seed % 2 else rises(1)
        make_run(tmp_path, ratio=1, seed=seed, train=(rises(1), late), probe=(0.9, 0.9))
        make_run(
            tmp_path,
            ratio=10,
            seed=seed,
            train=(rises(0.25 if seed % 2 else 1), rises(3 if seed % 2 else 1, 1 - seed % 2 / 3)),
            test=(rises(1, 0.95), rises(1, 0.4 if seed % 2 else 0.95)),
            probe=(0.4, 0.4 if seed % 2 else 0.9),
        )
    found = judged(tmp_path)
    assert {key: verdict.verdict for key, verdict in found.items()} == dict.fromkeys(
        found, UNDECIDED
    )


def test_too_few_seeds_and_missing_measurements_are_undecided_with_a_command(
    tmp_path: Path,
) -> None:
    for seed in range(2):
        make_run(tmp_path, ratio=100, seed=seed, train=(rises(0.25), rises(7)))
    found = judged(tmp_path)
    assert {verdict.verdict for verdict in found.values()} == {UNDECIDED}
    assert "2 of at least 3 seeds" in found["2", 100].note
    assert "python train.py -m data=madeup ratio=100 seed=0,1,2" in found["2", 100].note
    assert "ratio=1,100" in found["4a", 100].note, "it needs the balanced runs too"
    assert found["1", 1].estimate is None
    assert "curves/probes=representation" in found["4b", 100].note


def test_groups_shuffled_over_seeds_support_no_difference(tmp_path: Path) -> None:
    """Which group is learned late is drawn for each seed: on average there is no effect."""
    random = np.random.RandomState(0)
    for seed in range(8):
        make_run(tmp_path, ratio=1, seed=seed, probe=(0.9, 0.9))
        curves = [(rises(0.25), rises(0.25, 0.9)), (rises(7), rises(7, 0.2))]
        first, second = (curves[i] for i in random.permutation(2))
        make_run(
            tmp_path,
            ratio=100,
            seed=seed,
            train=(first[0], second[0]),
            test=(first[1], second[1]),
        )
    found = judged(tmp_path)
    assert found["2", 100].verdict != SUPPORTED
    # Where the minority happens to be the late group in half of the seeds, half of the gap is
    # left; no claim of a difference may come from the groups' names.
    leads = found["2", 100].estimate
    assert leads is not None
    assert leads.low < 0.25


@pytest.mark.parametrize(
    ("low", "high", "at_most", "verdict"),
    [
        (0.3, 0.5, False, SUPPORTED),
        (0.1, 0.2, False, REFUTED),
        (0.2, 0.3, False, UNDECIDED),
        (0.1, 0.2, True, SUPPORTED),
        (0.3, 0.5, True, REFUTED),
        (0.2, 0.3, True, UNDECIDED),
    ],
)
def test_judge(low: float, high: float, at_most: bool, verdict: str) -> None:
    estimate = Estimate((low + high) / 2, low, high, 5)
    assert judge(estimate, 0.25, at_most, 3)[0] == verdict
    assert judge(Estimate(0.4, 0.4, 0.4, 2), 0.25, at_most, 3)[0] == UNDECIDED
    assert judge(None, 0.25, at_most, 3)[0] == UNDECIDED


@pytest.mark.parametrize("at_most", [False, True])
def test_an_end_of_the_interval_on_the_threshold_is_on_the_claims_side(at_most: bool) -> None:
    """At least 0.25 holds for 0.25 itself, and so does at most 0.25."""
    one_sided = Estimate(0.3, 0.25, 0.35, 5), Estimate(0.2, 0.15, 0.25, 5)
    claimed, other = reversed(one_sided) if at_most else one_sided
    assert judge(claimed, 0.25, at_most, 3)[0] == SUPPORTED
    assert judge(other, 0.25, at_most, 3)[0] == UNDECIDED


def test_balanced_groups_may_differ_neither_early_nor_at_the_end(tmp_path: Path) -> None:
    """Claim 1 takes the larger difference: here it is 0 in the first epochs and 0.3 on test."""
    for seed in SEEDS:
        make_run(tmp_path, ratio=1, seed=seed, test=(rises(1, 0.9), rises(1, 0.6)))
    alike = judged(tmp_path)["1", 1]
    assert alike.estimate is not None
    assert alike.estimate.mean == pytest.approx(0.3)
    assert alike.verdict == REFUTED


def test_a_minority_that_was_not_learned_has_little_to_generalise(tmp_path: Path) -> None:
    for seed in SEEDS:
        make_run(tmp_path, ratio=10, seed=seed, train=(rises(1), rises(1, 0.49)))
        make_run(tmp_path, ratio=100, seed=seed, train=(rises(1), rises(1, 0.51)))
    found = judged(tmp_path)
    assert "most of the minority was not learned" in found["4a", 10].note
    assert "most of the minority was not learned" not in found["4a", 100].note


def test_the_deciding_command_is_the_one_that_trained_the_runs(tmp_path: Path) -> None:
    """With twice the seeds where there are enough, its own words for the rest, and the controls
    of an experiment left out; a word with a space stays one word of the shell."""
    command = [
        "train.py",
        "-m",
        "experiment=paper",
        "data=my set",
        "ratio=9",
        "seed=0",
        "control=x",
    ]
    command += ["overwrite=true", "trainer=ddp"]
    for seed in range(5):
        run = make_run(tmp_path, ratio=2, seed=seed, train=(rises(1), rises(3 if seed % 2 else 1)))
        status = json.loads((run / "status.json").read_text())
        status["provenance"]["command"] = command
        (run / "status.json").write_text(json.dumps(status))
    undecided = judged(tmp_path)["2", 2]
    assert undecided.verdict == UNDECIDED
    seeds = ",".join(str(seed) for seed in range(10))
    assert undecided.note == (
        "the interval holds the threshold; to decide: python train.py -m experiment=paper "
        f"'data=my set' ratio=2 seed={seeds} control=none"
    )


def test_what_survives_each_control(tmp_path: Path) -> None:
    """The minority's gap of 0.8 against 0.05: with few samples alone it would be 0.35."""
    for seed in SEEDS:
        for ratio in (1, 100):
            late = rises(1) if ratio == 1 else rises(7)
            bad = rises(1, 0.95) if ratio == 1 else rises(7, 0.2)
            make_run(
                tmp_path, ratio=ratio, seed=seed, train=(rises(0.25), late), test=(rises(1), bad)
            )
            make_run(
                tmp_path,
                ratio=ratio,
                seed=seed,
                control="swapped_roles",
                train=(rises(0.25), late),
                test=(rises(1), rises(1, 0.85) if ratio == 1 else rises(7, 0.4)),
            )
        few = (rises(1), rises(1))
        few_test = (rises(1, 0.65), rises(1, 0.65))
        make_run(tmp_path, ratio=100, seed=seed, control="same_minority", train=few, test=few_test)
        make_run(tmp_path, ratio=100, seed=seed, control="same_total")
        make_run(
            tmp_path, ratio=100, seed=seed, control="equal_updates",
            train=(rises(1), rises(1)), test=(rises(1), rises(1, 0.5)),
        )  # fmt: skip
    controls = {survival.control: survival for survival in judged(tmp_path)["4a", 100].controls}
    shares = {
        name: survival.survives.mean for name, survival in controls.items() if survival.survives
    }
    assert shares == pytest.approx(
        {
            "same_total": (0.8 - 0.05) / 0.75,
            "same_minority": (0.8 - 0.35) / 0.75,
            "equal_updates": (0.5 - 0.05) / 0.75,
            "swapped_roles": (0.6 - 0.15) / 0.75,
        }
    )
    assert controls["equal_updates"].estimate.n == len(SEEDS)
    early = {survival.control: survival for survival in judged(tmp_path)["2", 100].controls}
    assert set(early) == {"same_total", "same_minority", "equal_updates", "swapped_roles"}
    assert early["swapped_roles"].survives is not None
    assert early["swapped_roles"].survives.mean == pytest.approx(1.0)
    # Claim 3 is no difference from balanced data: a balanced control takes nothing away from it.
    learned = judged(tmp_path)["3", 100].controls
    assert [(one.control, one.estimate.mean) for one in learned] == [
        ("equal_updates", 1.0),
        ("swapped_roles", 1.0),
    ]


def test_a_seed_trained_twice_counts_once(tmp_path: Path) -> None:
    """A run trained again with the probe takes the place of the one without."""
    for name, probe in (("first", None), ("again", (0.9, 0.9))):
        for seed in range(2):
            make_run(tmp_path / name, ratio=1, seed=seed, probe=probe)
    (setting,) = by_setting(read_runs([tmp_path]).finished)
    assert [run.seed for run in setting.of(ratio=1)] == [0, 1]
    assert all("representation" in run.probes for run in setting.of(ratio=1))


def test_thresholds_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"early_gp=0\.3: no such key"):
        read_thresholds({"early_gp": 0.3})
    with pytest.raises(ConfigError, match="alike=2: must be a number between 0 and 1"):
        read_thresholds({"alike": 2})
    assert read_thresholds({"early_gap": 0.4}).early_gap == 0.4
    assert Thresholds().least_seeds == 3
