"""What a report found, and the data that the page shows of it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skewlab.metrics.scores import FloatArray
from skewlab.privacy import shareable
from skewlab.report import table
from skewlab.report.opening import opening
from skewlab.report.page import PageFigure
from skewlab.report.read import CONTROLS, NO_CONTROL, Collection, Run
from skewlab.report.sections.section import MadeSection
from skewlab.report.settings import MOST_IN_FULL, MOST_METHODS, Setting, by_setting
from skewlab.report.statistics import Estimate, band
from skewlab.report.verdicts import Verdict

# With more classes than these the page has no curves of single classes.
PAGE_CLASSES = 30


class Findings(NamedTuple):
    """What was computed from the finished runs.

    Attributes:
        settings: all of them.
        verdicts: on every claim.
        figures: in the order of the page.
        rows: of the table of results.
        left_out: what was not used, and why.
        sections: of the page.
        in_full: the labels of the settings that have figures, and curves of single classes on the
            page.
    """

    settings: list[Setting]
    verdicts: list[Verdict]
    figures: list[PageFigure]
    rows: list[table.Row]
    left_out: list[str]
    sections: list[MadeSection]
    in_full: list[str]


NOTHING_YET = Findings([], [], [], [], [], [], [])


def payload(collection: Collection, found: Findings, paths: Sequence[Path]) -> dict[str, Any]:
    """What the page shows, in types that JSON has; see `page.write_page`."""
    curves: dict[str, list[dict[str, Any]]] = {}
    unfinished = {note: by_setting(runs) for note, runs in collection.unfinished.items()}
    training = [run for runs in collection.unfinished.values() for run in runs]
    # Labels are of all runs together: a run that still trains may differ from the finished ones.
    together = by_setting([*collection.finished, *training])
    labels = {run.path: setting.label for setting in together for run in setting.runs}
    for note, settings in {"": found.settings, **unfinished}.items():
        for setting in settings:
            label = labels[setting.runs[0].path]
            # With the single classes of all of many settings the page would be too large.
            by_class = bool(note) or setting.label in found.in_full
            curves.setdefault(label, []).extend(
                _curves(runs, control, ratio, note, by_class)
                for control in (NO_CONTROL, *CONTROLS)
                for ratio, runs in setting.by_ratio(control)
            )
    studies = sorted({run.path.resolve().parent.name for run in collection.runs})
    shown = {
        "title": f"Class imbalance and what is learned: {', '.join(studies)}",
        "generated": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "command": " ".join(["python report.py", *map(str, paths)]),
        "opening": opening(found.settings),
        "verdicts": [_verdict(verdict) for verdict in found.verdicts],
        "left_out": collection.left_out,
        "curves": [{"setting": label, "ratios": ratios} for label, ratios in curves.items()],
        "in_full": _in_full(found),
        "table": _table(found.rows),
        "parts": [
            {
                "key": made.section.key,
                "title": made.section.title,
                "lead": made.section.lead,
                "compares": made.section.compares,
                "tables": [
                    {"title": one.title, **_table(one.rows, _with_interval)}
                    for one in made.tables
                    if one.title
                ],
            }
            for made in found.sections
        ],
        "runs": [_provenance(run) for run in collection.runs],
    }
    return dict(shareable(shown))


def _in_full(found: Findings) -> str:
    """Says which settings have figures; empty where all have."""
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
        **{name: getattr(verdict, name) for name in SHOWN},
        "estimate": _shown(verdict.estimate),
        "ratio": f"{verdict.ratio:g}",
        "seeds": verdict.estimate.n,
        "note": verdict.explained,
        "controls": [
            {
                "control": left.control,
                "label": left.label,
                "outcome": left.outcome,
                "estimate": _shown(left.estimate),
                "survives": _shown(left.survives),
            }
            for left in verdict.controls
        ],
    }


# What the page shows of a verdict as it is.
SHOWN = (
    *("claim", "title", "why", "needs", "setting", "statistic", "threshold", "verdict"),
    *("p", "p_corrected"),
)


def _shown(estimate: Estimate) -> dict[str, float] | None:
    """None where there is none."""
    if not estimate.n:
        return None
    low, high = estimate.interval()
    return {"mean": estimate.mean, "low": low, "high": high, "n": estimate.n}


def _with_interval(estimate: Estimate) -> str:
    return str(estimate) if np.isfinite(estimate.mean) else "–"  # noqa: RUF001


def _mean(estimate: Estimate) -> float:
    return round(estimate.mean, 4)


def _table(
    rows: Sequence[table.Row], shown: Callable[[Estimate], float | str] = _mean
) -> dict[str, Any]:
    """A table for the page, in which `shown` stands for an estimate."""
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
    # Curves of single classes are of the runs in which a class has the same role.
    alike = [run for run in runs if run.has_roles_of(runs[0])]

    def over_seeds(metric: str, group: str | int) -> dict[str, list[float]]:
        drawn = runs if isinstance(group, str) else alike
        members = [
            [group] if isinstance(group, int) else run.data["groups"][group] for run in drawn
        ]
        values = np.stack(
            [
                run.curves[split].group(metric, own)[:length]
                for run, own in zip(drawn, members, strict=True)
            ]
        )
        low, high = band(values, [run.seed_key for run in drawn])
        lines = {"mean": values.mean(axis=0), "low": low, "high": high}
        return {name: np.round(line, 4).tolist() for name, line in lines.items()}

    return {
        "epoch": np.round(first.epoch[:length], 4).tolist(),
        "step": first.step[:length].tolist(),
        **{
            metric: {
                **{group: over_seeds(metric, group) for group in groups},
                "class": [over_seeds(metric, label) for label in range(classes)]
                if by_class and classes <= PAGE_CLASSES
                else [],
            }
            for metric in ("recall", "loss")
        },
    }


def _of_group(run: Run, split: str, metric: str, group: str | int) -> FloatArray:
    """The curve of a run's own group, or of a single class."""
    members = [group] if isinstance(group, int) else run.data["groups"][group]
    return run.curves[split].group(metric, members)


def _provenance(run: Run) -> dict[str, Any]:
    origin = run.status.get("provenance", {})
    return {
        "name": run.path.name,
        "study": run.path.resolve().parent.name,
        "state": run.state,
        "reason": run.reason,
        "seed": run.seed,
        "ratio": run.ratio,
        "resumed": bool(run.status.get("resumed_at")),
        **{key: run.status.get(key) for key in ("seconds", "started")},
        **{key: origin.get(key) for key in ("commit", "changed_since_commit", "python")},
        "packages": origin.get("packages", {}),
        "command": " ".join(origin.get("command", [])),
        "config": run.config_text,
    }
