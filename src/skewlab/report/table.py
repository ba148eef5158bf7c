"""Tables: for the terminal, as CSV and as LaTeX."""

import csv
import functools
import itertools
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skewlab.privacy import shareable
from skewlab.report.measures import (
    CLOCKS,
    DIFFERENCE,
    GROUPS,
    SHOTS,
    learned_between,
    mean_recall,
    shots_of,
)
from skewlab.report.read import CONTROLS, NO_CONTROL, Run
from skewlab.report.settings import by_setting, differing_keys
from skewlab.report.statistics import Estimate, estimate
from skewlab.report.thresholds import Thresholds
from skewlab.report.verdicts import NOT_CONTROLLED, Verdict

Row = dict[str, Any]
LATEX_SPECIAL = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{"~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "\\": "\\textbackslash{}"},
    **{"<": "$<$", ">": "$>$", "|": "\\textbar{}"},
}
# The hyphen of a negative number.
MINUS = re.compile(r"(?<![^\s(])-(?=\d)")
# With these a cell is a formula for spreadsheets, unless it is a number.
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001
NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?%?( \([-+]?[\d.]+%?\))?", re.IGNORECASE)
# In CSV files, the columns of an interval.
ENDS = ("low", "high")
# Values that no formula and no name of a person can be in.
AS_THEY_ARE = (int, float, type(None))
# In LaTeX: columns that only CSV files have, and letters in a line of a head. In LaTeX and on the
# page: columns of which the largest mean is bold where methods are compared.
IN_CSV_ONLY = ("samples", *(f"minority learned, {clock}" for clock in CLOCKS[1:]))
HEAD_LETTERS = 12
BEST = ("balanced accuracy", "test majority", "test minority")

# The columns that a narrow terminal does without.
LEFT_OUT_FIRST = (
    *("minority learned, epochs", "samples", "minority gap", "train majority"),
    *("minority learned, updates", "test gap", "seeds"),
)


def result_rows(runs: Sequence[Run], thresholds: Thresholds) -> list[Row]:
    """A row for each setting, control and ratio: estimates over seeds at the last epoch.

    Keys are column names; values are text, numbers, or an `Estimate`. `minority learned` is what
    `epochs_to_learn` gives.
    """
    keys = differing_keys(runs)
    controlled = any(run.control != NO_CONTROL for run in runs)
    told_apart = [
        (setting, control, ratio, members)
        for setting in by_setting(runs)
        for control in (NO_CONTROL, *CONTROLS)
        for ratio, members in setting.by_ratio(control)
    ]
    has_shots = {shot for *_, members in told_apart for shot in shots_of(members)}
    rows = []
    for setting, control, ratio, members in told_apart:
        row: Row = {
            key.removesuffix(".name"): value
            for key, value in zip(keys, setting.values, strict=True)
        }
        if controlled:
            row["control"] = control
        row["ratio"] = ratio
        row["seeds"] = len(members)
        row |= _measured(members)
        here = shots_of(members)
        for shot in SHOTS:
            if shot in has_shots:
                row[f"test {shot}"] = mean_recall(members, "test", shot) if shot in here else ""
        rows.append(row | time_to_learn_columns(members, thresholds))
    return rows


def _measured(runs: list[Run]) -> Row:
    def apart(run: Run) -> float:
        """On test, the majority's recall minus the minority's."""
        return run.final("test", "recall", "majority") - run.final("test", "recall", "minority")

    majority, minority = (
        {run.seed_key: run.on_test(run.class_weights(group)) for run in runs} for group in GROUPS
    )
    gaps = {run.seed_key: run.generalisation_gap("minority") for run in runs}
    both = {seeds: majority[seeds].minus(minority[seeds]) for seeds in gaps}
    samples = sorted({sum(run.counts) for run in runs})
    return {
        "samples": "-".join(str(n) for n in dict.fromkeys((samples[0], samples[-1]))),
        **{
            f"{split} {group}": mean_recall(runs, split, group)
            for split in ("train", "test")
            for group in GROUPS
        },
        "test gap": estimate({run.seed_key: apart(run) for run in runs}, both, within=DIFFERENCE),
        "minority gap": estimate(gaps, minority, within=DIFFERENCE),
    }


