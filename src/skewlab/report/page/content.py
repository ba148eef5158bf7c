"""The data that the page shows of what a report found."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skewlab.metrics.scores import FloatArray
from skewlab.privacy import shareable
from skewlab.report import table
from skewlab.report.comparison import MAJORITY, MINORITY, Comparison, comparisons
from skewlab.report.findings import Findings
from skewlab.report.measures import POSITIVE, SHARE
from skewlab.report.opening import of_each
from skewlab.report.read import CONTROLS, METHOD_NAME, NO_CONTROL, Collection, Run
from skewlab.report.settings import MOST_IN_FULL, MOST_METHODS, Setting, by_setting, same_roles
from skewlab.report.statistics import Estimate, band
from skewlab.report.verdicts import Verdict

# With more classes than these, single classes have curves of their mean recall only; with more than
# those, none.
FEW_CLASSES, MOST_CLASSES = 30, 1000
# The least and the largest value of a metric, and of one that nothing is known of.
KNOWN_RANGES = {"recall": SHARE, "loss": POSITIVE}
ANY = (-np.inf, np.inf)
# Of the minority's classes so many are named above the curves.
MOST_NAMES = 5


def payload(collection: Collection, found: Findings, paths: Sequence[Path]) -> dict[str, Any]:
    """What the page shows, in types that JSON has; see `skewlab.report.page.write_page`."""
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
    compared = comparisons(found.settings, found.verdicts)
    studies = sorted({run.path.resolve().parent.name for run in collection.runs})
    shown = {
        "title": f"Class imbalance and what is learned: {', '.join(studies)}",
        "generated": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "command": " ".join(["python report.py", *map(str, paths)]),
        "opening": found.opening,
        "setting": of_each([one for one in found.settings if one.of()], _in_words),
        "verdicts": [_verdict(verdict) for verdict in found.verdicts],
        "left_out": collection.left_out,
        # Of these lines: what sections of the page say of runs that are used elsewhere.
        "remarks": sum(len(made.left_out) for made in found.sections),
        "curves": [{"setting": label, "ratios": ratios} for label, ratios in curves.items()],
        "side_by_side": [labels[setting.runs[0].path] for setting in _base_and_best(compared)],
        "in_full": _in_full(found),
        "trade_off": list(_trade_off(compared)),
        "confusion": list(_confusion(found.settings, found.in_full)),
        "classes": _table(list(_class_rows(found.settings, found.in_full))),
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
        f"Of more than {MOST_METHODS} methods, four are drawn: cross-entropy (or the first one), "
        "and of the others the best two and the worst by balanced accuracy on test. No more than "
        f"{MOST_IN_FULL} settings are drawn. The other {left_out} have no figures here and no "
        "curves of single classes above. All tables and CSV files have them."
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
    best = table.best_means(rows)
    return {
        "columns": columns,
        # Of each row the columns that are bold.
        "best": [
            [k for k, name in enumerate(columns) if (number, name) in best]
            for number in range(len(rows))
        ],
        # 1 and 1.0 are one number on the page: a share is shown as 1.000, a count as 1.
        "whole": [
            name == "ratio" or not any(isinstance(row.get(name), float | Estimate) for row in rows)
            for name in columns
        ],
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
        "groups": first.groups,
        # Which samples a sampler of the method's own chose is not on disk.
        "sampled": bool(first.config["method"].get("sampler")),
        "splits": {split: _split(runs, split, by_class) for split in first.curves},
    }


def _split(runs: Sequence[Run], split: str, by_class: bool) -> dict[str, Any]:
    length = min(len(run.curves[split].epoch) for run in runs)
    first = runs[0].curves[split]
    classes = len(runs[0].counts)
    groups = [name for name in runs[0].groups if all(name in run.groups for run in runs)]
    # Curves of single classes are of the runs in which a class has the same role.
    alike = same_roles(runs)
    few = classes <= FEW_CLASSES
    # The study's own metrics of `curves.metrics` too, where every run has them.
    own = (runs[0].config.get("curves") or {}).get("metrics") or {}
    metrics = [
        *("recall", "loss"),
        *(name for name in own if all(name in run.curves[split].values for run in runs)),
    ]
    within = {metric: _within(metric, runs, split) for metric in metrics}

    def over_seeds(
        metric: str, values: FloatArray, drawn: Sequence[Run], with_band: bool = True
    ) -> dict[str, list[float]]:
        lines = {"mean": values.mean(axis=0)}
        if with_band:
            seeds = [run.seed_key for run in drawn]
            lines["low"], lines["high"] = band(values, seeds, within[metric])
        return {name: np.round(line, 4).tolist() for name, line in lines.items()}

    def of_group(metric: str, group: str) -> dict[str, list[float]]:
        each = [run.curves[split].group(metric, run.groups[group])[:length] for run in runs]
        return over_seeds(metric, np.stack(each), runs)

    def of_classes(metric: str) -> list[dict[str, list[float]]]:
        if not by_class or classes > MOST_CLASSES or not (few or metric == "recall"):
            return []
        each = np.stack([run.curves[split].values[metric][:length] for run in alike])
        return [over_seeds(metric, each[..., label], alike, few) for label in range(classes)]

    return {
        "epoch": np.round(first.epoch[:length], 4).tolist(),
        "step": first.step[:length].tolist(),
        **{
            metric: {
                **{group: of_group(metric, group) for group in groups},
                "class": of_classes(metric),
            }
            for metric in metrics
        },
    }


def _within(metric: str, runs: Sequence[Run], split: str) -> tuple[float, float]:
    """The least and the largest value that are possible. A study's own metric of which all values
    are from 0 to 1 is taken for a share; otherwise nothing is known of it."""
    if metric in KNOWN_RANGES:
        return KNOWN_RANGES[metric]
    values = np.concatenate([run.curves[split].values[metric].ravel() for run in runs])
    return SHARE if np.all((values >= 0) & (values <= 1) | np.isnan(values)) else ANY


def _in_words(setting: Setting) -> str:
    """What was trained on what at the largest ratio, how long and how, in one sentence; the
    configuration of a run in another project of its owner's has a part of it."""
    run = setting.by_ratio()[-1][1][0]
    config = run.config
    optimizer, trainer = (config.get(key) or {} for key in ("optimizer", "trainer"))
    high, low = max(run.counts), min(run.counts)
    each = f"{high} of each class" if high == low else f"{high} to {low} of a class"
    how = {
        f"method {run.setting[METHOD_NAME]}": True,
        optimizer.get("_target_", "").rsplit(".", 1)[-1]: "_target_" in optimizer,
        f"learning rate {optimizer.get('lr')}": "lr" in optimizer,
        f"{trainer.get('max_epochs')} epochs": "max_epochs" in trainer,
        f"{config['data'].get('batch_size')} samples a batch": "batch_size" in config["data"],
    }
    return (
        f"{config['model'].get('name', 'a network')} on {run.data_name}, {len(run.counts)} "
        f"classes; at ratio {run.ratio:g}, {sum(run.counts)} training samples ({each}), "
        f"{_minority(setting)}; " + ", ".join(words for words, there in how.items() if there) + "."
    )


