"""Settings: runs that differ in ratio, seeds and controls only; and the order they are shown in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skewlab.metrics.scores import mean_of_present
from skewlab.privacy import shareable
from skewlab.report.read import METHOD, NO_CONTROL, Run

# Up to so many settings that differ in their method only are all drawn. Of more, these are: the
# first, which is cross-entropy, the best two of the others, and the last.
MOST_METHODS, CHOSEN = 6, (0, 1, 2, -1)
# How a key is shown that is null, or that a run's configuration does not have.
NULL = "null"
# The key of the learning rate.
RATE = "optimizer.lr"
# So many settings are drawn in one report.
MOST_IN_FULL = 12


def same_roles(runs: Sequence[Run]) -> list[Run]:
    """Of runs of one ratio, those in which the classes have the roles that they have in the first
    one: a mean of a single class is over these."""
    return [run for run in runs if run.has_roles_of(runs[0])]


def differing_keys(runs: Sequence[Run]) -> list[str]:
    """The keys in which the settings of these runs differ.

    Of a section with a `name`, such as `model`, only the name and the keys in which runs of one
    name differ.
    """
    keys = {key for run in runs for key in run.setting}
    differing = [key for key in sorted(keys) if len({run.setting.get(key) for run in runs}) > 1]
    kept: list[str] = []
    for section in dict.fromkeys(key.split(".")[0] for key in differing):
        members = [key for key in differing if key.split(".")[0] == section]
        if (name := f"{section}.name") in members:
            named = {run.setting.get(name) for run in runs}
            members = [name] + [
                key
                for key in members
                if len({(run.setting.get(name), run.setting.get(key)) for run in runs}) > len(named)
            ]
        kept += dict.fromkeys(members)
    return kept


@dataclass(frozen=True, eq=False)
class Setting:
    """Runs that differ in ratio, seeds and control only.

    Attributes:
        label: what tells the setting from the others, for people; the data set's name at least.
        values: the values of the differing keys.
        runs: its runs.
    """

    label: str
    values: tuple[str, ...]
    runs: list[Run]

    def of(
        self, control: str = NO_CONTROL, ratio: float | None = None, probe: str | None = None
    ) -> list[Run]:
        """The runs of one control, of one ratio if given, and with one probe if given, by seed;
        each seed once.

        Of two runs with the same seeds, whose curves are the same, the one with more probes
        counts, and of two with as many probes the one without post-hoc rules.
        """
        wanted = [r for r in self.runs if r.control == control and ratio in (None, r.ratio)]
        if probe is not None:
            wanted = [run for run in wanted if probe in run.probes]
        wanted.sort(key=lambda run: (len(run.probes), not run.has_rules))
        once = {(run.ratio, run.seed_key): run for run in wanted}
        return [once[key] for key in sorted(once)]

    def ratios(self, control: str = NO_CONTROL, probe: str | None = None) -> list[float]:
        """The ratios that a control's runs have, those with one probe if given."""
        return sorted({run.ratio for run in self.of(control, probe=probe)})

    def by_ratio(
        self, control: str = NO_CONTROL, probe: str | None = None
    ) -> list[tuple[float, list[Run]]]:
        """Each of `ratios` with its runs."""
        ratios = self.ratios(control, probe)
        return [(ratio, self.of(control, ratio, probe)) for ratio in ratios]

    @property
    def is_cross_entropy(self) -> bool:
        """Whether it is trained with cross-entropy and nothing else against imbalance."""
        return self.runs[0].is_cross_entropy

    @property
    def draws_classes(self) -> bool:
        """Whether each seed draws which classes are the minority."""
        return bool(self.runs[0].config["imbalance"].get("class_order") == "random")

    def at_best_on_val(self) -> "Setting | None":
        """The same setting with each run as at the epoch that is best on val; None where that is
        the last one in all runs."""
        best = [run.at_best_on_val() for run in self.runs]
        if not any(best):
            return None
        runs = [one or run for one, run in zip(best, self.runs, strict=True)]
        return replace(self, runs=runs)

    @property
    def all_but_method(self) -> tuple[Any, ...]:
        """Its classes and keys without those of its method."""
        run = self.runs[0]
        rest = frozenset(item for item in run.setting.items() if not item[0].startswith(METHOD))
        return run.samples, rest

    def not_counted(self) -> list[str]:
        """Runs that do not count because another has the same seeds, one line each. One with
        post-hoc rules has the curves of the other, and its rules are compared: it is used."""
        used = {
            (run.control, run.ratio, run.seed_key): run
            for control in {run.control for run in self.runs}
            for run in self.of(control)
        }
        others = [(run, used[run.control, run.ratio, run.seed_key]) for run in self.runs]
        return [
            f"{run.path}: the same as {other.path.name}, which counts; a seed counts once"
            for run, other in others
            if other is not run and not (run.has_rules and not other.has_rules)
        ]


