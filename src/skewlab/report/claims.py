"""The claims of a study: what each says, and how it is measured.

Five are built in, after Mustapha et al., arXiv 2605.24908: (1) from balanced data the classes are
learned similarly; (2) imbalance makes the network underfit the minority in the early epochs, while
it learns the majority; (3) the minority is learned in the end; (4) what is learned of it does not
generalise. The fourth is asked twice: whether it generalises (4a), and whether the representation
is to blame (4b) or the classifier on top of it, as Kang et al. (ICLR 2020) hold. `load_claims`
takes a study's own claims from another package.
"""

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from skewlab.errors import ConfigError, suggestion
from skewlab.report.measures import early_gap, head_recall
from skewlab.report.read import CONTROLS, NO_CONTROL, SWAPPED, Run
from skewlab.report.settings import Setting, paired
from skewlab.report.statistics import Estimate, bootstrap, bootstrap_present, bootstrap_share
from skewlab.report.thresholds import Thresholds

BySeed = dict[tuple[int, ...], float]


class Claim(ABC):
    """A claim about the runs of a setting; `measure` gives one number for each run.

    A claim of one's own is a class below this one in any importable module, judged and shown with
    `python report.py logs/<study> --claim mypaper.claims.WorstClass`.

    Attributes:
        name: short, as in `claim 4a`; the name of the class where it is left out.
        title: what the claim says.
        statistic: what is measured, in words; `{early}` stands for the early share of training.
        why: why that measures the claim.
        threshold: the number that the statistic is compared with, or a key of `Thresholds`.
        at_most: the claim holds for a statistic below the threshold, not above it.
        balanced: the claim is about the runs at ratio 1; others are judged at each ratio above 1.
        minus_balanced: the statistic is a run's number minus that of the run at ratio 1 of the
            same seed.
        probe: the probe that the runs must have; empty for none.
        controls: with which the effect is compared. For `same_total` and `same_minority`, the
            run's number minus the control's is what is left: choose them for a number that is 0
            where imbalance changes nothing.
    """

    name: str = ""
    title: str
    statistic: str
    why: str = ""
    threshold: str | float
    at_most: bool = False
    balanced: bool = False
    minus_balanced: bool = False
    probe: str = ""
    controls: Sequence[str] = ("equal_updates", SWAPPED)

    def __init__(self) -> None:
        self.name = self.name or type(self).__name__

    @abstractmethod
    def measure(self, run: Run, thresholds: Thresholds) -> float:
        """One number for a finished run; NaN leaves the run out."""

    def by_seed(
        self, setting: Setting, ratio: float, thresholds: Thresholds, control: str = NO_CONTROL
    ) -> BySeed:
        """The statistic for each seed at one ratio, of the study's runs or of a control's."""
        runs = setting.of(control, ratio, self.probe or None)
        if not self.minus_balanced:
            return {run.seed_key: self.measure(run, thresholds) for run in runs}
        like = SWAPPED if control == SWAPPED else NO_CONTROL
        return {
            run.seed_key: self.measure(run, thresholds) - self.measure(balanced, thresholds)
            for run, balanced in paired(runs, setting.of(like, 1, self.probe or None))
        }

    def estimate(self, setting: Setting, ratio: float, thresholds: Thresholds) -> Estimate | None:
        """The statistic over seeds; None where no run has it."""
        return bootstrap_present(self.by_seed(setting, ratio, thresholds).values())

    def note(self, setting: Setting, ratio: float, thresholds: Thresholds) -> str:
        """What a reader should know beside the verdict; empty for nothing."""
        return ""


class LearnedAlike(Claim):
    """Claim 1."""

    name = "1"
    title = "From balanced data the classes are learned similarly"
    statistic = (
        "difference of the two groups' recalls: on train, absolute, averaged over the first "
        "{early} of the training, or on test at the end, whichever is larger"
    )
    why = (
        "groups that are learned alike differ neither while they are learned nor in the end; the "
        "absolute difference counts noise against the claim"
    )
    threshold = "alike"
    at_most = True
    balanced = True
    controls = ()

    def measure(self, run: Run, thresholds: Thresholds) -> float:
        last = [run.final("test", "recall", group) for group in ("majority", "minority")]
        early = early_gap(run, thresholds.early_fraction, absolute=True)
        return max(early, abs(last[0] - last[1]))


class UnderfitEarly(Claim):
    """Claim 2."""

    name = "2"
    title = (
        "Imbalance makes the network underfit the minority early on, while it learns the majority"
    )
    statistic = (
        "train recall of the majority minus the minority, averaged over the first {early} of the "
        "training"
    )
    why = (
        "it is large only if the majority is learned and the minority is not, for most of the "
        "early phase"
    )
    threshold = "early_gap"
    controls = CONTROLS

    def measure(self, run: Run, thresholds: Thresholds) -> float:
        return early_gap(run, thresholds.early_fraction)


