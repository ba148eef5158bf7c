"""Methods compared with plain cross-entropy: the same data, network and training, the same seeds.

Settings that differ in keys below `method.` only are one comparison. A post-hoc rule changes no
training: the runs that differ in their rules are one method, and each rule is an entry beside it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skewlab.curves.scalars import FloatArray, mean_of_present
from skewlab.report.claims import Verdict
from skewlab.report.read import Run
from skewlab.report.settings import Setting, differing_keys
from skewlab.report.statistics import Estimate, bootstrap

METHOD, NAME, RULES = "method.", "method.name", "method.post_hoc"
PLAIN = frozenset({("method.loss._target_", "skewlab.methods.losses.CrossEntropy")})
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
    """Settings whose networks are trained alike; they differ in post-hoc rules at most.

    Attributes:
        label: the method's name, and what else tells it from others of that name.
        settings: those without rules first.
    """

    label: str
    settings: list[Setting]

    @cached_property
    def plain(self) -> bool:
        """Whether it is cross-entropy, and nothing else."""
        return _training(self.settings[0]) == PLAIN

    def runs(self, ratio: float) -> list[Run]:
        """Each seed once."""
        once = {run.seed_key: run for s in reversed(self.settings) for run in s.of(ratio=ratio)}
        return [once[seeds] for seeds in sorted(once)]

    def rules(self, ratio: float) -> dict[tuple[str, tuple[float, ...]], list[Run]]:
        """The runs with each post-hoc rule, by its name and grid."""
        found: dict[tuple[str, tuple[float, ...]], list[Run]] = {}
        for setting in filter(has_rules, self.settings):
            for run in setting.of(ratio=ratio):
                for name, rule in run.post_hoc.get("rules", {}).items():
                    found.setdefault((name, tuple(rule["grid"])), []).append(run)
        return found


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
        return sorted({r for method in self.methods for s in method.settings for r in s.ratios()})

    def base(self, ratio: float) -> Entry | None:
        """Plain cross-entropy; None where it was not trained at this ratio."""
        first = self.methods[0]
        return self._entry(first, ratio) if first.plain and first.runs(ratio) else None

    def entries(self, ratio: float) -> list[Entry]:
        """Cross-entropy first, then the others by balanced accuracy, the best first; each
        method's rules after it."""
        others = [m for m in self.methods if m.runs(ratio)]
        ranked = [(self._entry(method, ratio), method) for method in others]
        ranked.sort(key=lambda pair: (not pair[1].plain, -_rank(pair[0])))
        return [
            entry for own, method in ranked for entry in (own, *_rule_entries(own, method, ratio))
        ]

    def _entry(self, method: Method, ratio: float) -> Entry:
        outcomes = {
            run.seed_key: Outcome(run, run.curves["test"].values["recall"][-1])
            for run in method.runs(ratio)
        }
        label = next(s.label for s in method.settings if s.of(ratio=ratio))
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
    together: dict[object, list[Setting]] = {}
    for setting in settings:
        run = setting.runs[0]
        rest = frozenset(item for item in run.setting.items() if not item[0].startswith(METHOD))
        together.setdefault((tuple(run.data["class_names"]), rest), []).append(setting)
    firsts = [setting.runs[0] for setting in settings]
    keys = [key for key in differing_keys(firsts) if not key.startswith((METHOD, "data.source"))]
    found = []
    for members in together.values():
        run = members[0].runs[0]
        named = [run.setting.get(key, "") for key in keys if key != "data.name"]
        if len(members) == 1 and not has_rules(members[0]):
            continue
        comparison = Comparison(", ".join([run.data_name, *named]), _methods(members), verdicts)
        if any(len(comparison.entries(ratio)) > 1 for ratio in comparison.ratios):
            found.append(comparison)
    return found


def _training(setting: Setting) -> frozenset[tuple[str, str]]:
    """What of a setting's method has a say in training."""
    return frozenset(
        (key, value)
        for key, value in setting.runs[0].setting.items()
        if key.startswith(METHOD) and key != NAME and not key.startswith(RULES) and value != "None"
    )


def _methods(settings: Sequence[Setting]) -> list[Method]:
    together: dict[frozenset[tuple[str, str]], list[Setting]] = {}
    for setting in settings:
        together.setdefault(_training(setting), []).append(setting)
    names: dict[str, list[list[Setting]]] = {}
    for training, members in together.items():
        members.sort(key=has_rules)
        name = members[0].runs[0].setting[NAME]
        # The training of a rule that was run alone is cross-entropy's, whatever the whole is named.
        names.setdefault("ce" if training == PLAIN and has_rules(members[0]) else name, []).append(
            members
        )
    methods = [
        Method(_label(name, members, namesakes), members)
        for name, namesakes in names.items()
        for members in namesakes
    ]
    return sorted(methods, key=lambda method: not method.plain)


def has_rules(setting: Setting) -> bool:
    """Whether its runs apply post-hoc rules."""
    return any(key.startswith(RULES) for key in setting.runs[0].setting)


def _label(name: str, members: list[Setting], namesakes: list[list[Setting]]) -> str:
    """A method's name; with the keys that differ where several have that name."""
    if len(namesakes) == 1:
        return name
    own = members[0].runs[0].setting
    words = [name]
    for key in differing_keys([one[0].runs[0] for one in namesakes]):
        if key.startswith(METHOD) and key != NAME and not key.startswith(RULES):
            value = own.get(key, "none").rsplit(".", 1)
            short = key.removeprefix(METHOD).removesuffix("._target_")
            words.append(f"{short}={value[-1] if key.endswith('_target_') else own.get(key)}")
    return ", ".join(words)
