"""What a report found."""

from typing import NamedTuple

from skewlab.report import table
from skewlab.report.page import PageFigure
from skewlab.report.sections.section import MadeSection
from skewlab.report.settings import Setting
from skewlab.report.verdicts import Verdict


class Findings(NamedTuple):
    """What was computed from the finished runs.

    Attributes:
        opening: what was found, in one sentence.
        settings: all of them.
        verdicts: on every claim.
        figures: in the order of the page.
        rows: of the table of results.
        left_out: what was not used, and why.
        sections: of the page.
        in_full: the labels of the settings that have figures, and curves of single classes on the
            page.
    """

    opening: str
    settings: list[Setting]
    verdicts: list[Verdict]
    figures: list[PageFigure]
    rows: list[table.Row]
    left_out: list[str]
    sections: list[MadeSection]
    in_full: list[str]


NOTHING_YET = Findings("", [], [], [], [], [], [], [])
