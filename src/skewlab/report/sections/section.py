"""One section of the page: figures and tables about one question."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from skewlab.report.drawing import (
    PAPER_FOLDER,
    Draw,
    FigureText,
    draw_all,
    draw_for_paper,
    folder_of,
)
from skewlab.report.page import PageFigure
from skewlab.report.settings import Setting
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds
from skewlab.report.verdicts import Verdict

# Makes the rows of a table about one subject.
MakeRows = Callable[[Any, Thresholds], Iterable[Row]]
# Writes pictures that are no matplotlib figure, such as an animation, into a folder.
MakePictures = Callable[[Any, Thresholds, Path], list[tuple[FigureText, Path]]]
# Chooses the subjects of a section: objects with a `label`.
Subjects = Callable[[Sequence[Setting], Sequence[Verdict]], Sequence[Any]]


class Table(NamedTuple):
    """Rows with a title; `name` is the stem of the CSV and LaTeX files. A table without a title has
    the CSV file only, and no place on the page."""

    name: str
    title: str
    rows: list[Row]


@dataclass(frozen=True)
class PageSection:
    """What a section shows, and how that is made.

    Attributes:
        key: its address in the page.
        title: its heading.
        lead: the text below the heading: what a reader should know before looking.
        figures: each is drawn for every subject.
        tables: by file name: a title, and what makes the rows of a subject.
        pictures: make files that are no matplotlib figure, for every subject.
        subjects: what figures and tables are about; by default every setting is a subject.
        compares: whether a subject is several settings side by side. Such a section stands before
            the verdicts, and its figures are drawn for all subjects.
        probe: whose measurements it shows, if any; settings without it are no subjects.
        left_out: what it does not show of a subject, and why; one line each.
    """

    key: str
    title: str
    lead: str
    figures: Sequence[Draw[Any]] = ()
    tables: dict[str, tuple[str, MakeRows]] = field(default_factory=dict)
    pictures: Sequence[MakePictures] = ()
    subjects: Subjects = lambda settings, verdicts: settings
    compares: bool = False
    probe: str = ""
    left_out: Callable[[Any, Thresholds], list[str]] = lambda subject, thresholds: []


class MadeSection(NamedTuple):
    """A section with the figures and tables that were made for it, and what they leave out."""

    section: PageSection
    figures: list[PageFigure]
    tables: list[Table]
    left_out: list[str]


def draw_figures(
    figures: Sequence[Draw[Any]],
    subject: Any,
    label: str,
    thresholds: Thresholds,
    folder: Path,
    key: str = "",
    *,
    paper: bool = False,
) -> list[PageFigure]:
    """Draw figures of one subject, for one section of the page.

    Args:
        figures: what to draw.
        subject: what they are about.
        label: names the subject where there are several: in titles, and as a folder in `folder`.
        thresholds: of the report.
        folder: where to write.
        key: of the section; empty for the figures of every study.
        paper: draw them for a paper too.
    """
    if paper:
        draw_for_paper(figures, subject, thresholds, folder_of(folder / PAPER_FOLDER, label))
    place = folder_of(folder, label)
    drawn = draw_all(figures, subject, thresholds, place)
    return [
        page_figure(text, label, place / f"{text.name}.png", key)._replace(plot=True)
        for text in drawn
    ]


def page_figure(text: FigureText, label: str, path: Path, key: str) -> PageFigure:
    """A picture for the page, with the subject's label in its title."""
    title = f"{text.title}: {label}" if label else text.title
    return PageFigure(title, text.caption, path, key)


def make_section(
    section: PageSection,
    settings: Sequence[Setting],
    in_full: Sequence[Setting],
    verdicts: Sequence[Verdict],
    thresholds: Thresholds,
    folder: Path,
    *,
    paper: bool = False,
) -> MadeSection | None:
    """Make the figures and tables of one section; None where there is nothing to show.

    Args:
        section: which one.
        settings: those in tables.
        in_full: those with figures.
        verdicts: on all settings.
        thresholds: of the report.
        folder: for figures; where there are several subjects, each has a folder in it.
        paper: draw figures for a paper too.
    """
    several = len(section.subjects(settings, verdicts)) > 1

    def labelled(among: Sequence[Setting]) -> list[tuple[str, Any]]:
        """The subjects, each with a label where there are several."""
        if section.probe:
            among = [setting for setting in among if setting.ratios(probe=section.probe)]
        subjects = section.subjects(among, verdicts)
        return [(subject.label if several else "", subject) for subject in subjects]

    subjects = labelled(settings)
    figures: list[PageFigure] = []
    for label, subject in subjects if section.compares else labelled(in_full):
        figures += draw_figures(
            section.figures, subject, label, thresholds, folder, section.key, paper=paper
        )
        for make in section.pictures:
            made = make(subject, thresholds, folder_of(folder, label))
            figures += [page_figure(text, label, path, section.key) for text, path in made]
    tables = []
    for name, (title, rows_of) in section.tables.items():
        rows = [
            ({"setting": label} if label else {}) | row
            for label, subject in subjects
            for row in rows_of(subject, thresholds)
        ]
        if rows:
            tables.append(Table(name, title, rows))
    left_out = [line for _, subject in subjects for line in section.left_out(subject, thresholds)]
    return MadeSection(section, figures, tables, left_out) if figures or tables else None
