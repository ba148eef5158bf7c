"""Methods against imbalance beside cross-entropy: which help, and in which way."""

import numpy as np
from matplotlib.figure import Figure

from skewlab.report.comparison import (
    BALANCED_ACCURACY,
    GAP,
    MAJORITY,
    MINORITY,
    TRAIN_MINORITY,
    Comparison,
    Entry,
    comparisons,
    corrected,
    difference,
    of_group,
    pairs,
    tuned_on,
)
from skewlab.report.drawing import (
    COLOURS,
    STYLES,
    FigureText,
    as_recall,
    curve,
    grid,
    label_edges,
    legend,
    panels,
    span,
)
from skewlab.report.fitting import in_lines
from skewlab.report.measures import SHOTS, shots_of
from skewlab.report.method_effects import helps_by, learned_later, overturned
from skewlab.report.read import Run
from skewlab.report.sections.section import PageSection
from skewlab.report.statistics import Estimate, estimate
from skewlab.report.table import Row, time_to_learn_columns
from skewlab.report.thresholds import Thresholds

# Of the learning curves: panels at most, panels in a row, and letters in a line of a title.
MOST_PANELS, COLUMNS, LETTERS = 60, 5, 32
CLEAR, UNCLEAR, BASE_COLOUR = "black", "#999999", "#999999"
# Beginnings of words in a command: of a search, and of keys of the method. Those of its name and
# its post-hoc rules change no training.
NOT_TUNED = "not tuned"
SEARCH, GIVEN = ("hparams_search=",), ("method.", "method/")
NO_TRAINING = ("method.name=", "method.post_hoc", "method/post_hoc")
MEASURES = {"balanced accuracy": BALANCED_ACCURACY, "test minority": MINORITY}
MAJORITY_WORDS = "test majority"


def _cell(found: Estimate) -> Estimate | str:
    """An absent number is an empty cell."""
    return found if found.n else ""


def _p_cell(p: float) -> str:
    """Below 0.001 only that: how small it is then depends on the assumed distribution."""
    if np.isnan(p):
        return ""
    return "<0.001" if p < 0.001 else f"{p:.2g}"


def result_rows(comparison: Comparison, thresholds: Thresholds) -> list[Row]:
    """A row for each ratio and entry: recalls on test, and paired differences to cross-entropy."""
    rows: list[Row] = []
    by_ratio = [(ratio, comparison.entries(ratio)) for ratio in comparison.ratios]
    has_shots = {shot for _, entries in by_ratio for one in entries for shot in shots_of(one.runs)}
    for ratio, entries in by_ratio:
        base = comparison.base(ratio)
        of_family = _corrected(entries, base, thresholds)
        for entry in entries:
            row: Row = {"method": entry.label, "ratio": ratio, "seeds": len(entry.outcomes)}
            row |= {words: _cell(entry.mean(measure)) for words, measure in MEASURES.items()}
            row[MAJORITY_WORDS] = _cell(entry.mean(MAJORITY))
            here = shots_of(entry.runs)
            row |= {
                f"test {shot}": _cell(entry.mean(of_group(shot))) if shot in here else ""
                for shot in SHOTS
                if shot in has_shots
            }
            if base is not None:
                apart: Row = {}
                for words, measure in MEASURES.items():
                    found = difference(entry, base, measure)
                    apart[f"{words}, minus {base.label}"] = _cell(found)
                    family = of_family[words].get(entry.label, np.nan)
                    apart[f"{words}, p"] = _p_cell(np.nan if np.isnan(family) else found.p_value(0))
                    apart[f"{words}, p corrected"] = _p_cell(family)
                apart[f"{MAJORITY_WORDS}, minus {base.label}"] = _cell(
                    difference(entry, base, MAJORITY)
                )
                apart["pairs"] = len(pairs(entry, base))
                row |= apart if entry.label != base.label else dict.fromkeys(apart, "")
            rows.append(row)
    return rows


def _corrected(
    entries: list[Entry], base: Entry | None, thresholds: Thresholds
) -> dict[str, dict[str, float]]:
    """By measure and label, the p-values of the differences to cross-entropy, corrected for all
    methods and rules that are compared with it at one ratio."""
    return {
        words: corrected(entries, base, measure, thresholds.least_seeds) if base else {}
        for words, measure in MEASURES.items()
    }


def dynamics_rows(comparison: Comparison, thresholds: Thresholds) -> list[Row]:
    """A row for each ratio and method: when the minority is learned, and how well it generalises.
    Rules have no row, because they change no training."""
    rows: list[Row] = []
    for ratio in comparison.ratios:
        base, entries = comparison.base(ratio), comparison.entries(ratio)
        of_family = _corrected(entries, base, thresholds)["test minority"]
        for entry in entries:
            if entry.rule:
                continue
            row: Row = {"method": entry.label, "ratio": ratio, "seeds": len(entry.outcomes)}
            if base is not None:
                apart = _dynamics(entry, base, of_family.get(entry.label, np.nan), thresholds)
                row |= apart if entry.label != base.label else dict.fromkeys(apart, "")
            row |= time_to_learn_columns(entry.runs, thresholds)
            row["train minority"] = _cell(entry.mean(TRAIN_MINORITY))
            row["minority gap"] = _cell(entry.mean(GAP))
            rows.append(row)
    return rows


