"""How a sweep looks on Weights & Biases: the workspace as code.

Lines are means over the runs that differ in their seeds only (one `setting` and ratio, see
`loggers.wandb.setting_of`), shaded by the standard error. Every name is one that the
loggers write (`curves.scalars`, `loggers.ending`), those of a probe where it was on.
"""

import json
from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as panels
import wandb_workspaces.workspaces as workspaces
from wandb_workspaces.expr import Config, Metric, Ordering

from skewlab.loggers.charts import GROUPS, PROBE_CHARTS, RANKING_TITLES
from skewlab.loggers.ending import CLASSES, CURVES, SAMPLES

RATIO, SETTING = panels.Config("ratio"), panels.Config("setting")
# Probes that look at the first steps one by one, or at steps spaced on a log scale.
STEPS: dict[str, object] = {"x": "Step", "title_x": "training step, log scale", "log_x": True}
# W&B shows ten runs of a workspace unless it is told otherwise.
MOST_RUNS = 1000
RECALL = (0.0, 1.0)
KEY_FIGURES = (
    "test/recall/minority",
    "test/recall/majority",
    "train/recall/minority",
    "gap/generalisation/recall/minority",
    "test/balanced_accuracy",
)


def lines(title: str, names: Sequence[str], **options: object) -> panels.LinePlot:
    """Curves against epochs, one line for each name and setting."""
    return panels.LinePlot(
        **{
            "title": title,
            "x": "epoch",
            "y": list(names),
            "title_x": "epoch",
            "groupby": SETTING,
            "groupby_aggfunc": "mean",
            "groupby_rangefunc": "stderr",
            "max_runs_to_show": MOST_RUNS,
            "legend_position": "south",
            **options,
        }
    )


