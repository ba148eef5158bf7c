"""The report: verdicts, figures, tables and one page, from any set of runs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from skewlab.errors import ConfigError
from skewlab.report import table
from skewlab.report.claims import UNDECIDED, Verdict
from skewlab.report.drawing import Drawn, draw_all, folder_of
from skewlab.report.figures import FIGURES
from skewlab.report.findings import Findings, payload
from skewlab.report.page import PageFigure, write_page
from skewlab.report.parts import PARTS
from skewlab.report.parts.part import make_part
from skewlab.report.read import Collection, Run, read_runs
from skewlab.report.settings import by_setting, in_full
from skewlab.report.thresholds import Thresholds
from skewlab.report.verdicts import verdicts

PAGE = "index.html"


class Report(NamedTuple):
    """What was written.

    Attributes:
        folder: holds index.html, figures, tables.
        verdicts: every claim, judged.
        left_out: what was not used, and why.
        runs: how many were used.
        pictures: the figures, in the order of the page.
    """

    folder: Path
    verdicts: list[Verdict]
    left_out: list[str]
    runs: int
    pictures: list[Path]


def build_report(paths: Sequence[Path], limits: Thresholds, folder: Path | None = None) -> Report:
    """Read runs and write everything the report has.

    Args:
        paths: studies, runs, or folders that hold them.
        limits: what the verdicts are measured against.
        folder: where to write; None is `report/` in the study, or beside several of them.

    Raises:
        ConfigError: no run, or none that has finished; or the folder cannot be written.
    """
    collection = read_runs(paths)
    if not collection.finished:
        raise ConfigError("\n".join(["report: no run has finished yet", *collection.left_out]))
    folder = report_folder(collection, folder)
    return write_report(paths, collection, find(collection, limits, folder), folder)


def report_folder(collection: Collection, folder: Path | None) -> Path:
    """The folder that a report goes to, made if it is not there."""
    folder = folder or _home(collection.runs) / "report"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"out={folder}: cannot be written ({error.strerror})") from error
    return folder


def find(collection: Collection, limits: Thresholds, folder: Path) -> Findings:
    """Judge the claims on the finished runs; write figures and tables."""
    finished = collection.finished
    settings = by_setting(finished)
    found = Findings(
        settings=settings,
        verdicts=[verdict for setting in settings for verdict in verdicts(setting, limits)],
        figures=[],
        rows=table.result_rows(finished, limits),
        left_out=[],
        parts=[],
        in_full=[],
    )
    studied = [setting for setting in settings if setting.of()]
    found.left_out.extend(line for setting in settings for line in setting.not_counted())
    found.left_out.extend(
        f"{setting.label}: only controls; figures and claims need the study itself"
        for setting in settings
        if not setting.of()
    )
    drawn_in_full = in_full(studied)
    found.in_full.extend(setting.label for setting in drawn_in_full)
    several = len(studied) > 1
    for setting in drawn_in_full:
        label = setting.label if several else ""
        place = folder_of(folder, label)
        for drawn in draw_all(FIGURES, setting, limits, place):
            found.figures.append(_figure("", label, drawn, place / f"{drawn.name}.png"))
    for kind in PARTS:
        if part := make_part(kind, studied, drawn_in_full, found.verdicts, limits, folder):
            found.parts.append(part)
            found.left_out.extend(part.left_out)
            found.figures.extend(
                _figure(kind.key, label, drawn, path) for label, drawn, path in part.pictures
            )
    tables = {
        "results": found.rows,
        "verdicts": table.verdict_rows(found.verdicts),
        **{one.name: one.rows for part in found.parts for one in part.tables},
    }
    for name, some in tables.items():
        if some:
            table.write_csv(some, folder / f"{name}.csv")
            table.write_latex(some, folder / f"{name}.tex")
    return found


def _figure(section: str, label: str, drawn: Drawn, path: Path) -> PageFigure:
    title = f"{drawn.title}: {label}" if label else drawn.title
    return PageFigure(title, drawn.caption, path, section)


def write_report(
    paths: Sequence[Path],
    collection: Collection,
    found: Findings,
    folder: Path,
    reload: float | None = None,
) -> Report:
    """Write the page.

    Args:
        paths: as of `build_report`.
        collection: the runs, finished or not; those with curves so far are among the curves.
        found: of the finished ones.
        folder: where to write.
        reload: seconds after which the page shows itself anew; None is never.
    """
    collection.left_out.extend(found.left_out)
    shown = payload(collection, found, paths)
    write_page({**shown, "reload": reload}, found.figures, folder / PAGE)
    pictures = [figure.picture for figure in found.figures]
    return Report(folder, found.verdicts, collection.left_out, len(collection.finished), pictures)


def _home(runs: Sequence[Run]) -> Path:
    """The study of the runs, or the folder that holds all their studies."""
    home = Path(os.path.commonpath({run.path.resolve().parent for run in runs}))
    here = Path.cwd()
    return home.relative_to(here) if home.is_relative_to(here) else home


def summary_lines(report: Report) -> list[str]:
    """The decided verdicts for the terminal, one line each; what is undecided in one line with
    what would decide it; what was left out; and where the report lies."""
    lines = [
        f"claim {verdict.claim:<2}  ratio {verdict.ratio:<4g} {verdict.verdict:<9}  "
        f"{verdict.estimate}, {verdict.criterion}  [{verdict.setting}]"
        for verdict in report.verdicts
        if verdict.verdict != UNDECIDED
    ]
    undecided = [verdict for verdict in report.verdicts if verdict.verdict == UNDECIDED]
    if undecided:
        # The one that is nearest to a verdict is the one worth deciding first.
        first = max(undecided, key=lambda verdict: verdict.estimate.n if verdict.estimate else 0)
        lines.append(
            f"undecided: {len(undecided)} of {len(report.verdicts)} verdicts, such as claim "
            f"{first.claim} at ratio {first.ratio:g}: "
            + first.note.replace("to decide:", "to decide that one:")
        )
    lines += [f"left out: {line}" for line in report.left_out]
    lines.append(f"report  {report.folder / PAGE}  (figures: PNG and SVG; tables: CSV and LaTeX)")
    return lines