def by_setting(runs: Sequence[Run]) -> list[Setting]:
    """The settings of some runs, in the order in which they are shown: of those that differ in
    their method only, cross-entropy first and the others by balanced accuracy on test at the
    largest ratio, the best first. Two data sets of one name with other classes or other content are
    two settings.
    """
    keys = differing_keys(runs)
    together: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        values = tuple(shareable(run.setting.get(key, NULL)) for key in keys)
        together.setdefault((run.data_name, run.samples, values), []).append(run)
    settings = []
    for (data, (classes, fingerprint), values), members in together.items():
        named = [
            value if key.endswith(".name") else f"{key}={value}"
            for key, value in zip(keys, values, strict=True)
            if key != "data.name" and not key.startswith("data.source")
        ]
        others = [other[1] for other in together if other[0] == data and other[2] == values]
        if len({names for names, _ in others}) > 1:
            named.append(f"{len(classes)} classes from {classes[0]}")
        if sum(names == classes for names, _ in others) > 1:
            named.append(f"content {str(fingerprint)[:8]}")
        settings.append(Setting(", ".join([data, *named]), values, members))
    return [one for group in groups(settings) for one in sorted(group, key=_place)]


def groups(settings: Sequence[Setting]) -> list[list[Setting]]:
    """The settings, those together that differ in their method only."""
    together: dict[Any, list[Setting]] = {}
    for setting in settings:
        together.setdefault(setting.all_but_method, []).append(setting)
    return list(together.values())


def _place(setting: Setting) -> tuple[bool, float, float]:
    """Sorts the settings that differ in their method only."""
    ratio, runs = setting.by_ratio()[-1] if setting.of() else (0.0, [])
    found = [score for score in map(balanced_accuracy, runs) if np.isfinite(score)]
    return not setting.is_cross_entropy, -ratio, -float(np.mean(found)) if found else np.inf


def balanced_accuracy(run: Run) -> float:
    """On test at the last evaluation; NaN where test was not evaluated."""
    test = run.curves.get("test")
    return mean_of_present(test.values["recall"][-1]) if test else np.nan


def in_full(settings: Sequence[Setting]) -> list[Setting]:
    """The settings that have figures of their own, see `MOST_METHODS`, in the same order."""
    kept = [
        setting
        for group in groups(settings)
        for setting in (group if len(group) <= MOST_METHODS else [group[k] for k in CHOSEN])
    ]
    return kept[:MOST_IN_FULL]


def tuned_rate(settings: Sequence[Setting]) -> list[Setting]:
    """Of settings that differ in the learning rate only, one that has at each ratio and control the
    runs of the rate that is best there on val: by balanced accuracy at the last epoch, the mean
    over seeds. Test has no part in it."""
    together: dict[Any, list[Setting]] = {}
    for setting in settings:
        run = setting.runs[0]
        rest = frozenset(item for item in run.setting.items() if item[0] != RATE)
        together.setdefault((run.samples, rest), []).append(setting)
    found = []
    for members in together.values():
        if len(members) < 2 or not all("val" in run.curves for m in members for run in m.runs):
            continue
        chosen: list[Run] = []
        rates: list[str] = []
        places = dict.fromkeys((run.control, run.ratio) for m in members for run in m.runs)
        for control, ratio in places:
            best = max(members, key=lambda m: _on_val(m.of(control, ratio)))
            chosen += best.of(control, ratio)
            if control == NO_CONTROL:
                rates.append(f"{best.runs[0].setting[RATE]} at ratio {ratio:g}")
        named = [word for word in members[0].label.split(", ") if not word.startswith(f"{RATE}=")]
        label = ", ".join([*named, f"{RATE} tuned on val: {', '.join(rates)}"])
        found.append(Setting(label, members[0].values, chosen))
    return found


def _on_val(runs: Sequence[Run]) -> float:
    scores = [mean_of_present(run.curves["val"].values["recall"][-1]) for run in runs]
    return float(np.mean(scores)) if scores else -np.inf


def paired(runs: Sequence[Run], others: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Each run with the one of the same seeds and the same minority, where there is one."""

    def key(run: Run) -> tuple[Any, ...]:
        return run.seed_key, tuple(run.data["groups"]["minority"])

    found = {key(run): run for run in others}
    return [(run, found[key(run)]) for run in runs if key(run) in found]
