"""Builds a report: verdicts, figures, tables and one page, from any set of runs."""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from skewlab.errors import ConfigError, Damaged
from skewlab.report import table
from skewlab.report.claims import Claim
from skewlab.report.drawing import Draw, folder_of
from skewlab.report.figures import FIGURES, verdicts_by_threshold
from skewlab.report.findings import Findings
from skewlab.report.opening import opening
from skewlab.report.page import write_page
from skewlab.report.page.content import payload
from skewlab.report.read import Collection, Run, read_runs
from skewlab.report.sections import sections_with
from skewlab.report.sections.own import in_own_folder
from skewlab.report.sections.section import PageSection, draw_figures, make_section
from skewlab.report.settings import by_setting, in_full, tuned_rate
from skewlab.report.thresholds import Thresholds
from skewlab.report.verdicts import (
    CONTROL_LABELS,
    NOT_APPLICABLE,
    NOT_CONTROLLED,
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    VERDICTS,
    Verdict,
    verdicts,
)
from skewlab.runs import json_file
from skewlab.runs.reading import read_json
from skewlab.terminal import paragraph, printable

PAGE = "index.html"
# In the report's folder: which figures it has.
FIGURE_LIST, FIGURE_FILES = "figures.json", (".png", ".svg", ".gif")
# Of a single setting the page's first chart is this figure, which is then a file only.
CHART = "learning_curves"


class Report(NamedTuple):
    """What was written.

    Attributes:
        opening: what was found, in one sentence.
        folder: holds the page, figures and tables.
        verdicts: on every claim.
        left_out: what was not used, and why.
        runs: how many were used.
        pictures: the files of the figures, in the order of the page.
        own_claims: paths of the claims that the runs were judged by as they were trained.
        own_sections: paths of the sections that were shown of them then.
    """

    opening: str
    folder: Path
    verdicts: list[Verdict]
    left_out: list[str]
    runs: int
    pictures: list[Path]
    own_claims: Sequence[str] = ()
    own_sections: Sequence[str] = ()


def build_report(
    paths: Sequence[Path],
    thresholds: Thresholds,
    folder: Path | None = None,
    claims: Sequence[Claim] = (),
    sections: Sequence[PageSection] = (),
    *,
    paper: bool = False,
) -> Report:
    """Read runs and write the report on them.

    Args:
        paths: studies, runs, or folders that hold them.
        thresholds: what the verdicts are measured against.
        folder: where to write; None is `report/` in the study, or in the folder that holds all
            studies where there are several.
        claims: the study's own, as `claims.load_claims` gives them, after the built-in ones.
        sections: the study's own, as `sections.own.load_sections` gives them.
        paper: write every figure for a paper too, as PDF.

    Raises:
        ConfigError: there is no run, or none has finished; or the folder cannot be written.
    """
    collection = read_runs(paths)
    if not collection.finished:
        raise ConfigError("\n".join(["report: no run has finished yet", *collection.left_out]))
    folder = report_folder(collection, folder)
    found = find(collection, thresholds, folder, claims, sections, paper=paper)
    return write_report(paths, collection, found, folder)


def report_folder(collection: Collection, folder: Path | None) -> Path:
    """The folder that a report is written to; it is made if it is not there."""
    if folder is None:
        folder = _home(collection.runs) / "report"
        if folder.is_symlink():
            raise ConfigError(f"{folder}: is a link; name the folder to write to with out=...")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        below = (path for path in (*folder.glob("*"), *folder.glob("*/*")) if path.is_dir())
        for place in (folder.parent, folder, *below):
            json_file.clear_leftovers(place)
    except OSError as error:
        raise ConfigError(f"out={folder}: cannot be written ({error.strerror})") from error
    return folder