def _dynamics(entry: Entry, base: Entry, p: float, thresholds: Thresholds) -> Row:
    both = learned_later(entry, base, thresholds)
    return {
        "helps by": helps_by(entry, base, p, thresholds),
        "claims overturned": overturned(entry, base),
        f"updates to learn, minus {base.label}": _cell(estimate(both)),
        "pairs that learned": f"{len(both)} of {len(pairs(entry, base))}",
        f"minority gap, minus {base.label}": _cell(difference(entry, base, GAP)),
    }


def tuned_rows(comparison: Comparison, thresholds: Thresholds) -> list[Row]:
    """A row for each ratio and each rule or search: what was chosen, from which values, by which
    score, on which split, and how many values were tried, which is its tuning budget. Then rows for
    the methods that were not tuned, together where their commands gave the same keys."""
    rows: list[Row] = []
    untuned: dict[str, list[str]] = {}
    for ratio in comparison.ratios:
        for entry in comparison.entries(ratio):
            if entry.rule:
                rows.append({"ratio": f"{ratio:g}", **_tuned_by_rule(entry)})
            elif searches := sorted({word for run in entry.runs for word in _words(run, SEARCH)}):
                objective = ", ".join(sorted({str(r.config["objective"]) for r in entry.runs}))
                rows.append(
                    {
                        "ratio": f"{ratio:g}",
                        "method": entry.label,
                        "what": "keys of the configuration, one choice a run",
                        "tuned on": objective.partition("/")[0],
                        "values tried": "one a run of the search",
                        "by": objective,
                        "chosen, by seed": "",
                        "from": ", ".join(searches),
                    }
                )
            else:
                given = sorted({word for run in entry.runs for word in _words(run, GIVEN)})
                labels = untuned.setdefault(", ".join(given), [])
                labels += [entry.label] if entry.label not in labels else []
    # Methods with keys in their command are named; the others are counted in the last row.
    rows += [_not_tuned(", ".join(labels), given) for given, labels in untuned.items() if given]
    if "" in untuned:
        others = f"all {len(untuned[''])}{' others' if rows else ''}"
        rows.append(_not_tuned(others, "keys of the configuration, none given in the command"))
    return rows


def _not_tuned(methods: str, keys: str) -> Row:
    untuned = {"tuned on": NOT_TUNED, "values tried": 0}
    return {"ratio": "all", "method": methods, "what": keys, **untuned}


def _tuned_by_rule(entry: Entry) -> Row:
    first = entry.runs[0].post_hoc
    rule = first["rules"][entry.rule]
    row: Row = {
        "method": entry.label.partition(" + ")[0],
        "what": f"tau of {entry.rule.replace('_', ' ')}",
    }
    if (on := tuned_on(rule)) is None:
        return row | {"tuned on": NOT_TUNED, "values tried": 0, "from": f"{rule['tau']:g}, given"}
    chosen = [run.post_hoc["rules"][entry.rule]["tau"] for run in entry.runs]
    return row | {
        "tuned on": f"{on} ({first['samples'][on]} samples)",
        "values tried": len(rule["grid"]),
        "by": rule.get("criterion", "balanced_accuracy").replace("_", " "),
        "chosen, by seed": ", ".join(f"{tau:g}" for tau in chosen),
        "from": ", ".join(f"{tau:g}" for tau in rule["grid"]),
    }


def _words(run: Run, beginnings: tuple[str, ...]) -> list[str]:
    """The words of a run's command with one of some beginnings; without names and rules."""
    provenance = run.status.get("provenance")
    command = provenance.get("command", []) if isinstance(provenance, dict) else []
    return [w for w in command if w.startswith(beginnings) and not w.startswith(NO_TRAINING)]


def _largest(comparison: Comparison) -> tuple[float, Entry, list[Entry]] | None:
    """The largest ratio at which a method can be compared with cross-entropy: the ratio,
    cross-entropy, and the other entries."""
    for ratio in reversed(comparison.ratios):
        base, (_, *others) = comparison.base(ratio), comparison.entries(ratio)
        if base is not None and others:
            return ratio, base, others
    return None


