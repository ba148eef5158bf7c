"""One part of the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from skewlab.report.drawing import Draw, Drawn, draw_all
from skewlab.report.settings import Setting
from skewlab.report.table import Row
from skewlab.report.thresholds import Thresholds

# What makes a part's rows of one setting.
Rows = Callable[[Setting, Thresholds], list[Row]]
# What has another form than a figure, such as an animation: writes into a folder.
Make = Callable[[Setting, Thresholds, Path], list[tuple[Drawn, Path]]]


class Table(NamedTuple):
    """Rows with a title, and the stem of their CSV and LaTeX files."""

    name: str
    title: str
    rows: list[Row]


@dataclass(frozen=True)
class PartKind:
    """What a part is made of.

    Attributes:
        key: its address in the page, and the beginning of its files' names.
        title: its heading.
        lead: what a reader should know before looking.
        figures: each of one setting.
        tables: by file name: a title, and what makes the rows.
        makes: pictures of another form.
    """

    key: str
    title: str
    lead: str
    figures: Sequence[Draw] = ()
    tables: dict[str, tuple[str, Rows]] = field(default_factory=dict)
    makes: Sequence[Make] = ()


class Part(NamedTuple):
    """A part as it was made: pictures with the setting they are of, and tables."""

    kind: PartKind
    pictures: list[tuple[Setting, Drawn, Path]]
    tables: list[Table]


def make_part(
    kind: PartKind, settings: Sequence[Setting], limits: Thresholds, places: Sequence[Path]
) -> Part | None:
    """Draw and count everything of one part; None where there is nothing to show.

    Args:
        kind: what to make.
        settings: of which.
        limits: the report's thresholds.
        places: the folder of each setting's figures.
    """
    pictures: list[tuple[Setting, Drawn, Path]] = []
    for setting, place in zip(settings, places, strict=True):
        pictures += [
            (setting, drawn, place / f"{drawn.name}.png")
            for drawn in draw_all(kind.figures, setting, limits, place)
        ]
        for make in kind.makes:
            pictures += [(setting, drawn, path) for drawn, path in make(setting, limits, place)]
    tables = []
    for name, (title, rows_of) in kind.tables.items():
        rows = [
            ({"setting": setting.label} if len(settings) > 1 else {}) | row
            for setting in settings
            for row in rows_of(setting, limits)
        ]
        if rows:
            tables.append(Table(name, title, rows))
    return Part(kind, pictures, tables) if pictures or tables else None
