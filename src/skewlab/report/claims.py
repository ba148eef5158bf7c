"""The claims of a study: what each says, when it can be asked, and how it is measured.

Five are built in, after Mustapha et al., arXiv 2605.24908: (1) from balanced data the classes are
learned similarly; (2) imbalance makes the network underfit the minority in the early epochs, while
it learns the majority; (3) the minority is learned in the end; (4) what is learned of it does not
generalise. The fourth is asked twice: whether it generalises (4a), and whether the representation
is to blame (4b) or the classifier on top of it, as Kang et al. (ICLR 2020) hold. `load_claims`
takes a study's own claims from another package.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from skewlab.errors import ConfigError, suggestion
from skewlab.metrics.scores import mean_of_present
from skewlab.report.measures import (
    early_class_spread,
    early_lead,
    final_class_spread,
    head_recall,
    learned_between,
    over_seeds,
    recall_step,
)
from skewlab.report.own import imported
from skewlab.report.read import CONTROLS, NO_CONTROL, SWAPPED, Run
from skewlab.report.settings import Setting, paired
from skewlab.report.statistics import ABSENT, Estimate, OnTest, Seeds, estimate, share
from skewlab.report.thresholds import Thresholds

# Controls that are balanced sets: what a run has beyond them is not theirs.
BALANCED_SETS = ("same_total", "same_minority")
NO_BOUNDS = (-math.inf, math.inf)


class Missing(NamedTuple):
    """What must hold before a claim can be asked, and does not.

    Attributes:
        reason: what, in numbers.
        words: of a training command that would mend it.
    """

    reason: str
    words: tuple[str, ...] = ()


class Sample(NamedTuple):
    """A statistic by seed, and how the test sample enters it, where it does for every run."""

    values: dict[Seeds, float]
    test: dict[Seeds, OnTest] | None


class Claim(ABC):
    """A claim about the runs of a setting; `measure` gives one number for each run.

    A claim of one's own is a class below this one in any importable module, judged and shown with
    `python report.py logs/<study> --claim mypaper.claims.WorstClass`.

    Attributes:
        name: short, as in `claim 4a`; the name of the class where it is left out.
        title: what the claim says.
        statistic: what is measured, in words.
        why: why that measures the claim.
        needs: what must hold before it is asked, in words; see `gate`.
        threshold: the number that the statistic is compared with, or a key of `Thresholds`.
        at_most: the claim holds for a statistic below the threshold, not above it.
        balanced: the claim is about the runs at ratio 1; others are judged at each ratio above 1.
        minus_balanced: the statistic is a run's number minus that of the run at ratio 1 of the
            same seeds.
        probe: the probe that the runs must have; empty for none.
        within: the least and the largest possible value of the statistic.
        controls: with which the effect is compared. For `same_total` and `same_minority`, the
            run's number minus the control's is what is left: choose them for a number that is 0
            where imbalance changes nothing.
    """

    name: str = ""
    title: str
    statistic: str
    why: str = ""
    needs: str = ""
    threshold: str | float
    at_most: bool = False
    balanced: bool = False
    minus_balanced: bool = False
    probe: str = ""
    within: tuple[float, float] = NO_BOUNDS
    controls: Sequence[str] = ("equal_updates", "equal_exposures", SWAPPED)

    def __init__(self) -> None:
        self.name = self.name or type(self).__name__

    @abstractmethod
    def measure(self, run: Run, thresholds: Thresholds) -> float:
        """One number for a finished run; NaN leaves the run out."""

    def on_test(self, run: Run) -> OnTest | None:
        """How the finite test sample enters `measure`: `run.on_test(weights)` with the derivative
        of the number by the test recall of each class. None where test has no part in it; without
        it the interval is for this test sample only."""
        return None

    def step(self, run: Run) -> float:
        """The least difference of two values of `measure`, such as one over the number of samples
        of a recall on train; 0 where test has a part in it, or where it is negligible."""
        return 0.0

    def gate(self, setting: Setting, ratio: float, thresholds: Thresholds) -> Missing | None:
        """What must hold before the claim is asked, and does not; None where it can be asked."""
        return None

    def sample(
        self, setting: Setting, ratio: float, thresholds: Thresholds, control: str = NO_CONTROL
    ) -> Sample:
        """The statistic for each seed at one ratio; under a control, what is left of it."""
        balanced_set = control in BALANCED_SETS
        runs = setting.of(NO_CONTROL if balanced_set else control, ratio, self.probe or None)
        values: dict[Seeds, float] = {}
        test: dict[Seeds, OnTest | None] = {}
        if not (self.minus_balanced or balanced_set):
            for run in runs:
                values[run.seed_key] = self.measure(run, thresholds)
                test[run.seed_key] = self.on_test(run)
        else:
            other = setting.of(control, ratio, self.probe or None)
            if not balanced_set:
                like = SWAPPED if control == SWAPPED else NO_CONTROL
                other = setting.of(like, 1, self.probe or None)
            for run, reference in paired(runs, other):
                apart = self.measure(run, thresholds) - self.measure(reference, thresholds)
                own, its = self.on_test(run), self.on_test(reference)
                values[run.seed_key] = apart
                test[run.seed_key] = own.minus(its) if own and its else None
        known = {seeds: one for seeds, one in test.items() if one is not None}
        return Sample(values, known if len(known) == len(values) else None)

    def estimate(
        self, setting: Setting, ratio: float, thresholds: Thresholds, control: str = NO_CONTROL
    ) -> Estimate:
        """The statistic over seeds; under a control, what is left of it."""
        values, test = self.sample(setting, ratio, thresholds, control)
        runs = setting.of(ratio=ratio)
        step = self.step(runs[0]) if runs else 0.0
        return estimate(values, test, step=step, within=self.within)

    def left(
        self, setting: Setting, ratio: float, thresholds: Thresholds, control: str
    ) -> tuple[Estimate, Estimate]:
        """What is left of the effect under a control, and its share of the whole effect, over the
        seeds that both have."""
        rest = self.sample(setting, ratio, thresholds, control)
        if not rest.values:
            return ABSENT, ABSENT
        whole = self.sample(setting, ratio, thresholds)
        values = {
            s: v for s, v in rest.values.items() if np.isfinite(v + whole.values.get(s, np.nan))
        }
        runs = setting.of(ratio=ratio)
        step = self.step(runs[0]) if runs else 0.0
        effect = estimate(values, rest.test, step=step, within=self.within)
        return effect, share(values, whole.values, rest.test, whole.test)

    def note(self, setting: Setting, ratio: float, thresholds: Thresholds) -> str:
        """What a reader should know beside the verdict; empty for nothing."""
        return ""


def _longer(runs: Sequence[Run], epochs: float) -> tuple[str, ...]:
    """The word of a command that trains longer."""
    return (f"trainer.max_epochs={math.ceil(epochs)}",)


def _not_learned(
    runs: Sequence[Run], groups: Sequence[str], thresholds: Thresholds, who: str
) -> Missing | None:
    """Whether some runs have not learned a group by the end: its train recall, the mean over
    seeds, is below `learned_recall`."""
    for group in groups:
        recall = over_seeds(runs, [run.final("train", "recall", group) for run in runs]).mean
        if recall < thresholds.learned_recall:
            longest = max(run.curves["train"].epoch[-1] for run in runs)
            return Missing(
                f"{who} the {group}: train recall {recall:.2f} after {longest:g} epochs, below "
                f"{thresholds.learned_recall:g}",
                _longer(runs, 4 * longest),
            )
    return None


def _balanced_learned(
    setting: Setting, groups: Sequence[str], thresholds: Thresholds
) -> Missing | None:
    runs = setting.of(ratio=1)
    return _not_learned(runs, groups, thresholds, "the balanced network has not learned")


class LearnedAlike(Claim):
    """Claim 1."""

    name = "1"
    title = "From balanced data the classes are learned similarly"
    statistic = (
        "standard deviation of the recall between classes, net of chance: on train, averaged over "
        "the early phase (until all classes together have been learned), or on test at the end, "
        "whichever is larger"
    )
    why = (
        "classes that are learned alike differ neither while they are learned nor in the end; "
        "means of groups of classes would hide differences that cancel"
    )
    needs = "the balanced network has learned all classes together"
    threshold = "alike"
    at_most = True
    balanced = True
    within = (0.0, 1.0)
    controls = ()

    def measure(self, run: Run, thresholds: Thresholds) -> float:
        # NaN, and not the end alone, where the phase has no end.
        return float(np.maximum(early_class_spread(run, thresholds), final_class_spread(run)))

    def on_test(self, run: Run) -> OnTest | None:
        recall = run.curves["test"].values["recall"][-1]
        spread = final_class_spread(run)
        if not np.isfinite(spread):
            return None
        apart = np.nan_to_num(recall - np.nanmean(recall))
        # Close to 0 the derivative of a root has no bound, and the root is biased upwards anyway.
        return run.on_test(apart / (len(recall) - 1) / max(spread, 0.01))

    def gate(self, setting: Setting, ratio: float, thresholds: Thresholds) -> Missing | None:
        return _balanced_learned(setting, ("majority", "minority"), thresholds)

    def note(self, setting: Setting, ratio: float, thresholds: Thresholds) -> str:
        runs = setting.of(ratio=ratio)
        early = mean_of_present(np.asarray([early_class_spread(r, thresholds) for r in runs]))
        end = mean_of_present(np.asarray([final_class_spread(run) for run in runs]))
        if not np.isfinite(early + end):
            return ""
        return f"{early:.2f} on train in the early phase, {end:.2f} on test at the end"


class UnderfitEarly(Claim):
    """Claim 2."""

    name = "2"
    title = (
        "Imbalance makes the network underfit the minority early on, while it learns the majority"
    )
    statistic = (
        "train recall of the majority minus the minority, averaged over the early phase (until the "
        "majority has been learned), minus the same of the balanced run of the same seeds"
    )
    why = (
        "it is large only if the majority is learned and the minority is not, for most of that "
        "phase; the balanced run takes away what is due to the classes' difficulty; and the phase "
        "does not depend on how long the run goes on"
    )
    needs = "the imbalanced and the balanced network have learned the majority"
    threshold = "early_gap"
    minus_balanced = True
    within = (-2.0, 2.0)
    controls = CONTROLS

    def measure(self, run: Run, thresholds: Thresholds) -> float:
        return early_lead(run, thresholds)

    def step(self, run: Run) -> float:
        return recall_step([run], "train", "minority")

    def gate(self, setting: Setting, ratio: float, thresholds: Thresholds) -> Missing | None:
        runs = setting.of(ratio=ratio)
        return _balanced_learned(setting, ("majority",), thresholds) or _not_learned(
            runs, ("majority",), thresholds, "the network has not learned"
        )


class LearnedInTheEnd(Claim):
    """Claim 3."""

    name = "3"
    title = "The minority's samples are learned in the end"
    statistic = "train recall of the minority at the last epoch"
    why = "it is the share of the minority's training samples that the network gets right"
    needs = (
        "the balanced network has learned these classes; and where the minority is not learned, "
        "the training was long: ten times the updates that the majority took"
    )
    threshold = "learned_recall"
    within = (0.0, 1.0)

    def measure(self, run: Run, thresholds: Thresholds) -> float:
        return run.final("train", "recall", "minority")

    def step(self, run: Run) -> float:
        return recall_step([run], "train", "minority")

    def gate(self, setting: Setting, ratio: float, thresholds: Thresholds) -> Missing | None:
        runs = setting.of(ratio=ratio)
        if _not_learned(runs, ("minority",), thresholds, "") is None:
            return None
        if missing := _balanced_learned(setting, ("minority",), thresholds) or _not_learned(
            runs, ("majority",), thresholds, "the network has not learned"
        ):
            return missing
        took = max(learned_between(run, "majority", thresholds)[1] for run in runs)
        ends = min(float(run.curves["train"].step[-1]) for run in runs)
        if ends >= thresholds.long_enough * took:
            return None
        epochs = max(float(run.curves["train"].epoch[-1]) for run in runs)
        wanted = 4.0 if math.isinf(took) else 1.2 * thresholds.long_enough * took / ends
        return Missing(
            f"{ends:g} updates are not the end of the training: the majority took {took:g}, and "
            f"{thresholds.long_enough:g} times as many are needed",
            _longer(runs, wanted * epochs),
        )


class DoesNotGeneralise(Claim):
    """Claim 4a."""

    name = "4a"
    title = "What is learned of the minority does not generalise"
    statistic = (
        "the minority's generalisation gap (train minus test recall at the last epoch) minus that "
        "of the same classes in the balanced run of the same seeds"
    )
    why = (
        "the gap is what was learned and does not carry over to test; the balanced run takes away "
        "the part that is due to the classes' difficulty"
    )
    needs = "the minority has been learned, from balanced and from imbalanced data"
    threshold = "generalisation_gap"
    minus_balanced = True
    within = (-2.0, 2.0)
    controls = CONTROLS

    def measure(self, run: Run, thresholds: Thresholds) -> float:
        return run.generalisation_gap("minority")

    def on_test(self, run: Run) -> OnTest | None:
        return run.on_test(-run.class_weights("minority"))

    def gate(self, setting: Setting, ratio: float, thresholds: Thresholds) -> Missing | None:
        runs = setting.of(ratio=ratio)
        return _balanced_learned(setting, ("minority",), thresholds) or _not_learned(
            runs, ("minority",), thresholds, "the network has not learned"
        )


class RepresentationDoesNotGeneralise(DoesNotGeneralise):
    """Claim 4b: the statistic is a ratio of two means over seeds."""

    name = "4b"
    title = "It is the representation of the minority that does not generalise"
    statistic = (
        "of what training on balanced data adds to the features of the minority's classes, the "
        "share that imbalance takes: (balanced - imbalanced) / (balanced - untrained), each the "
        "minority's test recall by a linear probe fitted to balanced held-out samples"
    )
    why = (
        "0: the features are as good as those of balanced data, and the head is at fault; 1: they "
        "are no better than those of the untrained network"
    )
    needs = (
        "as of claim 4a; and the probe can tell the features of the balanced network from those of "
        "the untrained one"
    )
    threshold = "representation_share"
    probe = "representation"
    within = NO_BOUNDS
    controls = ("same_minority",)

    def measure(self, run: Run, thresholds: Thresholds) -> float:
        return head_recall(run, "balanced_probe")

    def gate(self, setting: Setting, ratio: float, thresholds: Thresholds) -> Missing | None:
        if missing := super().gate(setting, ratio, thresholds):
            return missing
        pairs = self._pairs(setting, ratio)
        if not pairs:
            return None
        added = estimate(
            {run.seed_key: _trained(balanced) - _untrained(balanced) for run, balanced in pairs}
        )
        if added.n < 2 or added.low > thresholds.training_adds:
            return None
        return Missing(
            f"the probe cannot tell trained from untrained features: training adds {added} to its "
            f"recall, which must be more than {thresholds.training_adds:g}; take a data set that "
            "needs more of the features, or fewer held-out samples",
            ("data.val_per_class=20",),
        )

    def estimate(
        self, setting: Setting, ratio: float, thresholds: Thresholds, control: str = NO_CONTROL
    ) -> Estimate:
        pairs = self._pairs(setting, ratio, control)
        return self._share(pairs, lambda run, other: _trained(other) - _untrained(other))

    def left(
        self, setting: Setting, ratio: float, thresholds: Thresholds, control: str
    ) -> tuple[Estimate, Estimate]:
        effect = self.estimate(setting, ratio, thresholds, control)
        whole = {run.seed_key: balanced for run, balanced in self._pairs(setting, ratio)}
        pairs = [pair for pair in self._pairs(setting, ratio, control) if pair[0].seed_key in whole]
        return effect, self._share(
            pairs, lambda run, _: _trained(whole[run.seed_key]) - _trained(run)
        )

    def _share(
        self, pairs: Sequence[tuple[Run, Run]], whole: Callable[[Run, Run], float]
    ) -> Estimate:
        """(other - run) / whole. The test sample enters the difference; predictions of probes are
        not kept, so that each probe's recall counts with its whole binomial variance."""
        part = {run.seed_key: _trained(other) - _trained(run) for run, other in pairs}
        below = {run.seed_key: whole(run, other) for run, other in pairs}
        test = {
            run.seed_key: _probed_on_test(other).minus(_probed_on_test(run)) for run, other in pairs
        }
        return share(part, below, test, test)

    def note(self, setting: Setting, ratio: float, thresholds: Thresholds) -> str:
        pairs = self._pairs(setting, ratio)
        if not pairs:
            return "the probe was not switched on for these runs and the balanced ones"
        runs = [run for run, _ in pairs]

        def gain(group: str) -> Estimate:
            both = [[head_recall(run, head, group) for run in runs] for head in HEADS_COMPARED]
            return over_seeds(runs, (np.asarray(both[0]) - np.asarray(both[1])).tolist())

        others = {
            "by the balanced network": [_trained(balanced) for _, balanced in pairs],
            "by this one": [_trained(run) for run in runs],
            "by the untrained one": [_untrained(balanced) for _, balanced in pairs],
        }
        recalls = ", ".join(f"{over_seeds(runs, v).mean:.3f} {who}" for who, v in others.items())
        sizes = ", ".join(
            f"{size} a class {over_seeds(runs, [head_recall(run, name) for run in runs]).mean:.3f}"
            for size in HELD_OUT_SIZES
            if all((name := f"held_out_{size}") in _heads(run) for run in runs)
        )
        edges = [float(np.max(run.probes[self.probe].values.get("at_edge", 0))) for run in runs]
        return (
            f"the probe's recall of the minority on features {recalls}"
            + (f"; fitted to fewer held-out samples on this one's, {sizes}" if sizes else "")
            + f"; beside the network's own head the probe changes the minority's recall by "
            f"{gain('minority')}, and the majority's by {gain('majority')}"
            + (f"; its penalty is an end of the grid in {sum(edges):g} runs" if any(edges) else "")
        )

    def _pairs(
        self, setting: Setting, ratio: float, control: str = NO_CONTROL
    ) -> list[tuple[Run, Run]]:
        """Imbalanced runs, each with the balanced run of the same seeds, or the control's."""
        runs = setting.of(ratio=ratio, probe=self.probe)
        other = setting.of(control, 1 if control == NO_CONTROL else ratio, self.probe)
        return [
            pair
            for pair in paired(runs, other)
            if all("balanced_probe" in _heads(run) for run in pair) and _begins(pair[1])
        ]


