"""Sections of the report's page beside the curves and claims, each with figures and tables."""

from collections.abc import Sequence

from skewlab.report.sections import (
    calibration,
    decomposition,
    geometry,
    gradients,
    initial_drop,
    methods,
    other_probes,
    rankings,
    samples,
    scaling_law,
    variance,
)
from skewlab.report.sections.section import PageSection

KNOWN = (
    methods.SECTION,
    rankings.SECTION,
    decomposition.SECTION,
    initial_drop.SECTION,
    gradients.SECTION,
    geometry.SECTION,
    samples.SECTION,
    calibration.SECTION,
    scaling_law.SECTION,
    variance.SECTION,
)


def sections_with(own: Sequence[PageSection]) -> list[PageSection]:
    """All sections, in the order of the page, with some of a study's own."""
    shown = [*KNOWN, *own]
    return [*shown, other_probes.section_of_others(shown)]


SECTIONS = sections_with(())
