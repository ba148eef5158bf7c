"""Tables: for the terminal, as CSV and as LaTeX."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skewlab.metrics.scores import scalars
from skewlab.report.claims import Verdict
from skewlab.report.quantities import time_to_learn
from skewlab.report.read import BASE, CONTROLS, Run
from skewlab.report.settings import by_setting, differing_keys
from skewlab.report.statistics import Estimate, bootstrap
from skewlab.report.thresholds import Thresholds

Row = dict[str, Any]
LATEX_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {"~": "\\textasciitilde{}", "^": "\\^{}"}


def result_rows(runs: Sequence[Run], limits: Thresholds) -> list[Row]:
    """One row a setting, control and ratio: estimates over seeds at the last epoch.

    Keys are column names; values are text, numbers, or an `Estimate`. `minority learned` is the
    median epoch by which the minority of the training set is learned, a text such as `>30` where
    it is censored: not within 30 epochs for that seed or longer.
    """
    keys = differing_keys(runs)
    controlled = any(run.control != BASE for run in runs)
    rows = []
    for setting in by_setting(runs):
        for control in (BASE, *CONTROLS):
            for ratio in setting.ratios(control):
                members = setting.of(control, ratio)
                row: Row = {
                    key.removesuffix(".name"): value
                    for key, value in zip(keys, setting.values, strict=True)
                }
                if controlled:
                    row["control"] = control
                row["ratio"] = ratio
                row["seeds"] = len(members)
                row |= _measured(members, limits)
                rows.append(row)
    return rows


def _measured(runs: list[Run], limits: Thresholds) -> Row:
    final = [
        scalars({split: _last(run, split) for split in ("train", "test")}, run.data["groups"])
        for run in runs
    ]

    def over_seeds(name: str) -> Estimate:
        return bootstrap([numbers[name] for numbers in final])

    samples = sorted({sum(run.counts) for run in runs})
    return {
        "samples": "-".join(str(n) for n in dict.fromkeys((samples[0], samples[-1]))),
        "train majority": over_seeds("train/recall/majority"),
        "train minority": over_seeds("train/recall/minority"),
        "test majority": over_seeds("test/recall/majority"),
        "test minority": over_seeds("test/recall/minority"),
        "test gap": over_seeds("gap/group/recall/test"),
        "minority gap": over_seeds("gap/generalisation/recall/minority"),
        "minority learned": epochs_to_learn(runs, limits),
    }


def _last(run: Run, split: str) -> dict[str, Any]:
    return {name: values[-1] for name, values in run.curves[split].values.items()}


def epochs_to_learn(runs: Sequence[Run], limits: Thresholds) -> str:
    """The median over seeds of the epoch by which the minority is learned, censored runs counting
    as longest."""
    times = sorted(
        time_to_learn(
            *run.group("train", "recall", "minority"), limits.learned_recall, limits.sustained
        )
        for run in runs
    )
    # The upper of the two middle ones, so that a censored half is said.
    middle = times[len(times) // 2]
    if np.isinf(middle):
        return f">{max(run.curves['train'].epoch[-1] for run in runs):g}"
    return f"{middle:.3g}"


def terminal(rows: Sequence[Row]) -> str:
    """Aligned columns; means over seeds, recalls as shares."""
    heads = list(rows[0])
    cells = [heads] + [[_text(row[head], short=True) for head in heads] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )


def _text(value: Any, short: bool = False) -> str:
    if isinstance(value, Estimate):
        return f"{value.mean:.3f}" if short else str(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """One row a line; an estimate becomes its mean, and its interval two columns more."""
    wide = []
    for row in rows:
        line: Row = {}
        for name, value in row.items():
            if isinstance(value, Estimate):
                ends = {name: value.mean, f"{name} low": value.low, f"{name} high": value.high}
                line |= {key: round(number, 6) for key, number in ends.items()}
            else:
                line[name] = value
        wide.append(line)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(k for w in wide for k in w)))
        writer.writeheader()
        writer.writerows(wide)


def write_latex(rows: Sequence[Row], path: Path) -> None:
    """A tabular for the booktabs package."""
    heads = list(dict.fromkeys(head for row in rows for head in row))
    lines = [
        f"\\begin{{tabular}}{{{'r' * len(heads)}}}",
        "\\toprule",
        " & ".join(_latex(head) for head in heads) + " \\\\",
        "\\midrule",
        *(" & ".join(_latex(_text(row.get(head, ""))) for head in heads) + " \\\\" for row in rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _latex(text: str) -> str:
    escaped = "".join(LATEX_SPECIAL.get(character, character) for character in text)
    return escaped.replace(">", "$>$").replace("<", "$<$")


def verdict_rows(verdicts: Sequence[Verdict]) -> list[Row]:
    """One row a verdict; a column for each control says which share of the effect survives it."""
    with_controls = [name for name in CONTROLS if any(_left(v, name) for v in verdicts)]
    return [
        {
            "claim": verdict.claim,
            "setting": verdict.setting,
            "ratio": verdict.ratio,
            "verdict": verdict.verdict,
            "estimate": verdict.estimate or "",
            "threshold": verdict.criterion,
            "seeds": verdict.estimate.n if verdict.estimate else 0,
            **{f"left under {name}": _left(verdict, name) for name in with_controls},
        }
        for verdict in verdicts
    ]


def _left(verdict: Verdict, control: str) -> str:
    for survival in verdict.controls:
        if survival.control == control:
            left = f"{survival.estimate.mean:.3f}"
            return f"{left} ({survival.survives.mean:.0%})" if survival.survives else left
    return ""
