"""Which runs belong together: settings, and within them ratios, seeds and controls; and in which
order they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skewlab.metrics.scores import mean_of_present
from skewlab.report.read import BASE, Run

METHOD = "method."
# RunConfig that differ in their method only and are all drawn in full; of more, these: the first,
# which is cross-entropy, the best two of the others, and the last.
MOST_METHODS, CHOSEN = 6, (0, 1, 2, -1)
# RunConfig that are drawn in full in one report.
MOST_IN_FULL = 12


def differing_keys(runs: Sequence[Run]) -> list[str]:
    """The configuration's keys that tell these runs' settings apart, ratio, seeds and controls
    aside.

    Where a part's name tells as much as all its keys (two networks, two methods), the name alone.
    """
    keys = {key for run in runs for key in run.setting}
    differing = [key for key in sorted(keys) if len({run.setting.get(key) for run in runs}) > 1]
    kept: list[str] = []
    for section in dict.fromkeys(key.split(".")[0] for key in differing):
        members = [key for key in differing if key.split(".")[0] == section]
        name = f"{section}.name"
        if name in members:
            contents = {tuple(run.setting.get(key) for key in members) for run in runs}
            if len(contents) == len({run.setting.get(name) for run in runs}):
                members = [name]
        kept += members
    return kept


@dataclass(frozen=True)
class Setting:
    """Runs that differ in ratio, seed and control only.

    Attributes:
        label: what tells the setting from the others, for people; the data set's name at least.
        values: the values of the differing keys.
        runs: its runs.
    """

    label: str
    values: tuple[str, ...]
    runs: list[Run]

    def of(
        self, control: str = BASE, ratio: float | None = None, probe: str | None = None
    ) -> list[Run]:
        """The runs of one control, of one ratio if given, and with one probe if given, by seed;
        each seed once.

        A run that was trained again to switch probes on takes the place of the one without, and
        one without post-hoc rules that of one with them, whose curves are the same.
        """
        wanted = [r for r in self.runs if r.control == control and ratio in (None, r.ratio)]
        if probe is not None:
            wanted = [run for run in wanted if probe in run.probes]
        wanted.sort(key=lambda run: (len(run.probes), not run.has_rules))
        once = {(run.ratio, run.seed_key): run for run in wanted}
        return [once[key] for key in sorted(once)]

    def ratios(self, control: str = BASE, probe: str | None = None) -> list[float]:
        """The ratios that a control's runs have, those with one probe if given."""
        return sorted({run.ratio for run in self.of(control, probe=probe)})

    @property
    def beside(self) -> tuple[Any, ...]:
        """What settings that differ in their method only have in common."""
        run = self.runs[0]
        rest = frozenset(item for item in run.setting.items() if not item[0].startswith(METHOD))
        return tuple(run.data["class_names"]), rest

    def not_counted(self) -> list[str]:
        """Runs in whose place another counts, and why; one line each, runs with post-hoc rules
        together."""
        controls = dict.fromkeys(run.control for run in self.runs)
        used = {
            (run.control, run.ratio, run.seed_key): run
            for control in controls
            for run in self.of(control)
        }
        lines: list[str] = []
        ruled: list[str] = []
        for run in self.runs:
            other = used[run.control, run.ratio, run.seed_key]
            if other is not run and run.has_rules and not other.has_rules:
                ruled.append(str(run.config["method"]["name"]))
            elif other is not run:
                lines.append(
                    f"{run.path}: the same as {other.path.name}, which counts; a seed does once"
                )
        if ruled:
            lines.append(
                f"{self.label}: {', '.join(dict.fromkeys(ruled))} ({len(ruled)} of the runs) "
                "train as it does, so their curves are its; what post-hoc rules change is under "
                "Methods"
            )
        return lines


def by_setting(runs: Sequence[Run]) -> list[Setting]:
    """The settings among some runs, as they are shown: of those that differ in their method only,
    cross-entropy first and the others by balanced accuracy at the largest ratio, the best first.

    Data sets of one name but other classes are apart.
    """
    keys = differing_keys(runs)
    together: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        values = tuple(run.setting.get(key, "") for key in keys)
        classes = tuple(run.data["class_names"])
        together.setdefault((run.data_name, classes, values), []).append(run)
    settings = []
    for (data, classes, values), members in together.items():
        named = [
            value if key.endswith(".name") else f"{key}={value}"
            for key, value in zip(keys, values, strict=True)
            if key != "data.name" and not key.startswith("data.source")
        ]
        if sum(other[0] == data and other[2] == values for other in together) > 1:
            named.append(f"{len(classes)} classes from {classes[0]}")
        settings.append(Setting(", ".join([data, *named]), values, members))
    return [one for group in groups(settings) for one in sorted(group, key=_place)]


def groups(settings: Sequence[Setting]) -> list[list[Setting]]:
    """RunConfig that differ in their method only, together."""
    together: dict[Any, list[Setting]] = {}
    for setting in settings:
        together.setdefault(setting.beside, []).append(setting)
    return list(together.values())


def _place(setting: Setting) -> tuple[bool, float, float]:
    """Orders methods."""
    runs = setting.of(ratio=setting.ratios()[-1]) if setting.of() else []
    found = [accuracy for run in runs if np.isfinite(accuracy := balanced_accuracy(run))]
    mean = float(np.mean(found)) if found else -np.inf
    return not setting.runs[0].plain, -runs[0].ratio if runs else 0.0, -mean


def balanced_accuracy(run: Run) -> float:
    """On test at the last evaluation; NaN where test was not evaluated."""
    return (
        mean_of_present(run.curves["test"].values["recall"][-1]) if "test" in run.curves else np.nan
    )


def in_full(settings: Sequence[Setting]) -> list[Setting]:
    """Those that have figures of their own, see `MOST_METHODS`, in the same order."""
    kept = [
        setting
        for group in groups(settings)
        for setting in (group if len(group) <= MOST_METHODS else [group[k] for k in CHOSEN])
    ]
    return kept[:MOST_IN_FULL]


def paired(runs: Sequence[Run], others: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Runs of the same seeds."""
    by_seed = {run.seed_key: run for run in others}
    return [(run, by_seed[run.seed_key]) for run in runs if run.seed_key in by_seed]