def differences(comparison: Comparison, thresholds: Thresholds) -> tuple[Figure, FigureText] | None:
    """Paired differences to cross-entropy with their intervals, the best at the top."""
    if (largest := _largest(comparison)) is None:
        return None
    ratio, base, entries = largest
    first = next(iter(MEASURES.values()))
    found = {entry.label: difference(entry, base, first) for entry in entries}
    # The first is drawn at the bottom. Of equals, the first in the table is at the top.
    ranked = sorted(found, key=lambda label: -one.mean if (one := found[label]).n else np.inf)[::-1]
    of_family = _corrected([base, *entries], base, thresholds)
    by_label = {entry.label: entry for entry in entries}
    figure, ((*axes,),) = grid(
        1,
        len(MEASURES),
        size=(3.4, 0.5 + 0.2 * len(ranked)),
        share_time=False,
        rows_of_text=True,
    )
    few = False
    for axis, (words, measure) in zip(axes, MEASURES.items(), strict=True):
        for place, label in enumerate(ranked):
            one = difference(by_label[label], base, measure)
            if one.n == 0:
                continue
            if one.n < thresholds.least_seeds:
                few = True
                axis.plot(one.mean, place, "o", color=UNCLEAR, mfc="none", ms=4.5)
                continue
            colour = CLEAR if of_family[words][label] < thresholds.level else UNCLEAR
            axis.plot([one.low, one.high], [place, place], color=colour, lw=1.5)
            axis.plot(one.mean, place, "o", color=colour, ms=4.5)
        axis.axvline(0, color=UNCLEAR, lw=1, ls=":")
        axis.set_xlabel(f"{words}, minus {base.label}")
        axis.locator_params(axis="x", nbins=4)
    axes[0].set_yticks(range(len(ranked)), ranked)
    axes[0].set_ylim(-0.6, len(ranked) - 0.4)
    number = span(len(pairs(entry, base)) for entry in entries)
    return figure, FigureText(
        "method_differences",
        f"Methods beside {base.label} at ratio {ratio:g}",
        f"Mean difference to {base.label} on test at the last epoch, by seed ({number}), and its "
        "95% interval; gray where it is not clear of zero among all methods (Holm). "
        + (
            "Hollow and without an interval: fewer than "
            f"{thresholds.least_seeds} seeds, which are too few for a conclusion. "
            if few
            else ""
        )
        + "The best balanced accuracy is at the top.",
    )


def curves(comparison: Comparison, thresholds: Thresholds) -> tuple[Figure, FigureText] | None:
    """The minority's recall on train and test over epochs, a panel for each method."""
    if (largest := _largest(comparison)) is None:
        return None
    ratio, base, entries = largest
    others = [entry for entry in entries if not entry.rule]
    shown = others[:MOST_PANELS]
    if not shown:
        return None
    # Few panels are made wider, so that there is room for the legend.
    wide = max(2.1, 6.9 / len(shown))
    figure, axes = panels(len(shown), columns=COLUMNS, size=(wide, 1.0 + 0.3 * wide))
    for axis, entry in zip(axes, shown, strict=True):
        for split, style in STYLES.items():
            name = f"{base.label}, {split}"
            curve(axis, base.runs, split, "minority", BASE_COLOUR, style, name=name)
            curve(
                axis, entry.runs, split, "minority", COLOURS["minority"], style,
                name=f"the method, {split}",
            )  # fmt: skip
        axis.set_title("\n".join(in_lines(entry.label, LETTERS)), fontsize=8)
        as_recall(axis)
    label_edges(axes, "recall", "epoch")
    legend(figure, axes[0])
    left_out = len(others) - len(shown)
    return figure, FigureText(
        "method_curves",
        f"How the minority is learned, by method, at ratio {ratio:g}",
        f"Recall of the minority's classes on train and test, in gray that of {base.label}; the "
        "methods by balanced accuracy on test in the end, the best first. Mean over seeds; shaded, "
        "its 95% interval. Post-hoc rules change no training and have no curves."
        + (f" {left_out} more methods are in the table." if left_out else ""),
    )


SECTION = PageSection(
    "methods",
    "Methods",
    "Runs that differ in their method only, compared with cross-entropy (ce) of the same seeds. "
    "Intervals are of each difference alone; whether a method helps is said after the correction "
    "for all methods (Holm). A post-hoc rule changes the decisions of a trained network and not "
    "its training: its row is the method plus the rule. The second table says how a method helps: "
    "recall on test is recall on train minus the generalisation gap, so a method can learn the "
    "minority earlier, or more of it, or generalise better. A way is named if its difference from "
    "ce has an interval without zero; it is not proved to be the cause. A claim is overturned if "
    "it is supported with ce and refuted with the method. The last table says what was tuned, and "
    "on which split. docs/methods.md has the formula and the paper of each method.",
    figures=(differences, curves),
    tables={
        "methods": ("Methods at the last epoch", result_rows),
        "methods_dynamics": ("How the minority is learned", dynamics_rows),
        "methods_tuned": ("What was tuned on what", tuned_rows),
    },
    subjects=comparisons,
    compares=True,
)
