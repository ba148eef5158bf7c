"""Judges the study's claims on the runs of a setting."""

import shlex
from collections.abc import Callable, Sequence

from skewlab.report import quantities
from skewlab.report.claims import CLAIMS, UNDECIDED, Survival, Verdict, judge
from skewlab.report.read import SWAPPED, Run
from skewlab.report.settings import Setting, paired
from skewlab.report.statistics import Estimate, bootstrap, bootstrap_share
from skewlab.report.thresholds import Thresholds

Measure = Callable[[Run], float]
BySeed = dict[tuple[int, ...], float]


def verdicts(setting: Setting, limits: Thresholds) -> list[Verdict]:
    """Every claim for one setting: the first for balanced data, the others at each ratio."""
    imbalanced = [ratio for ratio in setting.ratios() if ratio > 1]
    if not setting.of():
        return []  # controls alone: there is no effect that they could explain
    judged = [_alike(setting, limits)]
    for claim in (_early, _learned, _generalises, _representation):
        judged += [claim(setting, ratio, limits) for ratio in imbalanced]
    return judged


def _verdict(
    claim: str,
    setting: Setting,
    ratio: float,
    limits: Thresholds,
    estimate: Estimate | None,
    *,
    controls: Sequence[Survival] = (),
    note: str = "",
    ratios_needed: Sequence[float] = (),
    probes: str = "",
) -> Verdict:
    """Judge, and for an undecided claim name the command that would decide it."""
    stated = CLAIMS[claim]
    threshold = float(getattr(limits, stated.threshold))
    verdict, reason = judge(estimate, threshold, stated.at_most, limits.least_seeds)
    if verdict == UNDECIDED:
        seeds = max(limits.least_seeds, 2 * estimate.n if estimate else 0)
        command = deciding_command(setting, ratios_needed or (ratio,), seeds, probes)
        reason = f"{reason}; to decide: {command}"
    return Verdict(
        claim,
        setting.label,
        ratio,
        stated.statistic.format(early=f"{limits.early_fraction:.0%}"),
        threshold,
        estimate,
        verdict,
        "; ".join(part for part in (note, reason) if part),
        list(controls),
    )


# Words of a command that trained runs which one that trains more of them does without.
LEFT_OUT = ("-m", "--multirun", "trainer=ddp")


def deciding_command(
    setting: Setting, ratios: Sequence[float], seeds: int, probes: str = ""
) -> str:
    """A command that trains what a verdict lacks: the one that trained a run of this setting,
    with these ratios, so many seeds, and a probe if one is needed."""
    provenance = setting.runs[0].status.get("provenance", {})
    varied = ("ratio=", "seed=", "control=", "overwrite=")
    kept = [
        shlex.quote(word)
        for word in provenance.get("command", ["train.py"])[1:]
        if word not in LEFT_OUT and not word.startswith(varied)
    ]
    ratio = ",".join(f"{value:g}" for value in sorted(set(ratios)))
    seed = ",".join(str(number) for number in range(seeds))
    words = ["python train.py -m", *kept, f"ratio={ratio}", f"seed={seed}"]
    if any(word.startswith("experiment=") for word in kept):
        words.append("control=none")  # an experiment may bring its controls
    if probes and not any("curves/probes=" in w and probes in w for w in kept):
        words = [word for word in words if "curves/probes=" not in word]
        words.append(f"curves/probes={probes}")
    return " ".join(words)


def _alike(setting: Setting, limits: Thresholds) -> Verdict:
    values = [quantities.unlikeness(run, limits.early_fraction) for run in setting.of(ratio=1)]
    return _verdict("1", setting, 1.0, limits, bootstrap(values) if values else None)


def _early(setting: Setting, ratio: float, limits: Thresholds) -> Verdict:
    def lead(run: Run) -> float:
        return quantities.early_gap(run, limits.early_fraction)

    runs = setting.of(ratio=ratio)
    whole = {run.seed_key: lead(run) for run in runs}
    controls = [
        *_against_balanced(setting, ratio, lead, whole),
        *_same_under(setting, ratio, lead, whole),
    ]
    estimate = bootstrap(list(whole.values()))
    return _verdict("2", setting, ratio, limits, estimate, controls=controls)