def time_to_learn_columns(runs: Sequence[Run], thresholds: Thresholds) -> Row:
    """When the minority is learned, in four clocks; empty where samples are not counted."""
    return {
        f"minority learned, {name}": learned(runs, "minority", thresholds, name) for name in CLOCKS
    }


def learned(runs: Sequence[Run], group: str, thresholds: Thresholds, clock: str = "updates") -> str:
    """The median over seeds of the time at which a group is learned, as the two evaluations it lies
    between, such as `96 to 120`: no more digits than were measured. A run that never learns it
    counts as the longest; where the median is such a run, a text such as `>720`."""
    times = sorted(
        (learned_between(run, group, thresholds, clock) for run in runs),
        key=lambda between: between[::-1],
    )
    # Of an even number the later of the two in the middle: `>720` where half of them never learn.
    low, high = times[len(times) // 2]
    if np.isnan(low):
        return ""
    if np.isinf(high):
        return f">{_time(max(low for low, _ in times))}"
    return " to ".join(dict.fromkeys((_time(low), _time(high))))


def _time(value: float) -> str:
    """Four digits of a small number, and a large one as a whole number."""
    return f"{value:.4g}" if value < 1e4 else f"{value:.0f}"


def terminal(rows: Sequence[Row], width: int | None = None) -> str:
    """The rows as text in aligned columns, with the words of a head below one another; of an
    estimate its mean, of the clocks the first and the last; without many, medium and few.

    Args:
        rows: as `result_rows` gives them.
        width: in characters. Columns of `LEFT_OUT_FIRST` are left out until the table fits, and a
            line below it says which; None is as wide as all columns are.
    """
    heads = [head for head in rows[0] if not head.endswith((*CLOCKS[1:-1], *SHOTS))]
    columns = {
        head: [*head.split(" "), *(_text(row[head], short=True) for row in rows)] for head in heads
    }
    widths = {head: max(map(len, cells)) for head, cells in columns.items()}
    left_out: list[str] = []
    for head in (head for head in LEFT_OUT_FIRST if head in widths):
        if width is None or sum(widths.values()) + 2 * (len(widths) - 1) <= width:
            break
        del widths[head]
        left_out.append(head)
    tall = max(len(head.split(" ")) for head in widths)
    words = {head: [""] * (tall - len(head.split(" "))) + head.split(" ") for head in widths}
    lines = [[words[head][k] for head in widths] for k in range(tall)]
    lines.append(["-" * width for width in widths.values()])
    lines += [[_text(row[head], short=True) for head in widths] for row in rows]
    shown = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths.values(), strict=True))
        for line in lines
    ]
    if left_out:
        shown.append(f"(not shown: {'; '.join(left_out)})")
    return "\n".join(shown)