def find(
    collection: Collection,
    thresholds: Thresholds,
    folder: Path,
    claims: Sequence[Claim] = (),
    own_sections: Sequence[PageSection] = (),
    *,
    paper: bool = False,
) -> Findings:
    """Judge the claims on the finished runs, and write figures and tables."""
    settings = by_setting(collection.finished)
    left_out: list[str] = []
    judged: list[Verdict] = []
    for setting in [*settings, *tuned_rate(settings)]:
        with _or_left_out(f"verdicts of {setting.label}", left_out):
            judged += verdicts(setting, thresholds, claims)
    studied = [setting for setting in settings if setting.of()]
    left_out += [line for setting in settings for line in setting.not_counted()]
    left_out += [
        f"{setting.label}: only controls; figures and claims need the study itself"
        for setting in settings
        if setting not in studied
    ]
    drawn = in_full(studied)
    figures = []
    for setting in drawn:
        label = setting.label if len(studied) > 1 else ""
        own_verdicts = [verdict for verdict in judged if verdict.setting == setting.label]
        wanted: list[tuple[Draw[Any], Any]] = [(verdicts_by_threshold, own_verdicts)]
        wanted += [(figure, setting) for figure in FIGURES]
        for figure, subject in wanted:
            with _or_left_out(f"figure {figure.__name__} of {setting.label}", left_out):
                figures += draw_figures((figure,), subject, label, thresholds, folder, paper=paper)
    sections = []
    for section in sections_with(own_sections):
        own = section in own_sections
        place = folder_of(folder, section.key) if own else folder
        # A study's own section may read files of its own, and not find them.
        with _or_left_out(f"section {section.title}", left_out, () if own else (OSError,)):
            made = make_section(section, studied, drawn, judged, thresholds, place, paper=paper)
            if made:
                made = in_own_folder(made, place) if own else made
                sections.append(made)
                figures += made.figures
                left_out += made.left_out
    rows = table.result_rows(collection.finished, thresholds)
    made_tables = [one for made in sections for one in made.tables]
    files_only = {one.name for one in made_tables if not one.title}
    tables = {
        "results": rows,
        "verdicts": table.verdict_rows(judged),
        **{one.name: one.rows for one in made_tables},
    }
    for name, some in tables.items():
        if not some:  # an earlier report may have had rows
            for suffix in ("csv", "tex"):
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
        else:
            table.write_csv(some, folder / f"{name}.csv")
            if name not in files_only:
                shown = table.verdict_rows(judged, explained=False) if name == "verdicts" else some
                table.write_latex(shown, folder / f"{name}.tex")
    _clear_earlier(folder, [figure.picture for figure in figures])
    labels = [setting.label for setting in drawn]
    said = opening(settings, thresholds)
    return Findings(said, settings, judged, figures, rows, left_out, sections, labels)


def _clear_earlier(folder: Path, pictures: Sequence[Path]) -> None:
    """Remove the figures of an earlier report in the same folder that this one does not have, as
    where the study had one setting and has two. Only what that report says it wrote."""
    written = {
        path.relative_to(folder).as_posix()
        for picture in pictures
        for path in (picture, picture.with_suffix(".svg"))
        if path.exists()
    }
    try:
        found = read_json(folder / FIGURE_LIST).get("figures")
    except Damaged:  # the first report
        found = None
    earlier = found if isinstance(found, list) else []
    # Names of the list are compared with what is there, and never opened.
    for path in [path for suffix in FIGURE_FILES for path in folder.rglob(f"*{suffix}")]:
        name = path.relative_to(folder).as_posix()
        inside = path.resolve().is_relative_to(folder.resolve())
        if inside and name in earlier and name not in written:
            path.unlink()
            with contextlib.suppress(OSError):  # it holds something else
                path.parent.rmdir()
    json_file.write(folder / FIGURE_LIST, {"figures": sorted(written)})


