"""What the verdicts are measured against: `python report.py logs/<study> early_gap=0.4`."""

from typing import Any

from pydantic import Field, ValidationError

from skewlab.config.schema import Section, error_lines
from skewlab.errors import ConfigError

SHARE = "a number between 0 and 1"


class Thresholds(Section):
    """The report's settings; docs/report.md says why each has its default.

    Attributes:
        alike: claim 1: the classes are learned alike if their recalls spread by at most this.
        early_gap: claim 2: the majority leads early on by at least this on average.
        learned_recall: claim 3, the gates and time to learn: train recall that counts as learned.
        sustained: evaluations in a row that the recall must hold for time to learn.
        long_enough: a claim about the end is refuted after so many times the updates that the
            majority took, and not applicable before.
        generalisation_gap: claim 4a: the minority's gap exceeds that of balanced data by this.
        representation_share: claim 4b: imbalance takes at least this share of what training adds
            to the features.
        training_adds: claim 4b can be asked if training adds more than this to a probe's recall.
        level: of the tests: the probability of any false verdict in a family.
        least_seeds: fewer leave every claim undecided.
    """

    alike: float = Field(0.1, ge=0, le=1, description=SHARE)
    early_gap: float = Field(0.25, ge=0, le=1, description=SHARE)
    learned_recall: float = Field(0.9, gt=0, le=1, description=SHARE)
    sustained: int = Field(3, ge=1, description="a whole number of at least 1")
    long_enough: float = Field(10, ge=1, description="a number of at least 1")
    generalisation_gap: float = Field(0.1, ge=0, le=1, description=SHARE)
    representation_share: float = Field(0.5, ge=0, le=1, description=SHARE)
    training_adds: float = Field(0.02, ge=0, le=1, description=SHARE)
    level: float = Field(0.05, gt=0, lt=1, description=SHARE)
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