def _text(value: Any, short: bool = False) -> str:
    if isinstance(value, Estimate):
        return f"{value.mean:.3f}" if short else str(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """A line for each row; an estimate takes three columns, its mean and its interval, which is
    empty with one seed."""
    wide = []
    text = functools.cache(as_cell)  # heads, and names of runs and classes, come in every row
    estimated = {head for row in rows for head in row if isinstance(row[head], Estimate)}
    for row in rows:
        line: Row = {}
        for head, value in row.items():
            name = text(head)
            if isinstance(value, Estimate):
                ends = value.interval() if value.n > 1 else ()
                line[name] = round(value.mean, 6)
                line |= {f"{name} {k}": round(x, 6) for k, x in zip(ENDS, ends, strict=False)}
            else:
                line[name] = value if isinstance(value, AS_THEY_ARE) else text(str(value))
        wide.append(line)
    names: list[str] = []
    for head in dict.fromkeys(head for row in rows for head in row):
        names += [text(head), *(f"{text(head)} {end}" for end in ENDS if head in estimated)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=names)
        writer.writeheader()
        writer.writerows(wide)


def as_cell(text: str) -> str:
    """A text for a CSV file; one that a spreadsheet would compute begins with an apostrophe."""
    text = shareable(text)
    if text.lstrip(" ").startswith(FORMULA) and not NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def write_latex(rows: Sequence[Row], path: Path) -> None:
    """A tabular for the booktabs package, as narrow as can be: heads in several lines, and below
    each estimate its interval. Where methods are compared, the best mean of each ratio is bold."""
    heads = list(dict.fromkeys(head for row in rows for head in row))
    heads = [head for head in heads if head not in IN_CSV_ONLY]
    sides = ("l" if any(_is_text(row.get(head)) for row in rows) else "r" for head in heads)
    words = [textwrap.wrap(head, HEAD_LETTERS, break_long_words=False) or [""] for head in heads]
    tall = max(map(len, words))
    best = best_means(rows)
    body = []
    for number, row in enumerate(rows):
        # Of an estimate the mean, and the interval that stands after it in its text.
        cells = [
            str(cell).partition(" ") if isinstance(cell, Estimate) else (_text(cell), "", "")
            for cell in (row.get(head, "") for head in heads)
        ]
        body.append(
            [
                f"\\textbf{{{_latex(cell)}}}" if (number, head) in best else _latex(cell)
                for head, (cell, _, _) in zip(heads, cells, strict=True)
            ]
        )
        if any(interval for _, _, interval in cells):
            body.append([f"{{\\scriptsize {_latex(end)}}}" if end else "" for _, _, end in cells])
    lines = [
        "{\\footnotesize\\setlength{\\tabcolsep}{3pt}",
        f"\\begin{{tabular}}{{{''.join(sides)}}}",
        "\\toprule",
        *(_latex_row(_latex(([""] * (tall - len(w)) + w)[k]) for w in words) for k in range(tall)),
        "\\midrule",
        *map(_latex_row, body),
        "\\bottomrule",
        "\\end{tabular}}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + " \\\\"


def _is_text(value: Any) -> bool:
    """Whether a cell is of words, which begin at the left, and no number."""
    return isinstance(value, str) and value[:1].isalpha()


def best_means(rows: Sequence[Row]) -> set[tuple[int, str]]:
    """Where methods are compared: the row and the column of each best mean. What is compared has
    the same ratio and differs in nothing before it but the method."""
    compared: dict[tuple[Any, ...], list[int]] = {}
    for number, row in enumerate(rows):
        if "method" in row and "ratio" in row:
            before = itertools.takewhile(lambda head: head != "seeds", row)
            key = tuple(row[head] for head in before if not head.startswith("method"))
            compared.setdefault(key, []).append(number)
    found = set()
    for members, head in itertools.product(compared.values(), BEST):
        cells = {number: rows[number].get(head) for number in members}
        means = {k: round(e.mean, 3) for k, e in cells.items() if isinstance(e, Estimate)}
        if len(means) > 1:
            found |= {(k, head) for k, mean in means.items() if mean == max(means.values())}
    return found


def _latex(text: str) -> str:
    shown = "".join(c if c.isprintable() else " " for c in shareable(text))
    escaped = "".join(LATEX_SPECIAL.get(character, character) for character in shown).strip()
    escaped = MINUS.sub("$-$", escaped)
    # The end of the row above would take these for its options.
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped


def verdict_rows(verdicts: Sequence[Verdict], explained: bool = True) -> list[Row]:
    """A row for each verdict; a column for each control says what is left of the effect.

    Args:
        verdicts: of all settings.
        explained: with the reasons and commands, which are long.
    """
    with_controls = [name for name in CONTROLS if any(_left(v, name) for v in verdicts)]
    rows = []
    for verdict in verdicts:
        tested = not np.isnan(verdict.p)
        low, high = verdict.corrected if tested else (np.nan, np.nan)
        row: Row = {
            "claim": verdict.claim,
            "setting": verdict.setting,
            "ratio": verdict.ratio,
            "verdict": verdict.verdict,
            "estimate": verdict.estimate if verdict.estimate.n else "",
            "threshold": verdict.threshold,
            "seeds": verdict.estimate.n,
            "p": f"{verdict.p:.2g}" if tested else "",
            "p corrected": f"{verdict.p_corrected:.2g}" if tested else "",
            "corrected interval": f"{low:.3f} to {high:.3f}" if tested else "",
            "at the epoch best on val": f"{verdict.verdict_at_best}, {verdict.at_best}"
            if verdict.verdict_at_best
            else "",
            **{f"left under {name}": _left(verdict, name) for name in with_controls},
        }
        if explained:
            row |= {"reason": verdict.reason, "to decide": verdict.command, "note": verdict.note}
        rows.append(row)
    return rows


def _left(verdict: Verdict, control: str) -> str:
    for survival in verdict.controls:
        if survival.control == control and survival.outcome != NOT_CONTROLLED:
            return survival.outcome
    return ""
