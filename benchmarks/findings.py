"""The tables of docs/findings.md from finished studies: python benchmarks/findings.py STUDY...

    python benchmarks/findings.py logs/paper logs/breadth --into docs/findings.md
    python benchmarks/findings.py logs/horizon* --into docs/findings.md --name length

Writes the verdicts, what is left of them under controls, and the recalls at the end of training as
CSV beside the page, in findings/, and as Markdown between the page's lines
`<!-- table: TABLE -->` and `<!-- end -->`, where there are such lines. Nothing else of the page
changes. With a name, tables and files are called NAME_TABLE. With --add the rows of other data,
networks, profiles and trainings stay, as the CSV files have them:

    python benchmarks/findings.py logs/another_study --into docs/findings.md --add
"""

import argparse
import csv
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skewlab.errors import BAD_INPUT, ConfigError
from skewlab.report.claims import CLAIMS
from skewlab.report.measures import mean_recall
from skewlab.report.read import Run, read_runs
from skewlab.report.settings import Setting, by_setting
from skewlab.report.statistics import Estimate
from skewlab.report.table import learned
from skewlab.report.thresholds import Thresholds
from skewlab.report.verdicts import NOT_CONTROLLED, Verdict, verdicts

Row = dict[str, str]


def about(setting: Setting) -> Row:
    """What a setting is, for the first columns of each table."""
    run = most_imbalanced(setting)
    config = run.config
    epochs = run.curves["train"].epoch[-1]
    return {
        "data": config["data"]["name"],
        "network": config["model"]["name"],
        "counts": f"{config['imbalance']['profile']}, {max(run.counts)} to {min(run.counts)}",
        "trained": f"{config['optimizer']['name']}, {epochs:g} epochs",
    }


def most_imbalanced(setting: Setting) -> Run:
    return setting.by_ratio()[-1][1][0]


def verdict_rows(settings: Sequence[Setting]) -> list[Row]:
    """A row for each verdict, with its statistic."""
    return [
        {
            **about(setting),
            "claim": found.claim,
            "ratio": f"{found.ratio:g}",
            "verdict": found.verdict,
            "statistic": measured(found.estimate),
            "threshold": found.threshold,
            "seeds": str(found.estimate.n),
            "p": number(found.p),
            "p corrected": number(found.p_corrected),
            "at the epoch best on val": found.verdict_at_best,
            "reason": found.reason,
        }
        for setting, found in judged(settings)
    ]


def judged(settings: Sequence[Setting]) -> list[tuple[Setting, Verdict]]:
    return [(setting, found) for setting in settings for found in verdicts(setting, Thresholds())]


def summary_rows(settings: Sequence[Setting]) -> list[Row]:
    """A row for each setting: the verdict on each claim, by ratio."""
    rows = []
    for setting in settings:
        row = about(setting)
        found = verdicts(setting, Thresholds())
        row["seeds"] = str(len({run.seed_key for run in setting.of()}))
        for claim in CLAIMS:
            row[claim.name] = "<br>".join(
                f"{some.ratio:g}: {shown(some)}" if some.ratio > 1 else shown(some)
                for some in found
                if some.claim == claim.name
            )
        rows.append(row)
    return rows


def shown(verdict: Verdict) -> str:
    if not verdict.estimate.n:
        return verdict.reason if verdict.reason == "not measured" else verdict.verdict
    if verdict.verdict == "not applicable":
        return verdict.verdict
    return f"{verdict.verdict}, {verdict.estimate.mean:.2f}"


def control_rows(settings: Sequence[Setting]) -> list[Row]:
    """A row for each verdict and control that was trained: what is left of the effect."""
    return [
        {
            **about(setting),
            "claim": found.claim,
            "ratio": f"{found.ratio:g}",
            "effect": measured(found.estimate),
            "the effect is there": left.label,
            "control": left.control,
            "left": measured(left.estimate),
            "outcome": left.outcome,
        }
        for setting, found in judged(settings)
        for left in found.controls
        if left.outcome != NOT_CONTROLLED and left.estimate.n
    ]


def recall_rows(settings: Sequence[Setting]) -> list[Row]:
    """A row for each setting and ratio: recalls at the last epoch, and when the minority is
    learned."""
    rows = []
    for setting in settings:
        for ratio, runs in setting.by_ratio():
            row = {**about(setting), "ratio": f"{ratio:g}", "seeds": str(len(runs))}
            profile = runs[0].config["imbalance"]["profile"]
            row["counts"] = f"{profile}, {max(runs[0].counts)} to {min(runs[0].counts)}"
            for split in ("train", "test"):
                for group in ("majority", "minority"):
                    row[f"{split} {group}"] = measured(mean_recall(runs, split, group))
            row["minority learned, updates"] = learned(runs, "minority", Thresholds())
            rows.append(row)
    return rows


def measured(found: Estimate) -> str:
    return str(found) if found.n else ""


def number(value: float) -> str:
    return "" if value != value else f"{value:.2g}"


TABLES = {
    "summary": (summary_rows, ()),
    "verdicts": (verdict_rows, ()),
    # On the page these are of one setting, or said in the caption.
    "controls": (control_rows, ("data", "network", "counts", "trained", "control")),
    "recalls": (recall_rows, ("trained",)),
}


def markdown(rows: Sequence[Row], left_out: Sequence[str] = ()) -> str:
    heads = [head for head in rows[0] if head not in left_out]
    lines = [heads, ["---"] * len(heads), *([row[head] for head in heads] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def added(rows: list[Row], path: Path) -> list[Row]:
    """The rows of a CSV file and these, which take the place of those of the same settings."""
    if not path.exists():
        return rows
    with path.open(newline="", encoding="utf-8") as file:
        kept = list(csv.DictReader(file))
    settings = {_setting(row) for row in rows}
    return [row for row in kept if _setting(row) not in settings] + rows


def _setting(row: Row) -> tuple[str, ...]:
    """What a row is about; counts fall with the ratio, their profile stays."""
    return row["data"], row["network"], row["counts"].partition(",")[0], row["trained"]


def filled(page: str, name: str, content: str) -> str:
    """The page with another content between the two lines of a table; as it is if it has none."""
    place = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    return place.sub(lambda match: f"{match[1]}\n{content}\n\n{match[2]}", page)


def main(arguments: Any = None) -> int:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    made.add_argument("studies", nargs="+", type=Path)
    made.add_argument("--into", type=Path, help="the page whose tables are written anew")
    made.add_argument("--name", default="", help="what the tables of these studies are called")
    made.add_argument("--add", action="store_true", help="keep the rows of other settings")
    given = made.parse_args(arguments)
    try:
        settings = by_setting(read_runs(given.studies).finished)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    settings = [setting for setting in settings if setting.of()]
    for table, (rows_of, left_out) in TABLES.items():
        name = f"{given.name}_{table}" if given.name else table
        rows = rows_of(settings)
        if not rows:
            continue
        print(f"\n{name}\n\n{markdown(rows, left_out)}")
        if given.into is not None:
            path = given.into.parent / given.into.stem / f"{name}.csv"
            path.parent.mkdir(exist_ok=True)
            rows = added(rows, path) if given.add else rows
            write_csv(rows, path)
            page = given.into.read_text(encoding="utf-8")
            content = filled(page, name, markdown(rows, left_out))
            given.into.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
