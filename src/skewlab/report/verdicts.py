"""Judges claims on the runs of a setting."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from skewlab.report.claims import CLAIMS, Claim
from skewlab.report.read import SWAPPED
from skewlab.report.settings import Setting, paired
from skewlab.report.statistics import Estimate, bootstrap, bootstrap_share
from skewlab.report.thresholds import Thresholds

SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"
CONTROL_LABELS = {
    "same_total": "compared with a balanced set of the same total",
    "same_minority": "compared with a balanced set of as few samples a class",
    "equal_updates": "trained for as many updates as the balanced set",
    SWAPPED: "with the roles of the classes swapped",
}
# Words of a training command that the command which decides a verdict does without.
NOT_REPEATED = ("-m", "--multirun", "trainer=ddp")


@dataclass(frozen=True)
class Survival:
    """What is left of an effect under a control.

    Attributes:
        control: its name, see configs/control.
        estimate: the effect under the control, on the scale of the claim's statistic.
        survives: its share of the whole effect; None where the whole is not clearly above 0.
    """

    control: str
    estimate: Estimate
    survives: Estimate | None

    @property
    def label(self) -> str:
        return CONTROL_LABELS[self.control]


@dataclass(frozen=True)
class Verdict:
    """One claim, judged for one setting and ratio.

    Attributes:
        claim: its name.
        title: what it says.
        why: why the statistic measures it.
        setting: the label of the setting.
        ratio: imbalance ratio.
        statistic: what was measured, in words.
        threshold: what the statistic is compared with, such as `at least 0.25`.
        estimate: of the statistic over seeds; None where it could not be measured.
        verdict: supported or refuted where the whole interval is on one side of the threshold.
        note: why it is undecided and which command would decide it, or what else to know.
        controls: what is left of the effect under each control that was trained.
    """

    claim: str
    title: str
    why: str
    setting: str
    ratio: float
    statistic: str
    threshold: str
    estimate: Estimate | None
    verdict: str
    note: str
    controls: list[Survival] = field(default_factory=list)


def judge(
    estimate: Estimate | None, threshold: float, at_most: bool, least_seeds: int
) -> tuple[str, str]:
    """The verdict, and for an undecided one the reason."""
    if estimate is None:
        return UNDECIDED, "not measured"
    if estimate.n < least_seeds:
        return UNDECIDED, f"{estimate.n} of at least {least_seeds} seeds"
    low, high = estimate.low, estimate.high
    if at_most:
        low, high, threshold = -high, -low, -threshold
    if low >= threshold:
        return SUPPORTED, ""
    if high < threshold:
        return REFUTED, ""
    return UNDECIDED, "the interval holds the threshold"


def verdicts(
    setting: Setting, thresholds: Thresholds, claims: Sequence[Claim] = ()
) -> list[Verdict]:
    """Every claim for one setting, at each ratio that it is about; none where the setting has no
    run but controls.

    Args:
        setting: the runs.
        thresholds: what the statistics are compared with.
        claims: the study's own, after the built-in ones.
    """
    if not setting.of():
        return []
    imbalanced = [ratio for ratio in setting.ratios() if ratio > 1]
    return [
        _verdict(claim, setting, ratio, thresholds)
        for claim in (*CLAIMS, *claims)
        for ratio in ([1.0] if claim.balanced else imbalanced)
    ]


def _verdict(claim: Claim, setting: Setting, ratio: float, thresholds: Thresholds) -> Verdict:
    limit = claim.threshold
    threshold = float(getattr(thresholds, limit) if isinstance(limit, str) else limit)
    estimate: Estimate | None = None
    controls: list[Survival] = []
    try:
        note = claim.note(setting, ratio, thresholds)
        estimate = claim.estimate(setting, ratio, thresholds)
        controls = _survivals(claim, setting, ratio, thresholds)
        verdict, reason = judge(estimate, threshold, claim.at_most, thresholds.least_seeds)
    except Exception as error:
        if claim in CLAIMS:
            raise
        # A mistake in a study's own claim costs its verdict, and not the whole report.
        message = " ".join(str(error).split())
        note, verdict, reason = f"its code failed: {type(error).__name__}: {message}", UNDECIDED, ""
    if verdict == UNDECIDED and reason:
        seeds = max(thresholds.least_seeds, 2 * estimate.n if estimate else 0)
        ratios = (1.0, ratio) if claim.minus_balanced else (ratio,)
        reason = f"{reason}; to decide: {deciding_command(setting, ratios, seeds, claim.probe)}"
    return Verdict(
        claim=claim.name,
        title=claim.title,
        why=claim.why,
        setting=setting.label,
        ratio=ratio,
        statistic=claim.statistic.replace("{early}", f"{thresholds.early_fraction:.0%}"),
        threshold=f"{'at most' if claim.at_most else 'at least'} {threshold:g}",
        estimate=estimate,
        verdict=verdict,
        note="; ".join(part for part in (note, reason) if part),
        controls=controls,
    )


def _survivals(
    claim: Claim, setting: Setting, ratio: float, thresholds: Thresholds
) -> list[Survival]:
    whole = claim.by_seed(setting, ratio, thresholds) if claim.controls else {}
    found = []
    for control in claim.controls:
        if control in ("same_total", "same_minority"):  # balanced sets
            pairs = paired(setting.of(ratio=ratio), setting.of(control, ratio))
            left = {
                run.seed_key: claim.measure(run, thresholds) - claim.measure(other, thresholds)
                for run, other in pairs
            }
        else:  # imbalanced as well, without another explanation of the effect
            left = claim.by_seed(setting, ratio, thresholds, control)
        if seeds := [seed for seed in left if np.isfinite(left[seed] + whole.get(seed, np.nan))]:
            rest = [left[seed] for seed in seeds]
            share = bootstrap_share(rest, [whole[seed] for seed in seeds])
            found.append(Survival(control, bootstrap(rest), share))
    return found


def deciding_command(setting: Setting, ratios: Sequence[float], seeds: int, probe: str = "") -> str:
    """A command that trains what a verdict lacks: the one that trained a run of this setting,
    with these ratios, so many seeds, and a probe if one is needed."""
    provenance = setting.runs[0].status.get("provenance", {})
    varied = ("ratio=", "seed=", "control=", "overwrite=")
    kept = [
        shlex.quote(word)
        for word in provenance.get("command", ["train.py"])[1:]
        if word not in NOT_REPEATED and not word.startswith(varied)
    ]
    natural = {run.ratio for run in setting.runs if run.is_natural}
    ratio = ",".join(
        "natural" if value in natural else f"{value:g}" for value in sorted(set(ratios))
    )
    seed = ",".join(str(number) for number in range(seeds))
    words = ["python train.py -m", *kept, f"ratio={ratio}", f"seed={seed}"]
    if any(word.startswith("experiment=") for word in kept):
        words.append("control=none")  # an experiment may bring its controls
    if probe and not any("curves/probes=" in word and probe in word for word in kept):
        words = [word for word in words if "curves/probes=" not in word]
        words.append(f"curves/probes={probe}")
    return " ".join(words)
