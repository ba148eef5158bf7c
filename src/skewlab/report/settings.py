"""Which runs belong together: settings, and within them ratios, seeds and controls."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skewlab.report.read import BASE, Run


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

        A run that was trained again to switch probes on takes the place of the one without.
        """
        wanted = [r for r in self.runs if r.control == control and ratio in (None, r.ratio)]
        if probe is not None:
            wanted = [run for run in wanted if probe in run.probes]
        wanted.sort(key=lambda run: len(run.probes))
        once = {(run.ratio, run.seed_key): run for run in wanted}
        return [once[key] for key in sorted(once)]

    def ratios(self, control: str = BASE, probe: str | None = None) -> list[float]:
        """The ratios that a control's runs have, those with one probe if given."""
        return sorted({run.ratio for run in self.of(control, probe=probe)})


def by_setting(runs: Sequence[Run]) -> list[Setting]:
    """The settings among some runs. Data sets of one name but other classes are apart."""
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
    return settings


def paired(runs: Sequence[Run], others: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Runs of the same seeds."""
    by_seed = {run.seed_key: run for run in others}
    return [(run, by_seed[run.seed_key]) for run in runs if run.seed_key in by_seed]
