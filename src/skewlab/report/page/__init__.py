"""The report page: one HTML file that needs nothing else, neither a network nor a server."""

import base64
import json
import re
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Template

from skewlab.runs import json_file

# A PNG's dots to one of the page's: figures are drawn for screens of a higher resolution.
DOTS = 1.5
# What Plotly offers for lines, points and heat maps: a browser reads it in a third of the time that
# the whole of it takes. As https://www.npmjs.com/package/plotly.js-cartesian-dist-min has it, and
# compressed. For another version replace the file and this name.
PLOTLY = "plotly/plotly-cartesian-4.1.1.min.js.gz"
# None of these occurs in JSON outside its strings, and inside them \uXXXX reads the same. Without
# "<" no content can end the script element that holds it, or begin a comment in it.
ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


class PageFigure(NamedTuple):
    """A figure of the page.

    Attributes:
        title: stands above it, and before the caption in the text for those who cannot see it.
        caption: stands below it.
        picture: the file, PNG or GIF, which the page takes in whole.
        section: the part of the page it belongs to; empty for the figures of every study.
        plot: whether it is lines and text on white, which a dark page shows on black.
    """

    title: str
    caption: str
    picture: Path
    section: str = ""
    plot: bool = False


def write_page(payload: dict[str, Any], figures: Sequence[PageFigure], path: Path) -> None:
    """Write the page, in one move, with all that it shows inside.

    Args:
        payload: what the page shows, as `findings.payload` gives it, of JSON's types; NaN and
            infinity are shown as missing. Its text is shown as text: whatever it holds, it is never
            read as HTML.
        figures: pictures, in the order of the page.
        path: the HTML file.
    """
    pictures = [
        {
            "title": one.title,
            "caption": one.caption,
            "section": one.section,
            "plot": one.plot,
            **_picture(one.picture),
        }
        for one in figures
    ]
    page = Template(_part("page.html")).render(
        style=_part("page.css"),
        script=_part("page.js"),
        charts=_part("charts.js"),
        plotly=_plotly(),
        payload=embedded({**payload, "figures": pictures}),
    )
    json_file.write_text(path, page)


def _part(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


@cache
def addresses() -> frozenset[str]:
    """Those that parts of every page have."""
    return frozenset(re.findall(r' id="([^"]+)"', _part("page.html")))


@cache
def _plotly() -> str:
    """The charting library, compressed: the page's script unpacks it."""
    return base64.b64encode((Path(__file__).parent / PLOTLY).read_bytes()).decode("ascii")


def embedded(value: Any) -> str:
    """A value as JSON that can stand inside a script element."""
    text = json.dumps(json_file.as_json(value), allow_nan=False, separators=(",", ":"))
    return text.translate(ESCAPED)


def _picture(path: Path) -> dict[str, Any]:
    """A picture as the page's own, and the size it is shown in: text is as large in all of them."""
    content = path.read_bytes()
    if path.suffix == ".gif":
        width, height = struct.unpack("<HH", content[6:10])
    else:
        width, height = (side / DOTS for side in struct.unpack(">II", content[16:24]))
    data = base64.b64encode(content).decode("ascii")
    source = f"data:image/{path.suffix[1:]};base64,{data}"
    return {"source": source, "width": round(width), "height": round(height)}
