"""Sections of the report's page beside the curves and claims, each with figures and tables."""

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
SECTIONS = (*KNOWN, other_probes.section_of_others(KNOWN))
