"""Methods against imbalance beside plain cross-entropy: what helps, and in which way."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from skewlab.report.comparison import (
    Comparison,
    Entry,
    Outcome,
    comparisons,
    difference,
    estimate,
    pairs,
)
from skewlab.report.drawing import COLOURS, STYLES, Drawn, as_recall, curve, grid, legend, panels
from skewlab.report.gains import gap, helps_by, learned_later, overturned, train_minority
from skewlab.report.parts.part import PartKind
from skewlab.report.statistics import Estimate
from skewlab.report.table import Row, epochs_to_learn
from skewlab.report.thresholds import Thresholds

# Panels of learning curves; where there are more methods, these come first.
SHOWN = 10
FIRST = ("ldam_drw", "balanced_softmax", "logit_adjustment")
CLEAR, UNCLEAR, BASE_COLOUR = "black", "#999999", "#999999"
MEASURES: dict[str, Callable[[Outcome], float]] = {
    "balanced accuracy": lambda outcome: outcome.balanced_accuracy,
    "test minority": lambda outcome: outcome.minority,
}


def _cell(found: Estimate | None) -> Estimate | str:
    """An absent number is an empty cell."""
    return found or ""


def result_rows(comparison: Comparison, limits: Thresholds) -> list[Row]:
    """One row a ratio and entry: recalls on test, and differences to cross-entropy by seed."""
    rows: list[Row] = []
    for ratio in comparison.ratios:
        base = comparison.base(ratio)
        for entry in comparison.entries(ratio):
            row: Row = {"ratio": ratio, "method": entry.label, "seeds": len(entry.outcomes)}
            row |= {words: _cell(entry.mean(measure)) for words, measure in MEASURES.items()}
            if base is not None:
                apart: Row = {
                    f"{words}, minus {base.label}": _cell(difference(entry, base, measure))
                    for words, measure in MEASURES.items()
                }
                apart["pairs"] = len(pairs(entry, base))
                row |= apart if entry.label != base.label else dict.fromkeys(apart, "")
            row["test majority"] = _cell(entry.mean(lambda outcome: outcome.group("majority")))
            rows.append(row)
    return rows


def dynamics_rows(comparison: Comparison, limits: Thresholds) -> list[Row]:
    """One row a ratio and method: when the minority is learned and what of it generalises. Rules
    have no row: they change no training."""
    rows: list[Row] = []
    for ratio in comparison.ratios:
        base = comparison.base(ratio)
        for entry in comparison.entries(ratio):
            if entry.rule:
                continue
            row: Row = {"ratio": ratio, "method": entry.label, "seeds": len(entry.outcomes)}
            if base is not None:
                apart = _dynamics(entry, base, limits)
                row |= apart if entry.label != base.label else dict.fromkeys(apart, "")
            row["minority learned"] = epochs_to_learn(entry.runs, limits)
            row["train minority"] = _cell(entry.mean(train_minority))
            row["minority gap"] = _cell(entry.mean(gap))
            rows.append(row)
    return rows


def _dynamics(entry: Entry, base: Entry, limits: Thresholds) -> Row:
    both = learned_later(entry, base, limits)
    return {
        "helps by": helps_by(entry, base, limits),
        "claims overturned": overturned(entry, base),
        f"updates to learn, minus {base.label}": _cell(estimate(both)),
        "pairs that learned": f"{len(both)} of {len(pairs(entry, base))}",
        f"minority gap, minus {base.label}": _cell(difference(entry, base, gap)),
    }


def tuned_rows(comparison: Comparison, limits: Thresholds) -> list[Row]:
    """One row a ratio and rule or search: what was chosen, from what, by what, on what."""
    rows: list[Row] = []
    for ratio in comparison.ratios:
        for entry in comparison.entries(ratio):
            if entry.rule:
                rows.append({"ratio": ratio, **_tuned_by_rule(entry)})
            elif searches := sorted({word for run in entry.runs for word in _search(run.status)}):
                objective = ", ".join(sorted({str(r.config["objective"]) for r in entry.runs}))
                rows.append(
                    {
                        "ratio": ratio,
                        "method": entry.label,
                        "what": "keys of the configuration, one choice a run",
                        "from": ", ".join(searches),
                        "tuned on": objective.partition("/")[0],
                        "by": objective,
                        "chosen, by seed": "",
                    }
                )
    return rows


def _tuned_by_rule(entry: Entry) -> Row:
    first = entry.runs[0].post_hoc
    chosen = [run.post_hoc["rules"][entry.rule]["tau"] for run in entry.runs]
    return {
        "method": entry.label,
        "what": f"tau of {entry.rule.replace('_', ' ')}",
        "from": ", ".join(f"{tau:g}" for tau in first["rules"][entry.rule]["grid"]),
        "tuned on": f"{first['tuned_on']} ({first['samples'][first['tuned_on']]} samples)",
        "by": first["criterion"].replace("_", " "),
        "chosen, by seed": ", ".join(f"{tau:g}" for tau in chosen),
    }


def _search(status: dict[str, object]) -> list[str]:
    """The words of a run's command that say it was a trial of a search."""
    provenance = status.get("provenance")
    command = provenance.get("command", []) if isinstance(provenance, dict) else []
    return [word for word in command if word.startswith("hparams_search=")]