def _learned(setting: Setting, ratio: float, limits: Thresholds) -> Verdict:
    measure = quantities.final_minority_recall
    whole = {run.seed_key: measure(run) for run in setting.of(ratio=ratio)}
    controls = _same_under(setting, ratio, measure, whole)
    estimate = bootstrap(list(whole.values()))
    return _verdict("3", setting, ratio, limits, estimate, controls=controls)


def _generalises(setting: Setting, ratio: float, limits: Thresholds) -> Verdict:
    gap = quantities.minority_gap
    runs, balanced = setting.of(ratio=ratio), setting.of(ratio=1)
    whole = {run.seed_key: gap(run) - gap(other) for run, other in paired(runs, balanced)}
    controls = _against_balanced(setting, ratio, gap, whole)
    longer = paired(setting.of("equal_updates", ratio), balanced)
    swapped = paired(setting.of(SWAPPED, ratio), setting.of(SWAPPED, 1))
    for control, pairs in (("equal_updates", longer), (SWAPPED, swapped)):
        left = {run.seed_key: gap(run) - gap(other) for run, other in pairs}
        controls += _survival(control, left, whole)
    note = ""
    if bootstrap([quantities.final_minority_recall(run) for run in runs]).mean < 0.5:
        note = "most of the minority was not learned, so there is little that could generalise"
    return _verdict(
        "4a",
        setting,
        ratio,
        limits,
        bootstrap(list(whole.values())) if whole else None,
        controls=controls,
        note=note,
        ratios_needed=(1.0, ratio),
    )


def _representation(setting: Setting, ratio: float, limits: Thresholds) -> Verdict:
    def deficit(pair: tuple[Run, Run], head: str) -> float:
        run, balanced = pair
        return quantities.head_recall(balanced, head) - quantities.head_recall(run, head)

    pairs = [
        (run, balanced)
        for run, balanced in paired(
            setting.of(ratio=ratio, probe="representation"),
            setting.of(ratio=1, probe="representation"),
        )
    ]
    share, note = None, "the probe was not switched on for these runs and the balanced ones"
    if pairs:
        own = [deficit(pair, "own_head") for pair in pairs]
        probe = [deficit(pair, "balanced_probe") for pair in pairs]
        share = bootstrap_share(probe, own)
        note = (
            f"the minority's deficit on test is {bootstrap(own)} with the network's own head and "
            f"{bootstrap(probe)} with the probe"
        )
    return _verdict(
        "4b",
        setting,
        ratio,
        limits,
        share,
        note=note,
        ratios_needed=(1.0, ratio),
        probes="representation",
    )


def _against_balanced(
    setting: Setting, ratio: float, measure: Measure, whole: BySeed
) -> list[Survival]:
    """The imbalanced run minus a balanced one that shares what else could explain the effect."""
    found: list[Survival] = []
    for control in ("same_total", "same_minority"):
        pairs = paired(setting.of(ratio=ratio), setting.of(control, ratio))
        left = {run.seed_key: measure(run) - measure(other) for run, other in pairs}
        found += _survival(control, left, whole)
    return found


def _same_under(setting: Setting, ratio: float, measure: Measure, whole: BySeed) -> list[Survival]:
    """The same measure of runs that are imbalanced as well, but lack another explanation."""
    found: list[Survival] = []
    for control in ("equal_updates", SWAPPED):
        left = {run.seed_key: measure(run) for run in setting.of(control, ratio)}
        found += _survival(control, left, whole)
    return found


def _survival(control: str, left: BySeed, whole: BySeed) -> list[Survival]:
    seeds = [seed for seed in left if seed in whole]
    if not seeds:
        return []
    rest = [left[seed] for seed in seeds]
    return [Survival(control, bootstrap(rest), bootstrap_share(rest, [whole[s] for s in seeds]))]
