"""Representation or classifier: which of the two causes a low recall of the minority?

Under imbalance a network's recall of the minority on test is low. Either its features do not
separate the minority's classes (the fourth claim of the study), or they do, but the head, which was
trained on imbalanced classes, does not use them (Kang et al., ICLR 2020). The probe fits other
heads to the same frozen features. `report.parts.decomposition` compares them with the same probe on
a network that was trained on balanced data with the same seed.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from skewlab.errors import ConfigError
from skewlab.metrics.scores import FloatArray, recall_per_class
from skewlab.probes.geometry import ClassFeatures, nearest_mean
from skewlab.probes.probe import (
    Found,
    IntArray,
    Moment,
    Probe,
    RunFacts,
    SplitOutputs,
    check_whole,
)

# Takes the network's features and logits to predicted classes.
Head = Callable[[SplitOutputs], IntArray]
# Inverse strengths of a fitted head's regularisation; cross-validation picks one. The grid is wide
# enough that its ends are not the best; `at_edge` says where they are.
STRENGTHS = tuple(10.0**power for power in range(-5, 2))
FOLDS = 3
# Sizes of a smaller held-out sample, in samples of each class, and how many draws of each.
HELD_OUT, HELD_OUT_DRAWS = (20, 50, 100), 2
# A head that is fitted to few samples depends on which they are: the mean over this many draws.
DRAWS = 5


class Representation(Probe):
    """Test and val recall of several heads on the frozen features, every `every_n_epochs` epochs.

    Fitted to the imbalanced training set only:

    - own_head: the network's head.
    - prior_adjusted: the network's logits minus the log of the training prior (Menon et al. 2021,
      tau = 1).
    - nearest_class_mean: the class whose mean training feature is nearest (Euclidean).
    - nearest_neighbours: a vote of the nearest training samples, weighted by 1 / distance.
    - retrained_head: a new linear head, all classes with the same weight (Kang et al.'s cRT).

    Fitted to the val split, which is balanced and was not used to train the network:

    - balanced_probe: a linear head on all of it.
    - held_out_20, held_out_50, held_out_100: on so many of each class, where val has them; mean
      over 2 draws.
    - few_probe: a linear head on as many samples of each class as the training set has, or all of
      val's where these are fewer; all classes with the same weight, mean over 5 draws, all with
      the penalty that suits the first. Compared
      with it, `retrained_head` shows the loss because the network was fitted to the training
      samples, and `balanced_probe` shows the gain from more samples.
    - few_as_at/<ratio>: the same with the numbers of samples that the training set would have at
      another ratio. On the features of a balanced network it shows how many samples a good
      representation needs.

    A line has arrays over classes: `recall/<head>` on test, and `val/<head>` for the heads that are
    fitted to the training set; and the number `at_edge`, 1 where the penalty of `balanced_probe` is
    an end of the grid. The first line is of the untrained network.

    Args:
        about: the run.
        every_n_epochs: how often it measures, in addition to the start and the end of training.
        neighbours: number of neighbours that vote.
        few_as_at: the other ratios. Ratios that the data cannot give are left out; with
            imbalance=counts, which has no ratio, all of them.
    """

    splits_network = True

    def __init__(
        self,
        about: RunFacts,
        every_n_epochs: int = 10,
        neighbours: int = 5,
        few_as_at: Sequence[float] = (10, 50, 100),
    ) -> None:
        super().__init__(about)
        check_whole("representation", every_n_epochs=every_n_epochs, neighbours=neighbours)
        self._every_n_epochs, self._neighbours = every_n_epochs, neighbours
        self._few = {"few_probe": about.counts}
        missing: list[str] = []
        for ratio in few_as_at:
            if not isinstance(ratio, int | float) or ratio < 1:
                raise ConfigError(
                    f"curves.probes.representation.few_as_at={list(few_as_at)}: must be a list of "
                    "ratios of at least 1"
                )
            try:
                self._few[f"few_as_at/{ratio:g}"] = about.counts_at(ratio)
            except ConfigError:
                missing.append(f"{ratio:g}")
        if missing:
            self.left_out = (
                f"few_as_at={list(few_as_at)}: without {', '.join(missing)}, which this data or "
                "imbalance=counts cannot give"
            )

    def wants(self, moment: Moment) -> tuple[str, ...]:
        due = moment.whole and round(moment.epoch) % self._every_n_epochs == 0
        return ("train", "val", "test") if due or moment.last or not moment.step else ()

    def measure(
        self, moment: Moment, outputs: Mapping[str, SplitOutputs], module: pl.LightningModule
    ) -> Found | None:
        train, val, test = (outputs[split] for split in ("train", "val", "test"))
        of_train = self._fitted_to_train(train)
        balanced = linear_head(val.features, val.labels)

        def recall(head: Head, seen: SplitOutputs) -> FloatArray:
            return recall_per_class(head(seen), seen.labels, self.about.classes)

        few: dict[str, FloatArray] = {}
        for name, counts in self._few.items():
            same = next((n for n in few if np.array_equal(self._few[n], counts)), None)
            few[name] = (
                few[same]
                if same
                else np.mean([recall(h, test) for h in self._few_heads(val, counts, balanced)], 0)
            )
        for size in HELD_OUT:
            if np.bincount(val.labels).min() >= size:
                counts = np.full(self.about.classes, size)
                heads = self._few_heads(val, counts, balanced, HELD_OUT_DRAWS)
                few[f"held_out_{size}"] = np.mean([recall(head, test) for head in heads], axis=0)
        return {
            "recall": {
                **{name: recall(head, test) for name, head in of_train.items()},
                **few,
                "balanced_probe": recall(balanced, test),
            },
            "val": {name: recall(head, val) for name, head in of_train.items()},
            "at_edge": float(balanced.at_edge),
        }

    def _fitted_to_train(self, train: SplitOutputs) -> dict[str, Head]:
        from sklearn.neighbors import KNeighborsClassifier

        means = ClassFeatures.of(
            train.features.astype(np.float64), train.labels, self.about.classes
        ).means
        log_prior = np.log(self.about.counts / self.about.counts.sum())
        # Weighted by distance, because unweighted ties go to the class with the lower number.
        votes = KNeighborsClassifier(min(self._neighbours, len(train.labels)), weights="distance")
        votes.fit(train.features, train.labels)
        return {
            "own_head": lambda seen: seen.logits.argmax(1),
            "prior_adjusted": lambda seen: (seen.logits - log_prior).argmax(1),
            "nearest_class_mean": lambda seen: nearest_mean(
                seen.features.astype(np.float64), means
            ),
            "nearest_neighbours": lambda seen: votes.predict(seen.features),
            "retrained_head": linear_head(train.features, train.labels),
        }

    def _few_heads(
        self, val: SplitOutputs, counts: IntArray, all_of_it: Head, draws: int = DRAWS
    ) -> list[Head]:
        """Heads fitted to draws of val samples, with these numbers of samples of each class."""
        if np.bincount(val.labels).max() <= counts.min():
            return [all_of_it]  # every draw is all of them
        drawn = [self._draw(val, counts, draw) for draw in range(draws)]
        parts = [(val.features[rows], val.labels[rows]) for rows in drawn]
        # The penalty that suits one draw suits others of the same size; to choose it takes longest.
        first = linear_head(*parts[0])
        return [first, *(linear_head(*part, strength=first.strength) for part in parts[1:])]

    def _draw(self, val: SplitOutputs, counts: IntArray, draw: int) -> IntArray:
        """Rows of val: this number of samples of each class, or all of them where val has fewer."""
        random = np.random.default_rng([self.about.seed, draw])
        return np.concatenate(
            [
                random.permutation(np.flatnonzero(val.labels == label))[:count]
                for label, count in enumerate(counts)
            ]
        )


@dataclass(frozen=True)
class LinearHead:
    """A fitted head.

    Attributes:
        predict: from features, shape [samples, width], to classes.
        at_edge: whether the chosen penalty is an end of the grid.
        strength: the inverse strength of the penalty.
    """

    predict: Callable[[NDArray[np.float32]], IntArray]
    at_edge: bool
    strength: float

    def __call__(self, seen: SplitOutputs) -> IntArray:
        return self.predict(seen.features)


def linear_head(
    features: NDArray[np.float32], labels: IntArray, strength: float | None = None
) -> LinearHead:
    """Multinomial logistic regression on standardised features, every class with the same weight.

    The strength of the L2 penalty is chosen by cross-validated balanced accuracy on the same
    samples; where a class has only one sample, the middle strength is used.

    Args:
        features: shape [samples, width].
        labels: shape [samples].
        strength: inverse strength of the penalty; None to choose it.
    """
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    folds = min(FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
    chooses = strength is None and folds > 1
    strength = STRENGTHS[len(STRENGTHS) // 2] if strength is None else strength
    regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=300)
    if chooses:
        regression = LogisticRegressionCV(
            Cs=STRENGTHS,
            class_weight="balanced",
            max_iter=300,
            scoring="balanced_accuracy",
            cv=StratifiedKFold(folds, shuffle=True, random_state=0),
        )
    fitted = make_pipeline(StandardScaler(), regression)
    # One thread is faster than several for such a small problem. Fits that have not converged
    # after 300 steps are those with almost no penalty, and attributes of the past are not used.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        fitted.fit(features, labels)
    if chooses:  # the same for every class
        strength = float(np.ravel(regression.C_)[0])
    at_edge = chooses and strength in (min(STRENGTHS), max(STRENGTHS))
    return LinearHead(fitted.predict, at_edge, strength)
