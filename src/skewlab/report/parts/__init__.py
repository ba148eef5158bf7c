"""Parts of the report's page beyond curves and claims, each with its own figures and tables."""

from skewlab.report.parts import (
    calibration,
    decomposition,
    geometry,
    gradients,
    initial_drop,
    methods,
    other_probes,
    samples,
    scaling_law,
)

KNOWN = (
    methods.PART,
    decomposition.PART,
    initial_drop.PART,
    gradients.PART,
    geometry.PART,
    samples.PART,
    calibration.PART,
    scaling_law.PART,
)
PARTS = (*KNOWN, other_probes.part_beside(KNOWN))
