"""Methods compared with cross-entropy: the same data, network, training and seeds.

Settings that differ in keys below `method.` only are one comparison. A post-hoc rule changes no
training: a run with one is a run of its method, and the rule has an entry of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from skewlab.metrics.scores import FloatArray, mean_of_present
from skewlab.report.drawing import span
from skewlab.report.read import METHOD, METHOD_NAME, NO_CONTROL, Run
from skewlab.report.settings import NULL, Setting, differing_keys, groups
from skewlab.report.statistics import Estimate, OnTest, Seeds, estimate, holm
from skewlab.report.verdicts import Verdict


@dataclass(frozen=True)
class Outcome:
    """The result of one run at the last epoch.

    Attributes:
        run: the run.
        recall: of each class on test, shape [classes]: of the network's decisions, or of those
            that a post-hoc rule makes.
    """

    run: Run
    recall: FloatArray

    @property
    def balanced_accuracy(self) -> float:
        return mean_of_present(self.recall)

    def group(self, group: str) -> float:
        """A group's mean test recall; NaN where all its classes are absent."""
        return mean_of_present(self.recall[self.run.groups[group]])

    @property
    def minority(self) -> float:
        return self.group("minority")


@dataclass(frozen=True)
class Entry:
    """A method, or a post-hoc rule on top of one, at one ratio.

    Attributes:
        label: for people.
        outcomes: by the seeds of the run.
        verdicts: on the method at this ratio, by claim; empty for a rule.
        rule: the rule's name in `post_hoc.json`; empty for a method.
    """

    label: str
    outcomes: dict[Seeds, Outcome]
    verdicts: dict[str, Verdict]
    rule: str = ""

    @property
    def runs(self) -> list[Run]:
        return [outcome.run for outcome in self.outcomes.values()]

    def mean(self, measure: "Measure") -> Estimate:
        """The mean over seeds."""
        values = {seeds: measure.value(one) for seeds, one in self.outcomes.items()}
        test = {seeds: measure.on_test(one) for seeds, one in self.outcomes.items()}
        return estimate(values, _known(test), within=measure.within)


class Measure(NamedTuple):
    """A number of an outcome.

    Attributes:
        value: the number.
        weights: its derivative by the test recall of each class, shape [classes]; None where test
            has no part in it.
        within: the least and the largest possible value.
    """

    value: Callable[[Outcome], float]
    weights: Callable[[Outcome], FloatArray] | None = None
    within: tuple[float, float] = (0, 1)

    def on_test(self, outcome: Outcome) -> OnTest | None:
        """How the test sample enters it."""
        return self.weights and outcome.run.on_test(self.weights(outcome), outcome.recall)


BALANCED_ACCURACY = Measure(
    lambda outcome: outcome.balanced_accuracy,
    lambda outcome: np.isfinite(outcome.recall) / max(int(np.isfinite(outcome.recall).sum()), 1),
)


def of_group(group: str) -> Measure:
    """A group's recall on test."""
    return Measure(
        lambda outcome: outcome.group(group), lambda outcome: outcome.run.class_weights(group)
    )


MINORITY, MAJORITY = of_group("minority"), of_group("majority")
TRAIN_MINORITY = Measure(lambda outcome: outcome.run.final("train", "recall", "minority"))
GAP = Measure(
    lambda outcome: TRAIN_MINORITY.value(outcome) - outcome.minority,
    lambda outcome: -outcome.run.class_weights("minority"),
    (-1, 1),
)


def _known(test: Mapping[Seeds, OnTest | None]) -> dict[Seeds, OnTest] | None:
    known = {seeds: one for seeds, one in test.items() if one is not None}
    return known if len(known) == len(test) else None


def pairs(entry: Entry, base: Entry) -> list[tuple[Outcome, Outcome]]:
    """Outcomes of the same seeds, (entry, base)."""
    shared = (seeds for seeds in entry.outcomes if seeds in base.outcomes)
    return [(entry.outcomes[seeds], base.outcomes[seeds]) for seeds in shared]


def difference(entry: Entry, base: Entry, measure: Measure) -> Estimate:
    """A measure of the entry minus that of the base, by seed."""
    values: dict[Seeds, float] = {}
    test: dict[Seeds, OnTest | None] = {}
    for one, other in pairs(entry, base):
        seeds = one.run.seed_key
        values[seeds] = measure.value(one) - measure.value(other)
        own, its = measure.on_test(one), measure.on_test(other)
        test[seeds] = own.minus(its) if own and its else None
    least, most = measure.within
    return estimate(values, _known(test), within=(least - most, most - least))


def corrected(
    entries: Sequence[Entry], base: Entry, measure: Measure, least_seeds: int
) -> dict[str, float]:
    """By label, the p-values of the differences to the base, corrected for how many entries are
    compared with it (Holm); NaN with too few pairs."""
    labels, p_values = [], []
    for entry in entries:
        if entry.label != base.label:
            found = difference(entry, base, measure)
            labels.append(entry.label)
            p_values.append(found.p_value(0) if found.n >= least_seeds else np.nan)
    return dict(zip(labels, holm(p_values), strict=True))