def section(name: str, *shown: object, is_open: bool = True, columns: int = 2) -> object:
    """A named part of the workspace."""
    layout = workspaces.SectionLayoutSettings(columns=columns, rows=-(-len(shown) // columns))
    return workspaces.Section(
        name=name, panels=list(shown), is_open=is_open, layout_settings=layout
    )


def minority_and_majority() -> object:
    """What is learned of both groups, on train and test; and the first steps one by one."""
    both = [
        lines(
            f"{metric} on {split}",
            [f"{split}/{metric}/{group}" for group in GROUPS],
            range_y=RECALL if metric == "recall" else (0.0, None),
        )
        for metric in ("recall", "loss")
        for split in ("train", "test")
    ]
    early = lines(
        "recall on train, the first steps",
        [f"train/recall/{group}" for group in GROUPS],
        range_y=RECALL,
        **STEPS,
    )
    means = lines(
        "balanced accuracy",
        [f"{split}/balanced_accuracy" for split in ("train", "val", "test")],
        range_y=RECALL,
    )
    return section("minority and majority", *both, early, means)


def rankings() -> object:
    """How well the classes of each group are ranked above all others."""
    both = [
        lines(
            f"{title} on {split}",
            [f"{split}/{metric}/{group}" for group in GROUPS],
            range_y=RECALL,
        )
        for metric, title in RANKING_TITLES.items()
        for split in ("train", "test")
    ]
    return section("rankings", *both, is_open=False)


def per_class() -> object:
    """Every class by its own curve, and the table and the picture that each run ends with."""
    curves = [
        lines(
            f"{metric} on {split}, each class",
            [],
            metric_regex=f"^{split}/{metric}/class/.*",
            range_y=RECALL if metric == "recall" else (0.0, None),
        )
        for metric in ("recall", "loss")
        for split in ("train", "test")
    ]
    table = panels.WeavePanelSummaryTable(table_name=CLASSES)
    pictures = panels.MediaBrowser(title="each run at a glance", media_keys=[CURVES])
    return section("per class", *curves, table, pictures, is_open=False)


def gaps() -> object:
    """Train minus test, and majority minus minority; the former also against the ratio."""
    curves = [
        lines(f"{metric}, train minus test", [f"gap/generalisation/{metric}/{g}" for g in GROUPS])
        for metric in ("recall", "loss")
    ] + [
        lines(
            f"{metric}, majority minus minority",
            [f"gap/group/{metric}/{split}" for split in ("train", "test")],
        )
        for metric in ("recall", "loss")
    ]
    at_the_end = [
        panels.ScatterPlot(
            title=f"{title}, at the end, against the ratio",
            x=RATIO,
            y=panels.SummaryMetric(name),
            log_x=True,
        )
        for title, name in (
            ("recall of the minority, train minus test", "gap/generalisation/recall/minority"),
            ("recall of the minority on test", "test/recall/minority"),
        )
    ]
    return section("gaps", *curves, *at_the_end)


def probe(name: str, **options: object) -> list[panels.LinePlot]:
    """The charts of a probe."""
    return [lines(title, names, **options) for title, names in PROBE_CHARTS[name].items()]


def first_steps_and_gradients() -> object:
    """The minority initial drop, and whose gradient moves the network."""
    shown = [*probe("initial_drop", **STEPS), *probe("gradients", **STEPS)]
    return section("first steps and gradients", *shown, is_open=False)


def margins_and_geometry() -> object:
    """How far the true class's logit is ahead, the probability that it is given, and where the
    classes lie in feature space."""
    shown = [
        lines(f"{metric} on {split}", [f"{split}/{metric}/{group}" for group in GROUPS])
        for metric in ("margin", "confidence")
        for split in ("train", "test")
    ]
    return section("margins and geometry", *shown, *probe("geometry"), is_open=False)


def calibration_heads_and_samples() -> object:
    """Whether probabilities can be believed, what other heads make of the features, and what
    became of single training samples."""
    pictures = panels.MediaBrowser(title="the minority's samples", media_keys=[SAMPLES])
    charts = [*probe("calibration"), *probe("representation"), *probe("samples")]
    return section("calibration, heads and samples", *charts, pictures, is_open=False)


def all_runs() -> object:
    """RunConfig against results, run by run."""
    columns = [RATIO, panels.Config("seed"), *(panels.SummaryMetric(name) for name in KEY_FIGURES)]
    bars = [
        panels.BarPlot(
            title=f"{name}, by setting",
            metrics=[name],
            groupby=SETTING,
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
            max_runs_to_show=MOST_RUNS,
        )
        for name in ("test/recall/minority", "test/recall/majority")
    ]
    return section(
        "all runs",
        panels.ParallelCoordinatesPlot(
            columns=[panels.ParallelCoordinatesPlotColumn(metric=column) for column in columns]
        ),
        panels.RunComparer(diff_only=True),
        *bars,
        is_open=False,
    )


def workspace(entity: str, project: str, study: str | None = None) -> workspaces.Workspace:
    """The workspace, not yet saved; needs no key and no network.

    Args:
        entity: the user or team on W&B.
        project: the project that the runs are in.
        study: show this study's runs only; None shows all of the project.
    """
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=f"skewlab: {study or 'all studies'}",
        sections=[
            minority_and_majority(),
            rankings(),
            per_class(),
            gaps(),
            first_steps_and_gradients(),
            margins_and_geometry(),
            calibration_heads_and_samples(),
            all_runs(),
        ],
        settings=workspaces.WorkspaceSettings(
            x_axis="epoch",
            max_runs=MOST_RUNS,
            sort_panels_alphabetically=False,
            group_by_prefix="first",
        ),
        runset_settings=workspaces.RunsetSettings(
            filters=[Metric("Group") == study] if study else [],
            groupby=[Config("setting")],
            order=[Ordering(Config("ratio")), Ordering(Config("seed"))],
            pinned_columns=[
                *("config:setting", "config:seed"),
                *(f"summary:{name}" for name in KEY_FIGURES),
            ],
        ),
    )


def specification(made: workspaces.Workspace) -> dict[str, Any]:
    """What W&B keeps of a workspace, as plain types."""
    text = made._to_model().model_dump_json(by_alias=True, exclude_none=True)
    kept = json.loads(text)
    assert isinstance(kept, dict)
    return kept
