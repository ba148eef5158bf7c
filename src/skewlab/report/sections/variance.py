"""Where the variance between runs comes from: subset, initial weights, order, test sample.

Crossed seeds (`experiment=variance`) tell the draws apart, by the analysis of variance of a
random-effects model: a draw's component is (its mean square - the rest's) / runs at each of its
levels, or 0 where that is negative (Searle, Casella and McCulloch 1992).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from skewlab.report.drawing import FigureText, grid, legend
from skewlab.report.read import Run
from skewlab.report.sections.section import PageSection
from skewlab.report.settings import Setting
from skewlab.report.statistics import SOURCES, factors, mean_squares, test_variance
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds

REST, TEST = "their interplay, and chance", "test sample"
GROUPS = ("majority", "minority")
COLOURS = dict(
    zip((*SOURCES.values(), REST, TEST), ("#0072B2", "#009E73", "#E69F00", "#C9CCD1", "#D55E00"),
        strict=True)
)  # fmt: skip


def components(runs: Sequence[Run], group: str) -> dict[str, float] | None:
    """The variance of a group's final test recall by its source; None where the seeds of the runs
    are not a whole grid of two kinds of draws at least. A draw that was never repeated is left
    out.

    The first ones are what one more run with another such draw adds; the test sample's is of the
    mean over these runs, which more runs do not make smaller.
    """
    seeds = [run.seed_key for run in runs]
    drawn, _ = factors(seeds)
    names = []
    for levels in drawn:
        columns = zip(SOURCES.values(), zip(*seeds, strict=True), strict=True)
        moved = [name for name, one in columns if _same(np.asarray(one), levels)]
        names.append(" and ".join(moved))
    values = np.asarray([[run.final("test", "recall", group)] for run in runs])
    table = mean_squares(values, drawn) if len(drawn) > 1 else None
    if table is None:
        return None
    squares, degrees, cells = table
    rest = float(squares[-1][0])
    found = {
        name: max((float(own[0]) - rest) / (cells / (df + 1)), 0.0)
        for name, own, df in zip(names, squares[:-1], degrees[:-1], strict=True)
    }
    sample = test_variance([run.on_test(run.class_weights(group)) for run in runs])
    return {**found, REST: rest, TEST: sample}


def _same(column: np.ndarray, levels: np.ndarray) -> bool:
    """Whether two labellings part the runs in the same way."""
    pairs = {*zip(column.tolist(), levels.tolist(), strict=True)}
    return len(pairs) == len(set(column.tolist())) == len(set(levels.tolist()))


def rows(setting: Setting, thresholds: Thresholds) -> Iterator[Row]:
    """A row for each ratio and group: standard deviations."""
    for ratio, runs in setting.by_ratio():
        for group in GROUPS:
            found = components(runs, group)
            if found is not None:
                yield {
                    "ratio": ratio,
                    "group": group,
                    "runs": len(runs),
                    **{name: f"{np.sqrt(value):.4f}" for name, value in found.items()},
                }


def shares(setting: Setting, thresholds: Thresholds) -> tuple[Figure, FigureText] | None:
    """The variance of the minority's test recall, as a bar of its sources for each ratio."""
    found = {
        ratio: parts
        for ratio, runs in setting.by_ratio()
        if (parts := components(runs, "minority")) is not None
    }
    if not found:
        return None
    figure, ((axis,),) = grid(1, 1, size=(6.5, 0.4 + 0.5 * len(found)), rows_of_text=True)
    named = list(dict.fromkeys(name for parts in found.values() for name in parts))
    for row, parts in enumerate(found.values()):
        left, whole = 0.0, sum(parts.values()) or 1.0
        for name in named:
            width = parts.get(name, 0.0) / whole
            colour = COLOURS.get(name, "#7A5FB5")
            axis.barh(row, width, left=left, color=colour, label=name if not row else None)
            left += width
    axis.set_yticks(range(len(found)), [f"ratio {ratio:g}" for ratio in found])
    axis.invert_yaxis()
    axis.set_xlabel("share of the variance of the minority's test recall")
    legend(figure, axis, columns=3)
    return figure, FigureText(
        "variance",
        "Where the variance of the minority's test recall comes from",
        "Between runs that differ in one of these draws; and by the test sample, which all share.",
    )


def _crossed(settings: Sequence[Setting], verdicts: object) -> list[Setting]:
    return [
        setting
        for setting in settings
        if any(components(runs, "minority") for _, runs in setting.by_ratio())
    ]


SECTION = PageSection(
    "variance",
    "Where the variance comes from",
    "Runs whose seeds are crossed tell apart what a seed moves. Standard deviations of a group's "
    "test recall at the last epoch: of one run to another with another training subset, other "
    "initial weights, another order of samples; and of the mean over all runs, with another test "
    "sample of the same size. experiment=variance is made for it.",
    figures=(shares,),
    tables={"variance": ("Standard deviations of the test recall, by their source", rows)},
    subjects=_crossed,
)
