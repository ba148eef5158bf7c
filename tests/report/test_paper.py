"""Figures for papers: their size, their fonts, and text that nobody has to guess at."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from made_up import make_run, rises
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from test_sections import probed as probed
from test_sections import save_samples

from skewlab.report import build, drawing, figures
from skewlab.report.cli import main
from skewlab.report.comparison import comparisons
from skewlab.report.drawing import draw_for_paper
from skewlab.report.fitting import in_lines, paper_width
from skewlab.report.read import read_runs
from skewlab.report.sections import SECTIONS, methods, samples, variance
from skewlab.report.settings import by_setting
from skewlab.report.thresholds import Thresholds

METHODS = ("ce", "ldam_drw", "logit_adjustment", "a_method_with_a_name_that_is_rather_long")
# 90 and 100 are close together on an axis.
RATIOS = (1, 10, 90, 100)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four ratios, four methods at the largest, and every training sample. At the end the groups
    are nearly equal on train and test, so that names of lines would lie on each other."""
    folder = tmp_path_factory.mktemp("study")
    for seed, ratio in itertools.product(range(3), RATIOS):
        for place, method in enumerate(METHODS if ratio == max(RATIOS) else METHODS[:1]):
            run = make_run(
                folder,
                ratio=ratio,
                seed=seed,
                method=method,
                train=(rises(0.25), rises(5, 0.97)),
                test=(rises(0.25, 0.96), rises(5, 0.93 + 0.01 * place + seed / 500)),
                found={"samples": [(e, {"forgetting": [0, 0, 1, 1]}) for e in (1, 20)]},
            )
            save_samples(run)
    return folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Every figure for a paper that is saved, by the stem of its file."""
    found: dict[str, Figure] = {}
    save = drawing.save

    def saved(figure: Figure, path: Path, **how: Any) -> None:
        save(figure, path, **how)
        if path.suffix == ".pdf":
            found[path.stem] = figure

    monkeypatch.setattr(drawing, "save", saved)
    return found


def page_size(path: Path) -> tuple[float, float]:
    """In inches."""
    found = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", path.read_bytes())
    assert found
    return float(found[1]) / 72, float(found[2]) / 72


def texts(figure: Figure) -> Iterator[tuple[str, Bbox]]:
    """What can be read in a figure, and where. Axes keep ticks outside their limits, which are not
    drawn."""
    with mpl.rc_context(drawing.PAPER):  # which the number of ticks depends on
        figure.draw_without_rendering()  # places are in pixels, and the file had other ones
    unseen = set()
    for axis in figure.axes:
        for scale in (axis.xaxis, axis.yaxis):
            low, high = sorted(scale.get_view_interval())
            ticks = (*scale.get_major_ticks(), *scale.get_minor_ticks())
            unseen |= {tick.label1 for tick in ticks if not low <= tick.get_loc() <= high}
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_visible() and text.get_text().strip() and text not in unseen:
            yield text.get_text(), text.get_window_extent()


def check(figure: Figure) -> None:
    """No text lies on another or leaves the figure; half a pixel is no overlap."""
    shown = list(texts(figure))
    assert shown
    for words, box in shown:
        inside = np.clip(box.extents, 0, [*figure.bbox.max, *figure.bbox.max])
        assert np.abs(inside - box.extents).max() < 0.5, f"{words!r} is cut"
    for (one, a), (other, b) in itertools.combinations(shown, 2):
        common = Bbox.intersection(a, b)
        if common is not None:
            assert min(common.width, common.height) < 0.5, f"{one!r} on {other!r}"


def test_no_text_overlaps_another_or_is_cut(
    study: Path, tmp_path: Path, drawn: dict[str, Figure]
) -> None:
    settings = by_setting(read_runs([study]).finished)
    (ce,) = (setting for setting in settings if setting.is_cross_entropy)
    (comparison,) = comparisons(settings, [])
    some = (figures.learning_curves, figures.gap_against_ratio, samples.cartography)
    draw_for_paper(some, ce, Thresholds(), tmp_path)
    draw_for_paper((methods.differences,), comparison, Thresholds(), tmp_path)
    assert {*drawn} == {
        "learning_curves", "gap_against_ratio", "cartography", "method_differences"
    }  # fmt: skip
    for name, figure in drawn.items():
        wide = 3.3 if name == "gap_against_ratio" else 6.8
        assert page_size(tmp_path / f"{name}.pdf")[0] == pytest.approx(wide), name
        check(figure)
    assert paper_width() is None


@pytest.mark.slow
def test_no_text_overlaps_in_any_figure(
    probed: Path, tmp_path: Path, drawn: dict[str, Figure]
) -> None:
    (setting,) = by_setting(read_runs([probed]).finished)
    draw_for_paper(figures.FIGURES, setting, Thresholds(), tmp_path)
    for section in SECTIONS:
        for subject in section.subjects([setting], []):
            draw_for_paper(section.figures, subject, Thresholds(), tmp_path)
    for figure in drawn.values():
        check(figure)
    assert len(drawn) >= 18


def test_a_figure_of_one_panel_that_is_too_narrow_for_a_column_has_the_page(
    study: Path, tmp_path: Path
) -> None:
    (ce, *_) = by_setting(read_runs([study]).finished)

    def draw(setting: Any, thresholds: Thresholds) -> Any:
        figure, ((axis,),) = drawing.grid(1, 1)
        axis.set_yticks([0], ["a name that takes more than half of a column"])
        return figure, drawing.FigureText("named", "", "")

    draw_for_paper((draw,), ce, Thresholds(), tmp_path)
    assert page_size(tmp_path / "named.pdf")[0] == pytest.approx(6.8)


def test_a_legend_that_needs_more_lines_makes_the_figure_higher(
    tmp_path: Path, drawn: dict[str, Figure]
) -> None:
    for seeds in itertools.product(range(2), repeat=3):
        make_run(tmp_path, ratio=10, seed=seeds[0], seeds=seeds, noise=0.03)
    (setting,) = by_setting(read_runs([tmp_path]).finished)
    draw_for_paper((variance.shares,), setting, Thresholds(), tmp_path)
    assert page_size(tmp_path / "variance.pdf")[0] == pytest.approx(3.3)
    check(drawn["variance"])


def test_the_command_writes_pdfs_beside_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    for method in ("ce", "focal"):
        make_run(study, ratio=10, seed=0, method=method)
    monkeypatch.setattr(build, "FIGURES", (figures.learning_curves,))
    monkeypatch.setattr(build, "sections_with", lambda own: ())
    for style in ("page", "paper"):
        assert main([str(study), f"out={tmp_path / style}", f"style={style}"]) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path}/paper/paper " in said
    assert not list((tmp_path / "page").rglob("*.pdf"))
    stems = {path.relative_to(tmp_path / "page").with_suffix("") for path in
             (tmp_path / "page").rglob("*.png")}  # fmt: skip
    written = tmp_path / "paper" / "paper"
    assert {path.relative_to(written).with_suffix("") for path in written.rglob("*.pdf")} == stems
    assert len({stem.parent for stem in stems}) == 2, "a folder for each setting"
    for stem in stems:
        content = (written / stem).with_suffix(".pdf").read_bytes()
        assert b"/FontFile2" in content, "TrueType, embedded"
        assert b"/Type3" not in content
        old, new = ((tmp_path / style / stem).with_suffix(".png") for style in ("page", "paper"))
        assert old.read_bytes() == new.read_bytes(), "the page is as it was"


def test_another_style_is_one_line(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(study), "style=poster"]) == 2
    assert capsys.readouterr().err == "error: style=poster: must be one of page, paper\n"


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("ratio 10: 300 to 30 samples", ["ratio 10:", "300 to 30", "samples"]),
        ("logit_adjusted_\nloss", ["logit_", "adjusted_", "loss"]),
        ("a\nsingleverylongword", ["a", "singleverylongword"]),
    ],
)
def test_words_are_not_torn(words: str, lines: list[str]) -> None:
    assert in_lines(words, 10) == lines