# Whose difference is what the probe gains, the probe first; and sizes of its held-out sample.
HEADS_COMPARED = ("balanced_probe", "own_head")
HELD_OUT_SIZES = (20, 50, 100)


def _heads(run: Run) -> set[str]:
    return {name.removeprefix("recall/") for name in run.probes["representation"].values}


def _begins(run: Run) -> bool:
    """Whether the probe measured the untrained network."""
    return run.probes["representation"].step[0] == 0 and len(run.probes["representation"].step) > 1


def _trained(run: Run) -> float:
    return head_recall(run, "balanced_probe")


def _untrained(run: Run) -> float:
    return head_recall(run, "balanced_probe", at=0)


def _probed_on_test(run: Run) -> OnTest:
    recall = run.probes["representation"].values["recall/balanced_probe"][-1]
    return run.on_test(run.class_weights("minority"), recall)


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
        claim = imported(path, key, "a class below skewlab.report.claims.Claim", _whole)
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


def _whole(kind: Any) -> Claim:
    """The claim that a class makes, with all that a claim must have."""
    if not (isinstance(kind, type) and issubclass(kind, Claim)):
        raise TypeError("it is something else")
    claim = kind()
    for needed in ("title", "statistic", "threshold"):
        getattr(claim, needed)
    return claim
