"""What a report has found, and how the page shows it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skewlab.report import table
from skewlab.report.claims import CLAIMS, Verdict
from skewlab.report.page import PageFigure
from skewlab.report.parts.part import Part
from skewlab.report.read import BASE, CONTROLS, Collection, Run
from skewlab.report.settings import MOST_IN_FULL, MOST_METHODS, Setting, by_setting
from skewlab.report.statistics import Estimate, band

# Curves of single classes go into the page up to so many classes; figures and files have all.
PAGE_CLASSES = 30


class Findings(NamedTuple):
    """What finished runs tell: the slow part of a report. Of the settings some, by label, are in
    full: with figures of their own, and with curves of single classes on the page."""

    settings: list[Setting]
    verdicts: list[Verdict]
    figures: list[PageFigure]
    rows: list[table.Row]
    left_out: list[str]
    parts: list[Part]
    in_full: list[str]


NOTHING_YET = Findings([], [], [], [], [], [], [])


def payload(collection: Collection, found: Findings, paths: Sequence[Path]) -> dict[str, Any]:
    """What the page shows, of JSON's types; see `page.write_page`."""
    rows = found.rows
    curves: dict[str, list[dict[str, Any]]] = {}
    unfinished = {note: by_setting(runs) for note, runs in collection.unfinished.items()}
    training = [run for runs in collection.unfinished.values() for run in runs]
    # Named among all: a lone run that trains differs from the finished ones perhaps.
    together = by_setting([*collection.finished, *training])
    labels = {run.path: setting.label for setting in together for run in setting.runs}
    for note, settings in {"": found.settings, **unfinished}.items():
        for setting in settings:
            label = labels[setting.runs[0].path]
            # Of many settings, single classes of all of them would be most of the page.
            by_class = bool(note) or setting.label in found.in_full
            curves.setdefault(label, []).extend(
                _curves(setting.of(control, ratio), control, ratio, note, by_class)
                for control in (BASE, *CONTROLS)
                for ratio in setting.ratios(control)
            )
    studies = sorted({run.path.resolve().parent.name for run in collection.runs})
    return {
        "title": f"Class imbalance and what is learned: {', '.join(studies)}",
        "generated": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "command": " ".join(["python report.py", *map(str, paths)]),
        "verdicts": [_verdict(verdict) for verdict in found.verdicts],
        "left_out": collection.left_out,
        "curves": [{"setting": label, "ratios": ratios} for label, ratios in curves.items()],
        "in_full": _in_full(found),
        "table": _table(rows),
        "parts": [
            {
                "key": part.kind.key,
                "title": part.kind.title,
                "lead": part.kind.lead,
                "compares": part.kind.compares,
                "tables": [
                    {"title": one.title, **_table(one.rows, _with_interval)} for one in part.tables
                ],
            }
            for part in found.parts
        ],
        "runs": [_provenance(run) for run in collection.runs],
    }


def _in_full(found: Findings) -> str:
    """Which settings have figures, where not all of them have."""
    left_out = len([one for one in found.settings if one.of()]) - len(found.in_full)
    if not left_out:
        return ""
    return (
        f"Of {left_out + len(found.in_full)} settings these are drawn: {'; '.join(found.in_full)}. "
        f"Of more than {MOST_METHODS} methods they are the first, which is cross-entropy where it "
        "was trained, the best two of the others and the last by balanced accuracy on test; of all "
        f"settings they are {MOST_IN_FULL} at most. Left out are the figures of the other "
        f"{left_out} and, among the learning curves above, their single classes; all tables and "
        "CSV files have them."
    )


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "claim": verdict.claim,
        "title": verdict.title,
        "setting": verdict.setting,
        "ratio": f"{verdict.ratio:g}",
        "statistic": verdict.statistic,
        "why": CLAIMS[verdict.claim].why,
        "threshold": verdict.criterion,
        "estimate": verdict.estimate and asdict(verdict.estimate),
        "seeds": verdict.estimate.n if verdict.estimate else 0,
        "verdict": verdict.verdict,
        "note": verdict.note,
        "controls": [
            {
                "control": survival.control,
                "label": survival.label,
                "estimate": asdict(survival.estimate),
                "survives": survival.survives and asdict(survival.survives),
            }
            for survival in verdict.controls
        ],
    }


def _with_interval(estimate: Estimate) -> str:
    return str(estimate) if np.isfinite(estimate.mean) else "–"  # noqa: RUF001


def _mean(estimate: Estimate) -> float:
    return round(estimate.mean, 4)


def _table(
    rows: Sequence[table.Row], shown: Callable[[Estimate], float | str] = _mean
) -> dict[str, Any]:
    """A table for the page; of an estimate its mean, or what else is to be shown of it."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return {
        "columns": columns,
        "rows": [
            [shown(cell) if isinstance(cell, Estimate) else cell for cell in map(row.get, columns)]
            for row in rows
        ],
    }


def _curves(
    runs: Sequence[Run], control: str, ratio: float, note: str, by_class: bool
) -> dict[str, Any]:
    first = runs[0]
    return {
        "ratio": ratio,
        "control": control,
        "note": note,
        "seeds": [run.seed for run in runs],
        "counts": first.counts,
        "class_names": first.data["class_names"],
        "groups": first.data["groups"],
        "splits": {split: _split(runs, split, by_class) for split in first.curves},
    }


def _split(runs: Sequence[Run], split: str, by_class: bool) -> dict[str, Any]:
    length = min(len(run.curves[split].epoch) for run in runs)
    first, groups = runs[0].curves[split], runs[0].data["groups"]
    classes = len(runs[0].counts)

    def over_seeds(metric: str, members: Sequence[int]) -> dict[str, list[float]]:
        values = np.stack([run.curves[split].group(metric, members)[:length] for run in runs])
        low, high = band(values)
        lines = {"mean": values.mean(axis=0), "low": low, "high": high}
        return {name: np.round(line, 4).tolist() for name, line in lines.items()}

    return {
        "epoch": np.round(first.epoch[:length], 4).tolist(),
        "step": first.step[:length].tolist(),
        **{
            metric: {
                **{group: over_seeds(metric, members) for group, members in groups.items()},
                "class": [over_seeds(metric, [label]) for label in range(classes)]
                if by_class and classes <= PAGE_CLASSES
                else [],
            }
            for metric in ("recall", "loss")
        },
    }


def _provenance(run: Run) -> dict[str, Any]:
    origin = run.status.get("provenance", {})
    return {
        "name": run.path.name,
        "study": run.path.resolve().parent.name,
        "state": run.state,
        "reason": run.reason,
        "seed": run.seed,
        "ratio": run.ratio,
        "seconds": run.status.get("seconds"),
        "resumed": bool(run.status.get("resumed_at")),
        "host": run.status.get("host"),
        "started": run.status.get("started"),
        "commit": origin.get("commit"),
        "changed_since_commit": origin.get("changed_since_commit"),
        "python": origin.get("python"),
        "packages": origin.get("packages", {}),
        "command": " ".join(origin.get("command", [])),
        "config": run.config_text,
    }
