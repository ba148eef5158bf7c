"""Judges claims on the runs of a setting."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from skewlab.report.claims import CLAIMS, Claim, Missing
from skewlab.report.read import SWAPPED
from skewlab.report.settings import Setting
from skewlab.report.statistics import ABSENT, LEVEL, SOURCES, Estimate, holm
from skewlab.report.thresholds import Thresholds

SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"
NOT_APPLICABLE = "not applicable"
# What is said of a control that was not trained.
NOT_CONTROLLED = "not controlled"
VERDICTS = (SUPPORTED, REFUTED, UNDECIDED, NOT_APPLICABLE)
# Each control, and the explanation of the effect that it holds the claim against.
CONTROL_LABELS = {
    "same_total": "beyond fewer samples in all",
    "same_minority": "beyond few samples of the minority",
    "equal_updates": "beyond fewer updates",
    "equal_exposures": "beyond fewer exposures of the minority",
    SWAPPED: "in whichever classes",
}
# A verdict speaks of other subsets and other weights: in all runs the same ones say nothing of it.
MUST_VARY = ("data_seed", "init_seed")
# Words of a training command that the command which decides a verdict does without.
NOT_REPEATED = ("-m", "--multirun", "trainer=ddp")
# More seeds are written as a range.
MOST_SEEDS = 10


@dataclass(frozen=True)
class Survival:
    """What is left of an effect under a control.

    Attributes:
        control: its name, see configs/control.
        estimate: the effect under the control, on the scale of the claim's statistic.
        survives: its share of the whole effect; absent where the whole is not clearly above 0.
        outcome: in words.
        p, p_corrected: of the test that the effect is the claim's threshold, alone and among all
            such tests of the supported claims on the setting (Holm); NaN without a test.
    """

    control: str
    estimate: Estimate
    survives: Estimate
    outcome: str
    p: float = np.nan
    p_corrected: float = np.nan

    @property
    def label(self) -> str:
        return CONTROL_LABELS[self.control]

    def __str__(self) -> str:
        return f"{self.label}: {self.outcome}"


@dataclass(frozen=True)
class Verdict:
    """One claim, judged for one setting and ratio.

    Attributes:
        claim: its name.
        title: what it says.
        why: why the statistic measures it.
        needs: what must hold before it is asked.
        setting: the label of the setting.
        ratio: imbalance ratio.
        statistic: what was measured, in words.
        limit, at_most: the threshold, and whether the claim holds below it.
        estimate: of the statistic over seeds; absent where it could not be measured.
        verdict: not applicable where the gate is closed; supported or refuted where the estimate is
            clearly on one side of the threshold, among all verdicts on the setting.
        reason: why it is undecided or not applicable.
        command: would decide it.
        note: what else to know.
        p, p_corrected: of the test that the statistic is the threshold, alone and among all tests
            of the setting (Holm); NaN without a test.
        at_best: the estimate at the whole epoch that is best on val; absent where it is the last.
        p_at_best: of the same test at that epoch, alone.
        verdict_at_best: at that epoch, where all tests are corrected together too; empty where it
            is the last.
        controls: what is left of the effect under each control.
    """

    claim: str
    title: str
    why: str
    needs: str
    setting: str
    ratio: float
    statistic: str
    limit: float
    at_most: bool
    estimate: Estimate
    verdict: str
    reason: str = ""
    command: str = ""
    note: str = ""
    p: float = np.nan
    p_corrected: float = np.nan
    at_best: Estimate = ABSENT
    p_at_best: float = np.nan
    verdict_at_best: str = ""
    controls: list[Survival] = field(default_factory=list)

    @property
    def threshold(self) -> str:
        """What the statistic is compared with, such as `at least 0.25`."""
        return f"{'at most' if self.at_most else 'at least'} {self.limit:g}"

    @property
    def corrected(self) -> tuple[float, float]:
        """The interval that Holm's correction makes of the 95% one: of what threshold it is clear,
        the verdict would be decided."""
        factor = self.p_corrected / self.p if self.p > 0 else 1.0
        return self.estimate.interval(1 - (1 - LEVEL) / max(factor, 1.0))

    @property
    def explained(self) -> str:
        """The reason, the command, the epoch that is best on val where it disagrees, and the
        note."""
        parts = [self.reason, f"to decide: {self.command}" if self.command else ""]
        return "; ".join(part for part in (self.disagreement, self.note, *parts) if part)

    @property
    def disagreement(self) -> str:
        """Whether the epoch that is best on val gives another verdict."""
        decided = {self.verdict, self.verdict_at_best} <= {SUPPORTED, REFUTED, UNDECIDED}
        if not decided or self.verdict_at_best == self.verdict:
            return ""
        return f"at the epoch best on val it is {self.verdict_at_best}: {self.at_best}"


def judge(
    estimate: Estimate, threshold: float, at_most: bool, thresholds: Thresholds, p: float
) -> tuple[str, str]:
    """The verdict, and the reason where it is undecided, or not applicable because nothing was
    measured.

    Args:
        estimate: of the statistic.
        threshold, at_most: what it is compared with.
        thresholds: of the report.
        p: of the test that it is the threshold.
    """
    if untested := _untested(estimate, thresholds):
        return UNDECIDED if estimate.n else NOT_APPLICABLE, untested
    if not p < thresholds.level:
        alone = estimate.p_value(threshold)
        if alone < thresholds.level:
            return UNDECIDED, f"clear alone (p = {alone:.2g}), not among all verdicts ({p:.2g})"
        return UNDECIDED, "the interval holds the threshold"
    return (SUPPORTED if (estimate.mean < threshold) == at_most else REFUTED), ""


def _untested(estimate: Estimate, thresholds: Thresholds) -> str:
    """Why there is no test; empty where there is one."""
    if estimate.n == 0:
        return "not measured"
    if estimate.n < thresholds.least_seeds:
        return f"{estimate.n} of at least {thresholds.least_seeds} seeds"
    if same := [name for name in MUST_VARY if name in estimate.fixed]:
        return f"{' and '.join(same)} is the same in all runs, so this is one {_drawn(same)}"
    return ""


def _drawn(names: Sequence[str]) -> str:
    return " and one set of ".join(SOURCES[name] for name in names)


def verdicts(
    setting: Setting, thresholds: Thresholds, claims: Sequence[Claim] = ()
) -> list[Verdict]:
    """Every claim for one setting, at each ratio that it is about; none where the setting has no
    run but controls. All tests are one family, corrected together.

    Args:
        setting: the runs.
        thresholds: what the statistics are compared with.
        claims: the study's own, after the built-in ones.
    """
    if not setting.of():
        return []
    imbalanced = [ratio for ratio in setting.ratios() if ratio > 1]
    asked = [
        (claim, ratio)
        for claim in (*CLAIMS, *claims)
        for ratio in ([1.0] if claim.balanced else imbalanced)
    ]
    best = setting.at_best_on_val()
    measured = [_measured(claim, setting, best, ratio, thresholds) for claim, ratio in asked]
    corrected = holm(verdict.p for verdict in measured)
    # The same family at the epochs that are best on val; where there is none, it is the last.
    at_best = holm(verdict.p_at_best if verdict.at_best.n else verdict.p for verdict in measured)
    found = [
        _judged(claim, setting, replace(verdict, p_corrected=p), thresholds, p_at_best)
        for (claim, _), verdict, p, p_at_best in zip(
            asked, measured, corrected, at_best, strict=True
        )
    ]
    return _with_controls(found, thresholds)


def _measured(
    claim: Claim, setting: Setting, best: Setting | None, ratio: float, thresholds: Thresholds
) -> Verdict:
    """The claim with its estimates; still undecided."""
    limit = claim.threshold
    threshold = float(getattr(thresholds, limit) if isinstance(limit, str) else limit)
    found: dict[str, Any] = {}
    missing: Missing | None = None
    try:
        gate = claim.gate(setting, ratio, thresholds)
        if not (gate is None or isinstance(gate, Missing)):
            raise TypeError(f"gate gave {gate!r}, must be None or a Missing")
        missing = gate
        found["estimate"] = own = claim.estimate(setting, ratio, thresholds)
        found["note"] = claim.note(setting, ratio, thresholds)
        if missing is None:
            found["controls"] = _survivals(claim, setting, ratio, threshold, thresholds)
            if not _untested(own, thresholds):
                found["p"] = own.p_value(threshold)
            if best is not None and not claim.probe:
                found["at_best"] = at_best = claim.estimate(best, ratio, thresholds)
                if not _untested(at_best, thresholds):
                    found["p_at_best"] = at_best.p_value(threshold)
    except Exception as error:
        if claim in CLAIMS:
            raise
        # A mistake in a study's own claim costs its verdict, and not the whole report.
        message = " ".join(str(error).split())
        found = {"reason": f"its code failed: {type(error).__name__}: {message}"}
    if missing is not None:
        ratios = (1.0, ratio)
        seeds = max(thresholds.least_seeds, len(setting.of(ratio=ratio)))
        found["reason"] = missing.reason
        found["command"] = deciding_command(setting, ratios, seeds, claim.probe, missing.words)
    return Verdict(
        claim=claim.name,
        title=claim.title,
        why=claim.why,
        needs=claim.needs,
        setting=setting.label,
        ratio=ratio,
        statistic=claim.statistic,
        limit=threshold,
        at_most=claim.at_most,
        verdict=UNDECIDED if missing is None else NOT_APPLICABLE,
        **{"estimate": ABSENT, **found},
    )


def _judged(
    claim: Claim, setting: Setting, verdict: Verdict, thresholds: Thresholds, p_at_best: float
) -> Verdict:
    if verdict.reason:  # not applicable, or its code failed
        return verdict
    own = verdict.estimate
    said, reason = judge(own, verdict.limit, verdict.at_most, thresholds, verdict.p_corrected)
    command = ""
    if said in (UNDECIDED, NOT_APPLICABLE):
        ratios = (1.0, verdict.ratio) if claim.minus_balanced else (verdict.ratio,)
        here = len(setting.of(ratio=verdict.ratio))
        seeds = 2 * own.n if own.n >= thresholds.least_seeds else max(thresholds.least_seeds, here)
        command = deciding_command(setting, ratios, seeds, claim.probe)
    best = verdict.at_best
    at_best = best.n and judge(best, verdict.limit, verdict.at_most, thresholds, p_at_best)[0]
    return replace(
        verdict, verdict=said, reason=reason, command=command, verdict_at_best=at_best or ""
    )


def _survivals(
    claim: Claim, setting: Setting, ratio: float, threshold: float, thresholds: Thresholds
) -> list[Survival]:
    """What is left under each control of a claim; said as well of those that were not trained."""
    found = []
    for control in claim.controls:
        effect, left = claim.left(setting, ratio, thresholds, control)
        by_design = control == SWAPPED and setting.draws_classes
        outcome = "by design: each seed draws them anew" if by_design else NOT_CONTROLLED
        p = np.nan if _untested(effect, thresholds) else effect.p_value(threshold)
        found.append(Survival(control, effect, left, "" if effect.n else outcome, p))
    return found


def _with_controls(found: Sequence[Verdict], thresholds: Thresholds) -> list[Verdict]:
    """Verdicts that say whether a supported claim survives its controls. These tests are a family
    of their own: they are asked once the claims are decided."""
    corrected = iter(
        holm(
            control.p if verdict.verdict == SUPPORTED else np.nan
            for verdict in found
            for control in verdict.controls
        )
    )

    def said(verdict: Verdict, control: Survival) -> Survival:
        p = next(corrected)
        effect, left = control.estimate, control.survives
        if not effect.n:
            return control
        how = f"the claim itself is {verdict.verdict}"
        if verdict.verdict == SUPPORTED:
            outcome, _ = judge(effect, verdict.limit, verdict.at_most, thresholds, p)
            how = {SUPPORTED: "survives", REFUTED: "does not survive"}.get(outcome, UNDECIDED)
        part = f"{left.mean:.0%} is left, " if left.n else ""
        return replace(control, p_corrected=p, outcome=f"{how}, {part}{effect}")

    return [
        replace(verdict, controls=[said(verdict, control) for control in verdict.controls])
        for verdict in found
    ]


def deciding_command(
    setting: Setting,
    ratios: Sequence[float],
    seeds: int,
    probe: str = "",
    mending: Sequence[str] = (),
) -> str:
    """A command that trains what a verdict lacks: the one that trained a run of this setting,
    with these ratios, so many seeds, a probe if one is needed, and words that mend what is
    missing."""
    provenance = setting.runs[0].status.get("provenance", {})
    if "recorded_by" in provenance:  # by PerClassCurves, in a program that we do not know
        return f"runs of ratio {', '.join(f'{r:g}' for r in sorted(set(ratios)))} and {seeds} seeds"
    mended = tuple(word.partition("=")[0] + "=" for word in mending)
    varied = ("ratio=", *(f"{name}=" for name in ("seed", *SOURCES)), "control=", "overwrite=")
    kept = [
        shlex.quote(word)
        for word in provenance.get("command", ["train.py"])[1:]
        if word not in NOT_REPEATED and not word.startswith((*varied, *mended))
    ]
    natural = {run.ratio for run in setting.runs if run.is_natural}
    ratio = ",".join(
        "natural" if value in natural else f"{value:g}" for value in sorted(set(ratios))
    )
    each = ",".join(map(str, range(seeds))) if seeds <= MOST_SEEDS else f"range({seeds})"
    words = ["python train.py -m", *kept, f"ratio={ratio}", shlex.quote(f"seed={each}"), *mending]
    if any(word.startswith("experiment=") for word in kept):
        words.append("control=none")  # an experiment may bring its controls
    if probe and not any("curves/probes=" in word and probe in word for word in kept):
        words = [word for word in words if "curves/probes=" not in word]
        words.append(f"curves/probes={probe}")
    return " ".join(words)