def _minority(setting: Setting) -> str:
    """Which classes are the minority, at the largest ratio."""
    runs = setting.by_ratio()[-1][1]
    labels = runs[0].data["groups"]["minority"]
    if any(set(run.data["groups"]["minority"]) != set(labels) for run in runs):
        return f"each seed draws which {len(labels)} classes are the minority"
    names = [str(runs[0].data["class_names"][label]) for label in labels[:MOST_NAMES]]
    more = f" and {len(labels) - MOST_NAMES} more" if len(labels) > MOST_NAMES else ""
    return f"the minority: {', '.join(names)}{more}"


def _confusion(settings: Sequence[Setting], in_full: Sequence[str]) -> Iterator[dict[str, Any]]:
    """For each setting that is drawn, control and ratio, the shares of each class's test samples
    that are predicted as each class at the end, the mean over seeds with the same roles."""
    for setting in settings:
        for control in (NO_CONTROL, *CONTROLS) if setting.label in in_full else ():
            for ratio, every in setting.by_ratio(control):
                runs = [
                    run for run in same_roles(every) if "confusion" in run.curves["test"].values
                ]
                if not runs:
                    continue
                total = np.sum([run.curves["test"].values["confusion"][-1] for run in runs], axis=0)
                shares = total / np.maximum(total.sum(axis=1, keepdims=True), 1)
                yield {
                    "setting": setting.label,
                    "control": control,
                    "ratio": ratio,
                    "counts": runs[0].counts,
                    "class_names": runs[0].data["class_names"],
                    "shares": np.round(shares, 3).tolist(),
                }


def _base_and_best(compared: Sequence[Comparison]) -> list[Setting]:
    """Of the first comparison cross-entropy and the best method; none where there is no such."""
    methods = [method.setting for method in compared[0].methods[:2]] if compared else []
    return methods if len(methods) == 2 and methods[0].is_cross_entropy else []


def _trade_off(compared: Sequence[Comparison]) -> Iterator[dict[str, Any]]:
    """For each method and rule at each ratio, the recall on test of both groups."""
    for comparison in compared:
        before = f"{comparison.label}: " if len(compared) > 1 else ""
        for ratio in comparison.ratios:
            base = comparison.base(ratio)
            for entry in comparison.entries(ratio):
                yield {
                    "setting": before + entry.label,
                    "base": base is not None and entry.label == base.label,
                    "ratio": ratio,
                    "majority": _shown(entry.mean(MAJORITY)),
                    "minority": _shown(entry.mean(MINORITY)),
                }


def _class_rows(settings: Sequence[Setting], in_full: Sequence[str]) -> Iterator[table.Row]:
    """For each setting that is drawn, ratio and class: its samples, and its recall at the end, the
    mean over seeds with the same roles."""
    drawn = [setting for setting in settings if setting.label in in_full]
    for setting in drawn:
        for ratio, every in setting.by_ratio():
            runs = same_roles(every)
            train, test = (
                np.mean([run.curves[split].values["recall"][-1] for run in runs], axis=0)
                for split in ("train", "test")
            )
            for label, name in enumerate(runs[0].data["class_names"]):
                groups = [group for group, own in runs[0].groups.items() if label in own]
                yield {
                    "class": str(name),
                    **({"setting": setting.label} if len(drawn) > 1 else {}),
                    "ratio": ratio,
                    "groups": ", ".join(groups),
                    "seeds": len(runs),
                    "samples": runs[0].counts[label],
                    "train recall": round(float(train[label]), 4),
                    "test recall": round(float(test[label]), 4),
                    "gap": round(float(train[label] - test[label]), 4),
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
        "resumed": bool(run.status.get("resumed_at")),
        **{key: run.status.get(key) for key in ("seconds", "started")},
        **{key: origin.get(key) for key in ("commit", "changed_since_commit", "python")},
        "packages": origin.get("packages", {}),
        "command": " ".join(origin.get("command", [])),
        "config": run.config_text,
    }