@contextlib.contextmanager
def _or_left_out(
    what: str, left_out: list[str], passed: tuple[type[Exception], ...] = (OSError,)
) -> Iterator[None]:
    """Leave out a part of the report that fails, with a line that says so: the rest is still
    worth reading. What goes wrong in writing is no part's fault.

    Args:
        what: names the part.
        left_out: is given the line.
        passed: errors that are passed on.
    """
    try:
        yield
    except passed:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        left_out.append(f"{what}: {type(error).__name__}: {reason}")
        logging.getLogger("skewlab.report").debug(what, exc_info=error)


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
        collection: the runs; the curves of unfinished ones are shown as well.
        found: what `find` gave for the finished ones.
        folder: where to write.
        reload: seconds after which the page in a browser loads itself again; None is never.
    """
    collection.left_out.extend(found.left_out)
    shown = payload(collection, found, paths)
    several = len(found.in_full) > 1
    figures = [f for f in found.figures if several or f.section or f.picture.stem != CHART]
    write_page({**shown, "reload": reload}, figures, folder / PAGE)
    pictures = [figure.picture for figure in found.figures]
    runs = len(collection.finished)
    claims, sections = (
        sorted({path for run in collection.finished for path in run.config.get(key) or ()})
        for key in ("report_claims", "report_sections")
    )
    verdicts, left_out = found.verdicts, collection.left_out
    return Report(found.opening, folder, verdicts, left_out, runs, pictures, claims, sections)


def _home(runs: Sequence[Run]) -> Path:
    """The study of the runs, or the folder that holds all their studies."""
    home = Path(os.path.commonpath({run.path.resolve().parent for run in runs}))
    here = Path.cwd()
    return home.relative_to(here) if home.is_relative_to(here) else home


def summary_lines(report: Report, scope: str = "") -> list[str]:
    """The report for the terminal, where `scope` says whose verdicts they are: what was found, each
    claim that is decided with its verdicts, a line for all that are undecided and one for all that
    are not applicable, what was left out, and where the report is. Each is a
    `terminal.paragraph`."""
    lines = [paragraph(report.opening)] if report.opening else []
    counts = {name: [v for v in report.verdicts if v.verdict == name] for name in VERDICTS}
    if report.verdicts:
        each = ", ".join(f"{len(some)} {name}" for name, some in counts.items())
        lines.append(paragraph(f"verdicts{scope}: {each}"))
    lines += _decided_lines([v for v in report.verdicts if v.verdict in (SUPPORTED, REFUTED)])
    for name, open_ones in (
        (UNDECIDED, counts[UNDECIDED]),
        (NOT_APPLICABLE, counts[NOT_APPLICABLE]),
    ):
        if open_ones:
            # The one with the most seeds needs the fewest new runs.
            first = max(open_ones, key=lambda verdict: verdict.estimate.n)
            said = (
                f"{name}: {len(open_ones)} of {len(report.verdicts)} verdicts, such as claim "
                f"{first.claim} at ratio {first.ratio:g}: {first.reason}"
            )
            said += "; to decide that one:" if first.command else ""
            lines.append(paragraph(said, first.command))
    lines += [paragraph(f"left out: {printable(line)}") for line in report.left_out]
    page = f"report  {report.folder / PAGE}  (figures: PNG and SVG; tables: CSV and LaTeX)"
    return [*lines, paragraph(page)]


def _decided_lines(decided: Sequence[Verdict]) -> list[str]:
    """For each claim its title and, under it, its verdicts; under each of them what is left of it
    under controls. And which controls were not trained."""
    lines: list[str] = []
    several = len({verdict.setting for verdict in decided}) > 1
    for claim, title in {verdict.claim: verdict.title for verdict in decided}.items():
        lines.append(f"claim {claim}: {title}")
        for verdict in decided:
            if verdict.claim != claim:
                continue
            setting = f"  [{verdict.setting}]" if several else ""
            lines.append(
                f"    ratio {verdict.ratio:<4g} {verdict.verdict:<9}  {verdict.estimate}, "
                f"{verdict.threshold}{setting}"
            )
            trained = [str(left) for left in verdict.controls if left.outcome != NOT_CONTROLLED]
            lines += [f"        {said}" for said in (*trained, verdict.disagreement) if said]
    asked = [control for verdict in decided for control in verdict.controls]
    missing = {control.label for control in asked if control.outcome == NOT_CONTROLLED}
    if missing:
        each = ", ".join(label for label in CONTROL_LABELS.values() if label in missing)
        lines.append(f"{NOT_CONTROLLED}: {each}")
    return [paragraph(line) for line in lines]
