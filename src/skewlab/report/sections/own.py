"""Sections of a study's own, from a package of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skewlab.errors import ConfigError
from skewlab.report.own import imported
from skewlab.report.page import addresses
from skewlab.report.sections import SECTIONS
from skewlab.report.sections.section import MadeSection, PageSection
from skewlab.report.statistics import Estimate

# What a cell of a table may be.
CELL = (str, int, float, np.generic, Estimate, type(None))


def load_sections(paths: Sequence[str], key: str) -> list[PageSection]:
    """A study's own sections.

    Args:
        paths: of objects of `PageSection`, such as `mypaper.sections.WORST`. They are imported:
            take them from the person who runs the program, never from a file of a run.
        key: where the paths were given, for the message.

    Raises:
        ConfigError: there is no such section, or its address is another one's.
    """
    sections: list[PageSection] = []
    for path in paths:
        what = "a skewlab.report.sections.section.PageSection"
        section = imported(path, key, what, _section)
        if section.key in {*addresses(), *(other.key for other in (*SECTIONS, *sections))}:
            raise ConfigError(f"{key}={path}: the key {section.key} is taken")
        sections.append(section)
    return sections


def _section(given: Any) -> PageSection:
    if not isinstance(given, PageSection):
        raise TypeError("it is something else")
    return given


def in_own_folder(made: MadeSection, place: Path) -> MadeSection:
    """The section with its tables in its own folder in the report's, where they replace none of
    the others.

    Raises:
        TypeError: a cell is nothing that a table can show.
        OSError: a picture was not written.
    """
    for figure in made.figures:
        figure.picture.stat()
    for one in made.tables:
        for name, cell in ((name, cell) for row in one.rows for name, cell in row.items()):
            if not isinstance(cell, CELL):
                raise TypeError(f"{name} of table {one.name} is a {type(cell).__name__}")
    place.mkdir(exist_ok=True)
    tables = [one._replace(name=f"{place.name}/{one.name}") for one in made.tables]
    return made._replace(tables=tables)