@dataclass(frozen=True)
class Method:
    """One setting among those that differ in their method only.

    Attributes:
        label: the method's name, and the keys that tell it from others of that name.
        setting: its runs, with and without post-hoc rules.
    """

    label: str
    setting: Setting


@dataclass(frozen=True)
class Comparison:
    """Methods of one data set, network and training.

    Attributes:
        label: what tells the comparison from others.
        methods: cross-entropy first, if it was trained.
        verdicts: on all settings.
    """

    label: str
    methods: list[Method]
    verdicts: Sequence[Verdict]

    @cached_property
    def ratios(self) -> list[float]:
        return sorted({ratio for method in self.methods for ratio in method.setting.ratios()})

    def base(self, ratio: float) -> Entry | None:
        """The entry of cross-entropy; None where it was not trained at this ratio."""
        first = self.methods[0]
        trained = first.setting.is_cross_entropy and first.setting.of(ratio=ratio)
        return self._entry(first, ratio) if trained else None

    def entries(self, ratio: float) -> list[Entry]:
        """Cross-entropy first, then the others by balanced accuracy, the best first; each
        method's rules after it."""
        there = [method for method in self.methods if method.setting.of(ratio=ratio)]
        ranked = [(self._entry(method, ratio), method) for method in there]
        ranked.sort(key=lambda pair: (not pair[1].setting.is_cross_entropy, -_rank(pair[0])))
        return [
            entry for own, method in ranked for entry in (own, *_rule_entries(own, method, ratio))
        ]

    def _entry(self, method: Method, ratio: float) -> Entry:
        outcomes = {
            run.seed_key: Outcome(run, run.curves["test"].values["recall"][-1])
            for run in method.setting.of(ratio=ratio)
        }
        label = method.setting.label
        judged = {v.claim: v for v in self.verdicts if (v.setting, v.ratio) == (label, ratio)}
        return Entry(method.label, outcomes, judged)


def _rank(entry: Entry) -> float:
    found = entry.mean(BALANCED_ACCURACY).mean
    return found if np.isfinite(found) else -np.inf


def _rule_entries(own: Entry, method: Method, ratio: float) -> list[Entry]:
    """An entry for each post-hoc rule, by its name and grid; each seed once."""
    found: dict[tuple[str, tuple[float, ...]], dict[Seeds, Run]] = {}
    for run in method.setting.runs:
        if run.has_rules and (run.control, run.ratio) == (NO_CONTROL, ratio):
            for name, rule in run.post_hoc.get("rules", {}).items():
                found.setdefault((name, tuple(rule["grid"])), {})[run.seed_key] = run
    entries = []
    for (name, _), runs in found.items():
        rules = {seeds: runs[seeds].post_hoc["rules"][name] for seeds in sorted(runs)}
        outcomes = {
            seeds: Outcome(runs[seeds], np.asarray(rule["recall"]["test"], dtype=np.float64))
            for seeds, rule in rules.items()
        }
        taus = span(float(rule["tau"]) for rule in rules.values())
        on = tuned_on(next(iter(rules.values())))
        words = f"{own.label} + {name.replace('_', ' ')}, tau {taus}"
        entries.append(Entry(f"{words} chosen on {on}" if on else words, outcomes, {}, name))
    return entries


def tuned_on(rule: Mapping[str, Any]) -> str | None:
    """The split that a rule's tau was chosen on; None for one that was given."""
    on: str | None = rule.get("tuned_on", "val")  # which the first version did not say of each rule
    return on


def comparisons(settings: Sequence[Setting], verdicts: Sequence[Verdict]) -> list[Comparison]:
    """The comparisons that some settings make: each has two methods or rules at least."""
    firsts = [setting.runs[0] for setting in settings]
    keys = [key for key in differing_keys(firsts) if not key.startswith((METHOD, "data.source"))]
    found = []
    for members in groups(settings):
        runs = [setting.runs[0] for setting in members]
        methods = [Method(_label(run, runs), one) for run, one in zip(runs, members, strict=True)]
        run = runs[0]
        named = [run.setting.get(key, NULL) for key in keys if key != "data.name"]
        comparison = Comparison(", ".join([run.data_name, *named]), methods, verdicts)
        if any(len(comparison.entries(ratio)) > 1 for ratio in comparison.ratios):
            found.append(comparison)
    return found


def _label(run: Run, runs: Sequence[Run]) -> str:
    """The name of a run's method; with the keys that differ where several of `runs` have it."""
    words = [run.setting[METHOD_NAME]]
    for key in differing_keys([one for one in runs if one.setting[METHOD_NAME] == words[0]]):
        if key.startswith(METHOD) and key != METHOD_NAME:
            value = run.setting.get(key, NULL)
            short = key.removeprefix(METHOD).removesuffix("._target_")
            words.append(
                f"{short}={value.rsplit('.', 1)[-1] if key.endswith('_target_') else value}"
            )
    return ", ".join(words)
