"""Prints the end of a sweep or search: the results, what failed, and where everything is."""

import math
import os
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from skewlab.errors import FAILED, HUNG_UP, INTERRUPTED, TERMINATED, ConfigError, Damaged
from skewlab.preemption import STOPPED_VARIABLE
from skewlab.report import table
from skewlab.report.build import build_report, summary_lines
from skewlab.report.claims import Claim, load_claims
from skewlab.report.drawing import STYLE, legend, new_figure, save
from skewlab.report.figures import learning_curves, recall_over_time
from skewlab.report.opening import opening
from skewlab.report.read import Run, read_run
from skewlab.report.sections.own import load_sections
from skewlab.report.sections.section import PageSection
from skewlab.report.settings import Setting, by_setting, in_full
from skewlab.report.thresholds import Thresholds
from skewlab.runs import wandb_files
from skewlab.runs.folder import DIVERGED, DONE, PREEMPTED, RUNNING, RunFolder
from skewlab.runs.lock import owner_of
from skewlab.runs.reading import read_numbers
from skewlab.terminal import paragraph

FIGURE = "curves.png"
NO_REASON = "ended without saying why: killed, or the disk was full"
# So many runs of a search are listed, the best ones.
MOST_LISTED = 10
# So many settings are drawn in `FIGURE`, a row each.
MOST_ROWS = 6
# In inches: one of its panels, and the room below a row's name.
PANEL, NAME = (2.9, 2.3), 0.3
# Letters of a row's name for each inch.
LETTERS_AN_INCH = 14


def end_sweep(
    paths: Sequence[Path],
    rerun: str,
    claims: Sequence[str] = (),
    sections: Sequence[str] = (),
    refused: Mapping[Path, str] | None = None,
) -> int:
    """Print how a sweep's runs ended; write `<study>/curves.png` and `<study>/report/`.

    The table is of these runs, the report of all runs in their studies.

    Args:
        paths: the runs' folders.
        rerun: the command that trains what is not finished.
        claims: paths of the study's own claims, of the key `report_claims`.
        sections: paths of its own sections, of the key `report_sections`.
        refused: why a folder was left as it is, for those that hold something else than they
            should.

    Returns:
        The exit code: 1 if any run failed, was refused, or is gone; else 143 if any was stopped by
        SIGTERM, 129 by a closed terminal, 130 by Ctrl-C; else 0. A run that diverged has a result,
        and one that another process trains is not finished: neither counts as failed.
    """
    refused = refused or {}
    own_claims = load_claims(claims, "report_claims")
    own_sections = load_sections(sections, "report_sections")
    runs: list[Run] = []
    failed: list[str] = []
    stopped: list[str] = []
    elsewhere: list[str] = []
    absent: list[str] = []
    for path in paths:
        try:
            if path in refused:
                raise ConfigError(refused[path])
            status = RunFolder(path).status()
        except ConfigError as error:
            failed.append(f"{path.name}: {error}")
            continue
        state, reason = status.get("state"), status.get("reason") or "no reason known"
        if state in (RUNNING, None) and (owner := owner_of(path)):
            elsewhere.append(f"{path.name}: {owner}")
        elif state == PREEMPTED:
            stopped.append(f"{path.name}: {reason}")
        elif state is None:
            absent.append(f"{path.name}: not begun")
        elif state == DIVERGED:
            print(paragraph(f"{path.name}: {reason}; its curves end there"))
        elif state == DONE:
            try:
                runs.append(read_run(path)[0])
            except Damaged as damage:
                failed.append(str(damage))
        else:
            failed.append(f"{path.name}: {NO_REASON if state == RUNNING else reason}")
    if runs:
        width = shutil.get_terminal_size((0, 0)).columns or None  # of no terminal
        print(f"\n{table.terminal(table.result_rows(runs, Thresholds()), width)}\n")
        for study in sorted({run.path.parent for run in runs}):
            try:
                own = [run for run in runs if run.path.parent == study]
                _report(study, own, own_claims, own_sections)
            except (OSError, ConfigError) as error:  # a full disk: the runs are done all the same
                failed.append(f"the report of {study}: {error}")
    _print_viewers(paths, runs)
    # After a stop the other runs are not begun. Otherwise something has removed them.
    if stopped or os.environ.get(STOPPED_VARIABLE):
        stopped += absent
    else:
        failed += absent
    for what, lines in (
        ("failed", failed),
        ("were stopped", stopped),
        ("are being trained by another process", elsewhere),
    ):
        if lines:
            print("\n" + paragraph(f"{len(lines)} of {len(paths)} runs {what}:"))
            for line in lines:
                print(paragraph(f"  {line}"))
    if elsewhere:
        print("The same command shows the whole table once they have ended.")
    if failed or stopped:
        print(f"To train just these, from where they stopped:\n  {rerun}")
    if failed:
        return FAILED
    for name, code in (("SIGTERM", TERMINATED), ("SIGHUP", HUNG_UP)):
        if any(name in line for line in stopped):
            return code
    return INTERRUPTED if stopped else 0