def _largest(comparison: Comparison) -> float | None:
    """The largest ratio at which there is something to compare with cross-entropy."""
    for ratio in reversed(comparison.ratios):
        if comparison.base(ratio) is not None and len(comparison.entries(ratio)) > 1:
            return ratio
    return None


def differences(comparison: Comparison, limits: Thresholds) -> tuple[Figure, Drawn] | None:
    """Paired differences to cross-entropy with their intervals, the best at the top."""
    ratio = _largest(comparison)
    base = comparison.base(ratio) if ratio is not None else None
    if ratio is None or base is None:
        return None
    entries = comparison.entries(ratio)[1:]
    first = next(iter(MEASURES.values()))
    found = {entry.label: difference(entry, base, first) for entry in entries}
    ranked = sorted(found, key=lambda label: one.mean if (one := found[label]) else -np.inf)
    by_label = {entry.label: entry for entry in entries}
    figure, ((*axes,),) = grid(
        1, len(MEASURES), size=(3.1, 0.5 + 0.19 * len(ranked)), share_time=False
    )
    for axis, (words, measure) in zip(axes, MEASURES.items(), strict=True):
        for place, label in enumerate(ranked):
            one = difference(by_label[label], base, measure)
            if one is None:
                continue
            colour = CLEAR if one.low > 0 or one.high < 0 else UNCLEAR
            axis.plot([one.low, one.high], [place, place], color=colour, lw=1.5)
            axis.plot(one.mean, place, "o", color=colour, ms=4.5)
        axis.axvline(0, color=UNCLEAR, lw=1, ls=":")
        axis.set_xlabel(f"{words}, minus {base.label}")
    axes[0].set_yticks(range(len(ranked)), ranked)
    axes[0].set_ylim(-0.6, len(ranked) - 0.4)
    figure.suptitle(f"Methods beside {base.label} at ratio {ratio:g}: {comparison.label}")
    seeds = sorted({len(pairs(entry, base)) for entry in entries})
    number = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return figure, Drawn(
        "method_differences",
        f"Methods beside {base.label} at ratio {ratio:g}",
        f"Mean difference to {base.label} on test at the last epoch, by seed ({number}), and its "
        "95% bootstrap interval; gray where the interval holds zero. The best balanced accuracy is "
        "at the top.",
    )


def curves(comparison: Comparison, limits: Thresholds) -> tuple[Figure, Drawn] | None:
    """The minority's recall on train and test over epochs, one panel a method."""
    ratio = _largest(comparison)
    base = comparison.base(ratio) if ratio is not None else None
    if ratio is None or base is None:
        return None
    others = [entry for entry in comparison.entries(ratio) if not entry.rule][1:]
    shown = _chosen(others)
    if not shown:
        return None
    # Few panels are wider, so that the legend has a place.
    wide = max(2.3, 6.9 / len(shown))
    figure, axes = panels(len(shown), columns=5, size=(wide, 1.2 + 0.3 * wide))
    for place, (axis, entry) in enumerate(zip(axes, shown, strict=True)):
        for split, style in STYLES.items():
            name = f"{base.label}, {split}"
            curve(axis, base.runs, split, "minority", BASE_COLOUR, style, name=name)
            curve(
                axis, entry.runs, split, "minority", COLOURS["minority"], style,
                name=f"the method, {split}",
            )  # fmt: skip
        axis.set_title(entry.label, fontsize=9)
        as_recall(axis)
        if place % 5 == 0:
            axis.set_ylabel("minority's recall")
        if place >= len(shown) - 5:
            axis.set_xlabel("epoch")
    legend(figure, axes[0])
    figure.suptitle(f"The minority by method at ratio {ratio:g}: {comparison.label}")
    left_out = len(others) - len(shown)
    return figure, Drawn(
        "method_curves",
        f"How the minority is learned, by method, at ratio {ratio:g}",
        f"Recall of the minority's classes on train and test, in gray that of {base.label}, by "
        "balanced accuracy in the end. Mean over seeds; shaded, its 95% bootstrap interval."
        + (f" {left_out} more methods are in the table." if left_out else ""),
    )


def _chosen(others: Sequence[Entry]) -> list[Entry]:
    """As many as are readable: the field's usual ones, then the best; in the order given."""
    if len(others) <= SHOWN:
        return list(others)
    first = sorted(others, key=lambda entry: entry.label not in FIRST)[:SHOWN]
    return [entry for entry in others if entry in first]


PART = PartKind(
    "methods",
    "Methods",
    "Runs that differ in their method only, beside plain cross-entropy (ce) of the same seeds. "
    "What helps shows in the first table, how in the second: recall on test is recall on train "
    "minus the generalisation gap, so a method can raise it by learning the minority earlier or "
    "more, or by generalising better. Named is what is clear of zero; it goes with the gain, "
    "without being proved its cause. A claim is overturned if it is supported with ce and refuted "
    "with the method. Of a method that is not in the table of what was tuned, nothing was chosen "
    "on these runs: its keys are its configuration's.",
    figures=(differences, curves),
    tables={
        "methods": ("Methods at the last epoch", result_rows),
        "methods_dynamics": ("How the minority is learned", dynamics_rows),
        "methods_tuned": ("What was tuned on what", tuned_rows),
    },
    subjects=comparisons,
)
