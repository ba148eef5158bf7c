"""What a study's own probes measured: those that no other section shows."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from skewlab.metrics.scores import FloatArray
from skewlab.report.drawing import COLOURS, FigureText, spread
from skewlab.report.measures import over_seeds
from skewlab.report.sections.panels import OTHERS, Quantity, over_time
from skewlab.report.sections.section import PageSection
from skewlab.report.settings import Setting
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds
from skewlab.report.verdicts import Verdict

# A figure has at most so many rows of panels; single numbers share one as far as there are colours.
MOST_ROWS = 12


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


def section_of_others(kinds: Sequence[PageSection]) -> PageSection:
    """The section for all probes that none of these sections shows."""
    known = {kind.probe for kind in kinds}

    def others(settings: Sequence[Setting], verdicts: Sequence[Verdict]) -> list[Measured]:
        return [
            _measured(setting, probe)
            for setting in settings
            for probe in sorted({p for run in setting.of() for p in run.probes} - known)
        ]

    return PageSection(
        "other-probes",
        "Other probes",
        "What this study's own probes measured: each number, and of each array over classes the "
        "mean of both groups. Arrays of another shape are in curves.jsonl only.",
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


def over_epochs(of: Measured, thresholds: Thresholds) -> tuple[Figure, FigureText] | None:
    """Every quantity over epochs, a panel for each ratio."""
    quantities = [Quantity(name, {name: ("-", "")}) for name in of.by_class]
    quantities += [
        Quantity("", numbers={name: name for name in of.numbers[k : k + len(OTHERS)]})
        for k in range(0, len(of.numbers), len(OTHERS))
    ]
    if not quantities:
        return None
    left_out = len(quantities[MOST_ROWS:])
    return over_time(of.setting, of.probe, quantities[:MOST_ROWS]), FigureText(
        f"probe_{of.probe}",
        f"The probe {of.probe}",
        spread(of.setting) + (f" {left_out} more quantities are in the table." if left_out else ""),
    )


def rows(of: Measured, thresholds: Thresholds) -> Iterator[Row]:
    """A row for each ratio and quantity, at its last measurement."""
    for ratio, runs in of.setting.by_ratio(probe=of.probe):
        start: Row = {"probe": of.probe, "ratio": ratio, "seeds": len(runs)}
        for name in of.by_class:
            row = start | {"quantity": name}
            for group in COLOURS:
                last = [_last(run.probe_group(of.probe, name, group)) for run in runs]
                row[group] = over_seeds(runs, last)
            yield row
        for name in of.numbers:
            last = [_last(run.probes[of.probe].values[name]) for run in runs]
            yield start | {"quantity": name, "all": over_seeds(runs, last)}


def _last(values: FloatArray) -> float:
    """The last measurement of one quantity; other lines of the probe lack it."""
    measured = values[~np.isnan(values)]
    return float(measured[-1]) if len(measured) else math.nan
