"""The table that ends a sweep."""

from collections.abc import Sequence

import numpy as np

from skewlab.report.load import Run, by_setting, differing_keys
from skewlab.report.quantities import time_to_learn

HEADS = (
    ("ratio", ""),
    ("seeds", ""),
    ("samples", ""),
    ("train recall", "majority"),
    ("", "minority"),
    ("test recall", "majority"),
    ("", "minority"),
    ("test gap", "maj - min"),
    ("minority gap", "train - test"),
    ("minority", "learned"),
)


def sweep_table(runs: Sequence[Run]) -> str:
    """One row a ratio and setting: means over seeds at the last epoch, and the epoch by which the
    minority of the training set is learned (median; `>30`: not within 30 epochs)."""
    keys = differing_keys(runs)
    heads = [(key.removesuffix(".name"), "") for key in keys] + list(HEADS)
    rows = []
    for setting, members in by_setting(runs).items():
        for ratio in sorted({run.ratio for run in members}):
            same = [run for run in members if run.ratio == ratio]
            rows.append([*setting, *_row(ratio, same)])
    widths = [
        max(len(cell) for cell in column)
        for column in zip(*zip(*heads, strict=True), *rows, strict=True)
    ]
    lines = [list(line) for line in zip(*heads, strict=True)]
    lines += [["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _row(ratio: float, runs: list[Run]) -> list[str]:
    recall = {
        (split, group): float(np.mean([run.final(split, "recall", group) for run in runs]))
        for split in ("train", "test")
        for group in ("majority", "minority")
    }
    samples = sorted({run.samples for run in runs})
    return [
        f"{ratio:g}",
        str(len(runs)),
        "-".join(str(number) for number in {samples[0]: 0, samples[-1]: 0}),
        f"{recall['train', 'majority']:.3f}",
        f"{recall['train', 'minority']:.3f}",
        f"{recall['test', 'majority']:.3f}",
        f"{recall['test', 'minority']:.3f}",
        f"{recall['test', 'majority'] - recall['test', 'minority']:.3f}",
        f"{recall['train', 'minority'] - recall['test', 'minority']:.3f}",
        _epochs_to_learn(runs),
    ]


def _epochs_to_learn(runs: list[Run]) -> str:
    """The median over seeds, censored runs counting as longest."""
    times = [time_to_learn(*run.group("train", "recall", "minority")) for run in runs]
    # The upper of the two middle ones, so that a censored half is said.
    middle = sorted(times)[len(times) // 2]
    if np.isinf(middle):
        return f">{max(run.curves['train'].epoch[-1] for run in runs):g}"
    return f"{middle:.3g}"
