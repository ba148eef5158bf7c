"""Methods compared with plain cross-entropy: the same data, network and training, the same seeds.

RunConfig that differ in keys below `method.` only are one comparison. A post-hoc rule changes no
training: a run with one is a run of its method, and each rule is an entry beside the method.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skewlab.metrics.scores import FloatArray, mean_of_present
from skewlab.report.claims import Verdict
from skewlab.report.read import BASE, NAME, Run
from skewlab.report.settings import METHOD, Setting, differing_keys, groups
from skewlab.report.statistics import Estimate, bootstrap

Seeds = tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """What one run of a method has come to at the last epoch.

    Attributes:
        run: the run.
        recall: of each class on test, shape [classes]; of the network's own logits, or of those
            that a post-hoc rule gives.
    """

    run: Run
    recall: FloatArray

    @property
    def balanced_accuracy(self) -> float:
        return mean_of_present(self.recall)

    def group(self, group: str) -> float:
        """A group's mean test recall; NaN where all its classes are absent."""
        return mean_of_present(self.recall[self.run.data["groups"][group]])

    @property
    def minority(self) -> float:
        return self.group("minority")


@dataclass(frozen=True)
class Entry:
    """A method, or a post-hoc rule on top of one, at one ratio.

    Attributes:
        label: for people.
        outcomes: by seed.
        verdicts: on the method at this ratio, by claim; none of a rule.
        rule: the rule's name in `post_hoc.json`; empty for a method.
    """

    label: str
    outcomes: dict[Seeds, Outcome]
    verdicts: dict[str, Verdict]
    rule: str = ""

    @property
    def runs(self) -> list[Run]:
        return [outcome.run for outcome in self.outcomes.values()]

    def mean(self, measure: Callable[[Outcome], float]) -> Estimate | None:
        """The mean over seeds."""
        return estimate(map(measure, self.outcomes.values()))


def estimate(values: Iterable[float]) -> Estimate | None:
    """The mean of what there is; None where there is nothing: NaN is absent."""
    present = [value for value in values if np.isfinite(value)]
    return bootstrap(present) if present else None


def pairs(entry: Entry, base: Entry) -> list[tuple[Outcome, Outcome]]:
    """Outcomes of the same seeds, (entry, base)."""
    shared = (seeds for seeds in entry.outcomes if seeds in base.outcomes)
    return [(entry.outcomes[seeds], base.outcomes[seeds]) for seeds in shared]


def difference(entry: Entry, base: Entry, measure: Callable[[Outcome], float]) -> Estimate | None:
    """A measure of the entry minus that of the base, by seed."""
    return estimate(measure(one) - measure(other) for one, other in pairs(entry, base))


@dataclass(frozen=True)
class Method:
    """One setting among those that differ in their method only.

    Attributes:
        label: the method's name, and what else tells it from others of that name.
        setting: its runs; those with post-hoc rules are trained as the others.
    """

    label: str
    setting: Setting

    @property
    def plain(self) -> bool:
        """Whether it is cross-entropy, and nothing else."""
        return self.setting.runs[0].plain

    def rules(self, ratio: float) -> dict[tuple[str, tuple[float, ...]], list[Run]]:
        """The runs with each post-hoc rule, by its name and grid; each seed once."""
        found: dict[tuple[str, tuple[float, ...]], dict[Seeds, Run]] = {}
        for run in self.setting.runs:
            if run.has_rules and (run.control, run.ratio) == (BASE, ratio):
                for name, rule in run.post_hoc.get("rules", {}).items():
                    found.setdefault((name, tuple(rule["grid"])), {})[run.seed_key] = run
        return {rule: [runs[seeds] for seeds in sorted(runs)] for rule, runs in found.items()}


@dataclass(frozen=True)
class Comparison:
    """Methods of one data set, network and training.

    Attributes:
        label: what tells the comparison from others.
        methods: plain cross-entropy first where it is there.
        verdicts: on all settings.
    """

    label: str
    methods: list[Method]
    verdicts: Sequence[Verdict]

    @cached_property
    def ratios(self) -> list[float]:
        return sorted({ratio for method in self.methods for ratio in method.setting.ratios()})

    def base(self, ratio: float) -> Entry | None:
        """Plain cross-entropy; None where it was not trained at this ratio."""
        first = self.methods[0]
        trained = first.plain and first.setting.of(ratio=ratio)
        return self._entry(first, ratio) if trained else None

    def entries(self, ratio: float) -> list[Entry]:
        """Cross-entropy first, then the others by balanced accuracy, the best first; each
        method's rules after it."""
        there = [method for method in self.methods if method.setting.of(ratio=ratio)]
        ranked = [(self._entry(method, ratio), method) for method in there]
        ranked.sort(key=lambda pair: (not pair[1].plain, -_rank(pair[0])))
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
    found = entry.mean(lambda outcome: outcome.balanced_accuracy)
    return found.mean if found else -np.inf


def _rule_entries(own: Entry, method: Method, ratio: float) -> list[Entry]:
    entries = []
    for (name, _), runs in method.rules(ratio).items():
        rules = [run.post_hoc["rules"][name] for run in runs]
        outcomes = {
            run.seed_key: Outcome(run, np.asarray(rule["recall"]["test"], dtype=np.float64))
            for run, rule in zip(runs, rules, strict=True)
        }
        taus = sorted({float(rule["tau"]) for rule in rules})
        span = " to ".join(f"{tau:g}" for tau in dict.fromkeys((taus[0], taus[-1])))
        on = runs[0].post_hoc["tuned_on"]
        words = f"{own.label} + {name.replace('_', ' ')}, tau {span} chosen on {on}"
        entries.append(Entry(words, outcomes, {}, name))
    return entries


def comparisons(settings: Sequence[Setting], verdicts: Sequence[Verdict]) -> list[Comparison]:
    """The comparisons among some settings: wherever there is more than one method or rule."""
    firsts = [setting.runs[0] for setting in settings]
    keys = [key for key in differing_keys(firsts) if not key.startswith((METHOD, "data.source"))]
    found = []
    for members in groups(settings):
        run = members[0].runs[0]
        named = [run.setting.get(key, "") for key in keys if key != "data.name"]
        comparison = Comparison(", ".join([run.data_name, *named]), _methods(members), verdicts)
        if any(len(comparison.entries(ratio)) > 1 for ratio in comparison.ratios):
            found.append(comparison)
    return found


def _methods(settings: Sequence[Setting]) -> list[Method]:
    firsts = [setting.runs[0] for setting in settings]
    names = [run.setting[NAME] for run in firsts]
    return [
        Method(_label(run, [other for other in firsts if other.setting[NAME] == name]), setting)
        for run, name, setting in zip(firsts, names, settings, strict=True)
    ]


def _label(run: Run, namesakes: list[Run]) -> str:
    """A method's name; with the keys that differ where several have that name."""
    words = [run.setting[NAME]]
    for key in differing_keys(namesakes):
        if key.startswith(METHOD) and key != NAME:
            value = run.setting.get(key, "none")
            short = key.removeprefix(METHOD).removesuffix("._target_")
            words.append(
                f"{short}={value.rsplit('.', 1)[-1] if key.endswith('_target_') else value}"
            )
    return ", ".join(words)
