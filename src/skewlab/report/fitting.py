"""Fits figures into the width of a paper, where their text has less room than on the page."""

import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

from matplotlib.figure import Figure
from matplotlib.text import Text

# In inches: of a paper's text, and of one of its two columns.
PAGE, COLUMN = 6.8, 3.3
# The least share that the axes of a figure of one panel take of its width.
LEAST_SHARE = 0.5
# Words are not broken into lines of fewer letters.
LEAST_LETTERS = 8

# How wide figures are drawn, in inches; None is as wide as their panels need, for the report's
# page. A context variable, so that a figure is drawn for both without knowing of it.
_width: ContextVar[float | None] = ContextVar("width", default=None)


def paper_width() -> float | None:
    """How wide figures are drawn now; None where they are not for a paper."""
    return _width.get()


@contextlib.contextmanager
def for_paper(width: float) -> Iterator[None]:
    """Figures that are made inside are this wide, in inches."""
    before = _width.set(width)
    try:
        yield
    finally:
        _width.reset(before)


def lay_out(figure: Figure) -> None:
    """Compute the layout. For a paper, titles and labels that are longer than their panel are
    broken into lines."""
    if (engine := figure.get_layout_engine()) is None:
        return
    engine.execute(figure)
    if paper_width() is None:
        return
    # The lines that a first round adds make panels smaller, so there is a second one.
    for _ in range(2):
        for axis in figure.axes:
            room = axis.get_window_extent()
            for text in (axis.title, axis.xaxis.label):
                _break_lines(text, room.width)
            _break_lines(axis.yaxis.label, room.height, upright=True)
        engine.execute(figure)


def _break_lines(text: Text, room: float, upright: bool = False) -> None:
    """Break a text into as few lines as are no longer than the room, in pixels, and about equally
    long."""
    words = text.get_text()
    few: list[str] = []
    for letters in range(max(map(len, words.split("\n"))) - 1, LEAST_LETTERS - 1, -1):
        box = text.get_window_extent()
        lines = in_lines(words, letters)
        fitting = (box.height if upright else box.width) <= room
        # It fits as it is, and was not broken, or would get one more line.
        if fitting and (not few or len(lines) > len(few)):
            return
        few = lines
        text.set_text("\n".join(lines))


def in_lines(words: str, letters: int) -> list[str]:
    """Words in lines of at most so many letters, if no word is longer. A name_of_this_kind may be
    broken after an underscore, also again."""
    lines = [""]
    for piece in re.findall(r"\S+?(?:_|\s+|$)", words.replace("_\n", "_")):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > letters:
            lines.append("")
        lines[-1] += re.sub(r"\s+", " ", piece)
    return [line.rstrip() for line in lines]


def thin_out(figure: Figure) -> None:
    """Leave out labels of ticks that would overlap, in a figure with its final layout."""
    for axis in figure.axes:
        for scale in (axis.xaxis, axis.yaxis):
            low, high = sorted(scale.get_view_interval())
            ticks = [tick for tick in scale.get_major_ticks() if low <= tick.get_loc() <= high]
            _thin_out([tick.label1 for tick in ticks if tick.label1.get_visible()])


def _thin_out(labels: Sequence[Text]) -> None:
    """Show every label, or every second, or third, until they do not overlap."""
    boxes = [label.get_window_extent() for label in labels]
    for step in range(1, max(len(labels), 2)):
        if not any(a.overlaps(b) for a, b in itertools.pairwise(boxes[::step])):
            break
    for number, label in enumerate(labels):
        label.set_visible(number % step == 0)


def fits(figure: Figure) -> bool:
    """Whether nothing is cut at the edge of a figure of one panel, and its axes are wide enough."""
    width, height = figure.get_size_inches()
    drawn = figure.get_tightbbox()
    inside = min(drawn.x0, drawn.y0) >= 0 and drawn.x1 <= width and drawn.y1 <= height
    return inside and figure.axes[0].get_position().width >= LEAST_SHARE
