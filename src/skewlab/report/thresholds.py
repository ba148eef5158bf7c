"""What the verdicts are measured against: `python report.py logs/<study> early_gap=0.4`."""

from typing import Any

from pydantic import Field, ValidationError

from skewlab.config.schema import Section, error_lines
from skewlab.errors import ConfigError

SHARE = "a number between 0 and 1"


class Thresholds(Section):
    """The report's settings, with defaults fixed before any result was seen, but for
    `early_gap`, whose scale was known from single runs.

    Attributes:
        early_fraction: the share of the training that counts as early; 0.1 of 30 epochs are 3.
        alike: claim 1: the groups are learned alike if they differ by at most this.
        early_gap: claim 2: the majority leads early on by at least this on average.
        learned_recall: claim 3 and time to learn: train recall that counts as learned.
        sustained: evaluations in a row that the recall must hold for time to learn.
        generalisation_gap: claim 4a: the minority's gap exceeds that of balanced data by this.
        representation_share: claim 4b: at least this share of the minority's deficit on test is
            still there with a balanced probe in place of the head.
        least_seeds: fewer leave every claim undecided.
    """

    early_fraction: float = Field(0.1, gt=0, le=1, description=SHARE)
    alike: float = Field(0.1, ge=0, le=1, description=SHARE)
    early_gap: float = Field(0.25, ge=0, le=1, description=SHARE)
    learned_recall: float = Field(0.9, gt=0, le=1, description=SHARE)
    sustained: int = Field(3, ge=1, description="a whole number of at least 1")
    generalisation_gap: float = Field(0.1, ge=0, le=1, description=SHARE)
    representation_share: float = Field(0.5, ge=0, le=1, description=SHARE)
    least_seeds: int = Field(3, ge=2, description="a whole number of at least 2")


def read_thresholds(given: dict[str, Any]) -> Thresholds:
    """The defaults with some keys replaced.

    Raises:
        ConfigError: an unknown key or a value that is not allowed.
    """
    try:
        return Thresholds.model_validate(given)
    except ValidationError as error:
        raise ConfigError("\n".join(error_lines(error, given, Thresholds))) from None
