"""A picture of samples, with how each was learned and forgotten."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


class Picture(NamedTuple):
    """A sample's image and its history.

    Attributes:
        image: uint8 [height, width, channels].
        label: the name of its class.
        forgetting: number of forgetting events.
        first_learned: the epoch in which it was first classified correctly; NaN for never.
        confidence: mean probability of the true class.
    """

    image: NDArray[np.uint8]
    label: str
    forgetting: int
    first_learned: float
    confidence: float


def draw_samples(rows: Mapping[str, Sequence[Picture]], path: Path) -> None:
    """Draw rows of images with their histories.

    Args:
        rows: the images of each row, by its heading.
        path: the PNG file.
    """
    across = max(1, *(len(row) for row in rows.values()))
    with matplotlib.rc_context({"font.size": 8, "text.parse_math": False}):
        heights = [1.9 if row else 0.35 for row in rows.values()]
        figure = Figure(figsize=(1.05 * across + 0.2, sum(heights)), layout="constrained")
        parts = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, (title, pictures) in zip(parts, rows.items(), strict=True):
            heading = title if pictures else f"{title}: none"
            part.suptitle(heading, x=0.01, ha="left", fontsize=9, fontweight="bold")
            if not pictures:
                continue
            for axis, picture in zip(
                part.subplots(1, across, squeeze=False)[0], pictures, strict=False
            ):
                grey = picture.image.shape[2] == 1
                axis.imshow(picture.image[:, :, 0] if grey else picture.image, cmap="gray")
                axis.set_title(
                    f"{picture.label}\n{picture.forgetting} forgotten\n{_learned(picture)}\n"
                    f"p {picture.confidence:.2f}",
                    fontsize=7,
                )
            for axis in part.axes:
                axis.axis("off")
        figure.savefig(path, dpi=150)


def _learned(picture: Picture) -> str:
    if np.isnan(picture.first_learned):
        return "never learned"
    return f"learned at {picture.first_learned:g}"
