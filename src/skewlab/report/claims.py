"""The study's claims, each with its statistic, threshold, interval and verdict.

Mustapha et al., arXiv 2605.24908, from monitoring networks on data of varying imbalance ratios:
(1) from balanced data the classes are learned similarly; (2) imbalance makes the model underfit the
minority in the early epochs while it learns only the majority; (3) the minority is learned in the
end; (4) what is learned of it does not generalise. The fourth is asked twice: whether it
generalises (4a), and whether that is for the representation (4b) or, as Kang et al. (ICLR 2020)
hold against it, for the classifier on top.
"""

from dataclasses import dataclass, field

from skewlab.report.read import SWAPPED
from skewlab.report.statistics import Estimate

SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"
CONTROL_LABELS = {
    "same_total": "compared with a balanced set of the same total",
    "same_minority": "compared with a balanced set of as few samples a class",
    "equal_updates": "trained for as many updates as the balanced set",
    SWAPPED: "with the roles of the classes swapped",
}


@dataclass(frozen=True)
class Claim:
    """What a claim says and how it is measured.

    Attributes:
        title: what it says.
        statistic: what is measured; `{early}` stands for the early share of the training.
        why: why that measures the claim.
        threshold: the key of `Thresholds` it is measured against.
        at_most: whether the statistic must stay below the threshold, not above.
    """

    title: str
    statistic: str
    why: str
    threshold: str
    at_most: bool = False


CLAIMS = {
    "1": Claim(
        "From balanced data the classes are learned similarly",
        "difference of the two groups' recalls: on train, absolute, averaged over the first "
        "{early} of the training, or on test at the end, whichever is larger",
        "groups that are learned alike differ neither while they are learned nor in the end; the "
        "absolute difference counts noise against the claim",
        "alike",
        at_most=True,
    ),
    "2": Claim(
        "Imbalance makes the network underfit the minority early on, while it learns the majority",
        "train recall of the majority minus the minority, averaged over the first {early} of the "
        "training",
        "it is large only if the majority is learned and the minority is not, for most of the "
        "early phase",
        "early_gap",
    ),
    "3": Claim(
        "The minority's samples are learned in the end",
        "train recall of the minority at the last epoch",
        "it is the share of the minority's training samples that the network gets right",
        "learned_recall",
    ),
    "4a": Claim(
        "What is learned of the minority does not generalise",
        "the minority's generalisation gap (train minus test recall at the last epoch) minus that "
        "of the same classes in the balanced run of the same seed",
        "the gap is what was learned and does not carry over to test; the balanced run takes away "
        "the part that is due to the classes' difficulty",
        "generalisation_gap",
    ),
    "4b": Claim(
        "It is the representation of the minority that does not generalise",
        "share of the minority's deficit in test recall, against the balanced run of the same "
        "seed, that is left when a linear probe fitted to balanced held-out samples replaces the "
        "head",
        "if the features were at fault no head could use them; if the head is at fault, another "
        "one on the same features recovers the minority",
        "representation_share",
    ),
}


@dataclass(frozen=True)
class Survival:
    """What is left of an effect under a control.

    Attributes:
        control: its name, see configs/control.
        estimate: the effect under the control, on the scale of the claim's statistic.
        survives: that over the whole effect; None where there is no whole to speak of.
    """

    control: str
    estimate: Estimate
    survives: Estimate | None

    @property
    def label(self) -> str:
        return CONTROL_LABELS[self.control]


@dataclass(frozen=True)
class Verdict:
    """One claim, judged for one setting and ratio.

    Attributes:
        claim: a key of `CLAIMS`.
        setting: the data set and what else tells the setting from others.
        ratio: imbalance ratio.
        statistic: what was measured, in words.
        threshold: what it is measured against.
        estimate: of the statistic over seeds; None where it could not be measured.
        verdict: supported or refuted where the whole interval is on one side of the threshold.
        note: why it is undecided and what would decide it, or what else to know.
        controls: what is left of the effect where something else could explain it.
    """

    claim: str
    setting: str
    ratio: float
    statistic: str
    threshold: float
    estimate: Estimate | None
    verdict: str
    note: str
    controls: list[Survival] = field(default_factory=list)

    @property
    def title(self) -> str:
        return CLAIMS[self.claim].title

    @property
    def criterion(self) -> str:
        return f"{'at most' if CLAIMS[self.claim].at_most else 'at least'} {self.threshold:g}"


def judge(
    estimate: Estimate | None, threshold: float, at_most: bool, least_seeds: int
) -> tuple[str, str]:
    """The verdict, and for an undecided one the reason."""
    if estimate is None:
        return UNDECIDED, "not measured"
    if estimate.n < least_seeds:
        return UNDECIDED, f"{estimate.n} of at least {least_seeds} seeds"
    low, high = estimate.low, estimate.high
    if at_most:
        low, high, threshold = -high, -low, -threshold
    if low >= threshold:
        return SUPPORTED, ""
    if high < threshold:
        return REFUTED, ""
    return UNDECIDED, "the interval holds the threshold"