class LearnedInTheEnd(Claim):
    """Claim 3."""

    name = "3"
    title = "The minority's samples are learned in the end"
    statistic = "train recall of the minority at the last epoch"
    why = "it is the share of the minority's training samples that the network gets right"
    threshold = "learned_recall"

    def measure(self, run: Run, thresholds: Thresholds) -> float:
        return run.final("train", "recall", "minority")


class DoesNotGeneralise(Claim):
    """Claim 4a."""

    name = "4a"
    title = "What is learned of the minority does not generalise"
    statistic = (
        "the minority's generalisation gap (train minus test recall at the last epoch) minus that "
        "of the same classes in the balanced run of the same seed"
    )
    why = (
        "the gap is what was learned and does not carry over to test; the balanced run takes away "
        "the part that is due to the classes' difficulty"
    )
    threshold = "generalisation_gap"
    minus_balanced = True
    controls = CONTROLS

    def measure(self, run: Run, thresholds: Thresholds) -> float:
        return run.generalisation_gap("minority")

    def note(self, setting: Setting, ratio: float, thresholds: Thresholds) -> str:
        learned = [run.final("train", "recall", "minority") for run in setting.of(ratio=ratio)]
        if np.mean(learned) < 0.5:
            return "most of the minority was not learned, so there is little that could generalise"
        return ""


class RepresentationDoesNotGeneralise(Claim):
    """Claim 4b: the statistic is a ratio of two means over seeds."""

    name = "4b"
    title = "It is the representation of the minority that does not generalise"
    statistic = (
        "share of the minority's deficit in test recall, against the balanced run of the same "
        "seed, that is left when a linear probe fitted to balanced held-out samples replaces the "
        "head"
    )
    why = (
        "if the features were at fault no head could use them; if the head is at fault, another "
        "one on the same features recovers the minority"
    )
    threshold = "representation_share"
    minus_balanced = True
    probe = "representation"
    controls = ()

    def measure(self, run: Run, thresholds: Thresholds) -> float:
        return head_recall(run, "balanced_probe")

    def estimate(self, setting: Setting, ratio: float, thresholds: Thresholds) -> Estimate | None:
        own = self._deficits(setting, ratio, "own_head")
        probe = self._deficits(setting, ratio, "balanced_probe")
        return bootstrap_share(probe, own) if own else None

    def note(self, setting: Setting, ratio: float, thresholds: Thresholds) -> str:
        own = self._deficits(setting, ratio, "own_head")
        probe = self._deficits(setting, ratio, "balanced_probe")
        if not own:
            return "the probe was not switched on for these runs and the balanced ones"
        return (
            f"the minority's deficit on test is {bootstrap(own)} with the network's own head and "
            f"{bootstrap(probe)} with the probe"
        )

    def _deficits(self, setting: Setting, ratio: float, head: str) -> list[float]:
        """The balanced run's recall of the minority minus the imbalanced one's, for each seed."""
        runs, balanced = (setting.of(ratio=of, probe=self.probe) for of in (ratio, 1))
        pairs = paired(runs, balanced)
        return [head_recall(other, head) - head_recall(run, head) for run, other in pairs]


CLAIMS: tuple[Claim, ...] = (
    LearnedAlike(),
    UnderfitEarly(),
    LearnedInTheEnd(),
    DoesNotGeneralise(),
    RepresentationDoesNotGeneralise(),
)


def load_claims(paths: Sequence[str], key: str) -> list[Claim]:
    """A study's own claims.

    Args:
        paths: of classes below `Claim`, such as `mypaper.claims.WorstClass`. They are imported:
            take them from the person who runs the program, never from a file of a run.
        key: where the paths were given, for the message.

    Raises:
        ConfigError: there is no such class, or it is not a whole claim.
    """
    claims: list[Claim] = []
    for path in paths:
        try:
            kind = pkgutil.resolve_name(path)
            if not (isinstance(kind, type) and issubclass(kind, Claim)):
                raise TypeError("it is something else")
            claim = kind()
            for needed in ("title", "statistic", "threshold"):
                getattr(claim, needed)
        except Exception as error:  # the module is somebody's, and may raise anything
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"{key}={path}: must be the path of a class below skewlab.report.claims.Claim "
                f"({type(error).__name__}: {reason})"
            ) from error
        threshold = claim.threshold
        if isinstance(threshold, str) and threshold not in Thresholds.model_fields:
            raise ConfigError(
                f"{key}={path}: its threshold={threshold} must be a number, or a threshold of the "
                f"report{suggestion(threshold, Thresholds.model_fields)}"
            )
        if claim.name in {other.name for other in (*CLAIMS, *claims)}:
            raise ConfigError(f"{key}={path}: the name {claim.name} is another claim's already")
        claims.append(claim)
    return claims
