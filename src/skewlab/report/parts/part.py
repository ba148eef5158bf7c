"""One part of the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from skewlab.report.claims import Verdict
from skewlab.report.drawing import Draw, Drawn, draw_all, folder_of
from skewlab.report.settings import Setting
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds

# What makes a part's rows of one subject, which is a setting, or what the part says.
Rows = Callable[[Any, Thresholds], list[Row]]
# What has another form than a figure, such as an animation: writes into a folder.
Make = Callable[[Any, Thresholds, Path], list[tuple[Drawn, Path]]]
# What a part is of: things with a `label`, from the settings and the verdicts on them.
Subjects = Callable[[Sequence[Setting], Sequence[Verdict]], Sequence[Any]]


class Table(NamedTuple):
    """Rows with a title, and the stem of their CSV and LaTeX files."""

    name: str
    title: str
    rows: list[Row]


def nothing(subject: Any, limits: Thresholds) -> list[str]:
    """A part that leaves nothing out."""
    return []


def each_setting(settings: Sequence[Setting], verdicts: Sequence[Verdict]) -> Sequence[Setting]:
    """A part of every setting by itself."""
    return settings


@dataclass(frozen=True)
class PartKind:
    """What a part is made of.

    Attributes:
        key: its address in the page, and the beginning of its files' names.
        title: its heading.
        lead: what a reader should know before looking.
        figures: each of one subject.
        tables: by file name: a title, and what makes the rows.
        makes: pictures of another form.
        subjects: what the part is of, by default every setting by itself.
        compares: whether it is of all settings together: what a reader of several asks first. It
            stands right after the verdicts, and all of it is drawn.
        probe: whose measurements it shows, if any.
        left_out: what of a subject it does not show, and why; one line each.
    """

    key: str
    title: str
    lead: str
    figures: Sequence[Draw[Any]] = ()
    tables: dict[str, tuple[str, Rows]] = field(default_factory=dict)
    makes: Sequence[Make] = ()
    subjects: Subjects = each_setting
    compares: bool = False
    probe: str = ""
    left_out: Callable[[Any, Thresholds], list[str]] = nothing


class Part(NamedTuple):
    """A part as it was made: pictures with the label of what they are of, tables, and what they
    lack."""

    kind: PartKind
    pictures: list[tuple[str, Drawn, Path]]
    tables: list[Table]
    left_out: list[str]


def make_part(
    kind: PartKind,
    settings: Sequence[Setting],
    in_full: Sequence[Setting],
    verdicts: Sequence[Verdict],
    limits: Thresholds,
    folder: Path,
) -> Part | None:
    """Draw and count everything of one part; None where there is nothing to show.

    Args:
        kind: what to make.
        settings: of which there are tables.
        in_full: of which there are figures as well.
        verdicts: on them.
        limits: the report's thresholds.
        folder: for figures; of several subjects, each has a folder of its own in it.
    """
    subjects = kind.subjects(settings, verdicts)

    def label_of(subject: Any) -> str:
        return str(subject.label) if len(subjects) > 1 else ""

    pictures: list[tuple[str, Drawn, Path]] = []
    for subject in subjects if kind.compares else kind.subjects(in_full, verdicts):
        label = label_of(subject)
        place = folder_of(folder, label)
        pictures += [
            (label, drawn, place / f"{drawn.name}.png")
            for drawn in draw_all(kind.figures, subject, limits, place)
        ]
        for make in kind.makes:
            pictures += [(label, drawn, path) for drawn, path in make(subject, limits, place)]
    tables = []
    for name, (title, rows_of) in kind.tables.items():
        rows = [
            ({"setting": label} if (label := label_of(subject)) else {}) | row
            for subject in subjects
            for row in rows_of(subject, limits)
        ]
        if rows:
            tables.append(Table(name, title, rows))
    left_out = [line for subject in subjects for line in kind.left_out(subject, limits)]
    return Part(kind, pictures, tables, left_out) if pictures or tables else None
