"""What probes measured that no part of the report knows: a study's own ones."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from skewlab.report.claims import Verdict
from skewlab.report.drawing import Drawn, spread
from skewlab.report.parts.panels import OTHERS, Quantity, over_time
from skewlab.report.parts.part import PartKind
from skewlab.report.settings import Setting
from skewlab.report.statistics import bootstrap
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds

# Rows of panels in one figure; single numbers share one as far as there are colours.
MOST = 12
GROUPS = ("majority", "minority")


class Measured(NamedTuple):
    """One probe on the runs of one setting.

    Attributes:
        label: the probe, and the setting.
        setting: the runs.
        probe: its name.
        by_class: its arrays over classes, by name.
        numbers: its single numbers.
    """

    label: str
    setting: Setting
    probe: str
    by_class: list[str]
    numbers: list[str]


def part_beside(kinds: Sequence[PartKind]) -> PartKind:
    """The part for all probes that none of these parts shows."""
    known = {kind.probe for kind in kinds}

    def others(settings: Sequence[Setting], verdicts: Sequence[Verdict]) -> list[Measured]:
        return [
            _measured(setting, probe)
            for setting in settings
            for probe in sorted({p for run in setting.of() for p in run.probes} - known)
        ]

    return PartKind(
        "other-probes",
        "Other probes",
        "What probes of this study's own measured: each number, and of what is measured class by "
        "class the mean of both groups. Arrays of another shape are in curves.jsonl only.",
        figures=(over_epochs,),
        tables={"other_probes": ("At the last measurement", rows)},
        subjects=others,
    )


def _measured(setting: Setting, probe: str) -> Measured:
    run = setting.of(probe=probe)[0]
    shapes = {name: value.shape[1:] for name, value in run.probes[probe].values.items()}
    by_class = [name for name, shape in shapes.items() if shape == (len(run.counts),)]
    numbers = [name for name, shape in shapes.items() if not shape]
    return Measured(f"{probe}, {setting.label}", setting, probe, by_class, numbers)


def over_epochs(of: Measured, limits: Thresholds) -> tuple[Figure, Drawn] | None:
    """Every quantity over epochs, one panel a ratio."""
    quantities = [Quantity(name, {name: ("-", "")}) for name in of.by_class]
    quantities += [
        Quantity("", numbers={name: name for name in of.numbers[k : k + len(OTHERS)]})
        for k in range(0, len(of.numbers), len(OTHERS))
    ]
    if not quantities:
        return None
    left_out = len(quantities[MOST:])
    return over_time(of.setting, of.probe, quantities[:MOST]), Drawn(
        f"probe_{of.probe}",
        f"The probe {of.probe}",
        spread(of.setting) + (f" {left_out} more quantities are in the table." if left_out else ""),
    )


def rows(of: Measured, limits: Thresholds) -> list[Row]:
    """One row a ratio and quantity, at the last measurement."""
    found: list[Row] = []
    for ratio in of.setting.ratios(probe=of.probe):
        runs = of.setting.of(ratio=ratio, probe=of.probe)
        start: Row = {"probe": of.probe, "ratio": ratio, "seeds": len(runs)}
        for name in of.by_class:
            row = start | {"quantity": name}
            for group in GROUPS:
                members = runs[0].data["groups"][group]
                last = [run.probes[of.probe].group(name, members)[-1] for run in runs]
                row[group] = bootstrap(last)
            found.append(row)
        for name in of.numbers:
            last = [run.probes[of.probe].values[name][-1] for run in runs]
            found.append(start | {"quantity": name, "all": bootstrap(last)})
    return found