def end_search(study: Path, objective: str, rerun: str) -> int:
    """Print what a search found, over all runs in its study. The test split is not used.

    Args:
        study: the study's folder.
        objective: what was maximised, by its name in `summary.json`.
        rerun: the command that goes on with the search.

    Returns:
        The exit code, as of `end_sweep`.
    """
    runs: list[Run] = []
    lost: dict[str, str] = {}
    scores: dict[Path, float] = {}
    for path in sorted(path.parent for path in study.glob("*/status.json")):
        try:
            status = RunFolder(path).status()
            if status.get("state") == DONE:
                scores[path] = read_numbers(path / "summary.json").get(objective, math.nan)
                runs.append(read_run(path)[0])
                continue
        except Damaged as damage:
            lost[path.name] = str(damage)
            continue
        if status.get("state") != DIVERGED:
            lost[path.name] = f"{status.get('state')}, {status.get('reason')}"
    found = [
        (scores[run.path], setting.label, run)
        for setting in by_setting(runs)
        for run in setting.runs
    ]
    found.sort(key=lambda entry: entry[0], reverse=True)
    print(f"\n{objective} of {len(found)} runs, the best first; test had no part in it")
    for value, label, run in found[:MOST_LISTED]:
        print(f"  {value:.4f}  {label}  {run.path.name}")
    if found:
        print(f"best    {study / 'optimization_results.yaml'}\nruns    {study}/<run>/")
    if lost:
        print(f"\n{len(lost)} runs did not end:")
        for name, reason in lost.items():
            print(paragraph(f"  {name}: {reason}"))
        print(f"To go on:\n  {rerun}")
        return TERMINATED if all(why.startswith(PREEMPTED) for why in lost.values()) else FAILED
    return 0


def _print_viewers(paths: Sequence[Path], runs: Sequence[Run]) -> None:
    """Print the commands that show or upload what the loggers recorded."""
    for study in {path.parent for path in paths}:
        wandb_files.prune(study)
    if (command := wandb_files.sync_command(paths)) is not None:
        print(f"W&B     {command}")
    used = {name for run in runs for name in run.config.get("logger") or ()}
    logs = paths[0].parent.parent
    if "tensorboard" in used:
        print(f"view    tensorboard --logdir {logs}")
    if "trackio" in used:
        print(f"view    TRACKIO_DIR={logs / 'trackio'} trackio show")


def _report(
    study: Path, own: list[Run], claims: Sequence[Claim], sections: Sequence[PageSection]
) -> None:
    report = build_report([study], Thresholds(), claims=claims, sections=sections)
    scope = f" of all {report.runs} runs in {study}" if report.runs > len(own) else ""
    # What was found is said of the runs in the table.
    settings = by_setting(own)
    for line in summary_lines(report._replace(opening=opening(settings, Thresholds())), scope):
        print(line)
    if shown := _draw_curves(settings, study / FIGURE):
        print(paragraph(f"figure  {study / FIGURE}  ({shown})"))
    files = "curves.jsonl, summary.json, data.json, checkpoints/"
    print(paragraph(f"runs    {study}/<run>/  {files}"))


def _draw_curves(settings: Sequence[Setting], path: Path) -> str:
    """Draw the learning curves of settings that were evaluated on test and are not controls alone:
    of one as in the report, of several in a row each.

    Returns:
        What the figure shows; empty where there is none.
    """
    tested = [s for s in settings if s.of() and all("test" in run.curves for run in s.of())]
    drawn = in_full(tested)[:MOST_ROWS]
    if not drawn:
        return ""
    with mpl.rc_context(STYLE):
        alone = len(tested) == 1
        save(learning_curves(drawn[0], Thresholds())[0] if alone else _rows(drawn), path)
    if alone:
        return "learning curves of these runs"
    which = "" if len(drawn) == len(tested) else f"{len(drawn)} of "
    return f"learning curves of these runs, a row for each of {which}{len(tested)} settings"


def _rows(settings: Sequence[Setting]) -> Figure:
    """Learning curves with a row of panels for each setting, a panel for each of its ratios."""
    columns = max(len(setting.ratios()) for setting in settings)
    width = 0.6 + PANEL[0] * columns
    figure = new_figure(width, 0.6 + (PANEL[1] + NAME) * len(settings))
    rows = figure.subfigures(len(settings), squeeze=False).flat
    for row, setting in zip(rows, settings, strict=True):
        name = textwrap.fill(setting.label, int(LETTERS_AN_INCH * width))
        row.suptitle(name, x=0.01, ha="left", weight="bold", size="medium")
        axes = row.subplots(1, columns, sharey=True, squeeze=False)[0]
        axes[0].set_ylabel("recall, mean of classes")
        for axis, (ratio, runs) in zip(axes, setting.by_ratio(), strict=False):
            recall_over_time(axis, ratio, runs)
        for axis in axes[len(setting.ratios()) :]:
            axis.set_visible(False)
    legend(figure, figure.axes[0])
    return figure
