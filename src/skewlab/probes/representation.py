"""Representation or classifier: can the minority be told apart from what the network has learned?

Under imbalance a network's recall of the minority is low on test. Either its features do not
separate the minority's classes, which is the study's fourth claim, or they do and the head, fitted
to imbalanced classes, does not use them (Kang et al., ICLR 2020). Other heads on the same frozen
features tell, together with the same probe on the features of a network that was trained on
balanced data with the same seed; `report.decomposition` puts them together.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skewlab.errors import ConfigError
from skewlab.metrics.scores import FloatArray
from skewlab.probes.geometry import ClassFeatures, nearest_mean
from skewlab.probes.probe import (
    Found,
    IntArray,
    Moment,
    Outputs,
    Probe,
    RunFacts,
    check_whole,
)
from skewlab.training.module import ImbalanceClassifier

# From what the network makes of samples to the classes they are given.
Head = Callable[[Outputs], IntArray]
# Inverse strengths of a fitted head's regularisation; cross-validation picks one.
STRENGTHS = (0.01, 0.1, 1.0)
FOLDS = 3
# A head fitted to a few held-out samples depends on which: the mean over so many draws of them.
DRAWS = 5


class Representation(Probe):
    """Test and val recall of several heads on the frozen features, every so many epochs.

    Fitted to the imbalanced training set and nothing else:

    - own_head: the network's own.
    - prior_adjusted: its logits minus log of the training prior (Menon et al. 2021, tau = 1).
    - nearest_class_mean: Euclidean distance to the means of the training features.
    - nearest_neighbours: vote of the nearest training features.
    - retrained_head: a linear head fitted anew, classes weighted alike (Kang et al.'s cRT).

    Fitted to held-out balanced data, the val split, which the network has not been trained on:

    - balanced_probe: a linear head on all of it.
    - few_probe: the same on as few of its samples of each class as the training set has (at most
      those there are), classes weighted alike, mean over 5 draws. Beside it `retrained_head` shows
      what it costs that the training samples' features have been fitted; `balanced_probe` what more
      samples are worth.
    - few_as_at/<ratio>: the same on as few as the training set would have at other ratios: on a
      balanced network's features it tells how many samples a good representation needs.

    A line has `recall/<head>` on test and, but for those fitted to val, `val/<head>`, arrays over
    classes.

    Args:
        about: the run.
        every_n_epochs: how often; and before training, and at its end.
        neighbours: how many vote.
        few_as_at: the other ratios; those that the data cannot give are left out, and all of them
            where counts are given class by class, with imbalance=counts.
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
        self, moment: Moment, outputs: Mapping[str, Outputs], module: ImbalanceClassifier
    ) -> Found | None:
        train, val, test = (outputs[split] for split in ("train", "val", "test"))
        of_train = self._fitted_to_train(train)
        balanced = linear_head(val.features, val.labels)

        def recall(head: Head, seen: Outputs) -> FloatArray:
            return recalls(head(seen), seen.labels, self.about.classes)

        few: dict[str, FloatArray] = {}
        for name, counts in self._few.items():
            same = next((n for n in few if np.array_equal(self._few[n], counts)), None)
            few[name] = (
                few[same]
                if same
                else np.mean([recall(h, test) for h in self._few_heads(val, counts, balanced)], 0)
            )
        return {
            "recall": {
                **{name: recall(head, test) for name, head in of_train.items()},
                **few,
                "balanced_probe": recall(balanced, test),
            },
            "val": {name: recall(head, val) for name, head in of_train.items()},
        }

    def _fitted_to_train(self, train: Outputs) -> dict[str, Head]:
        from sklearn.neighbors import KNeighborsClassifier

        means = ClassFeatures.of(
            train.features.astype(np.float64), train.labels, self.about.classes
        ).means
        log_prior = np.log(self.about.counts / self.about.counts.sum())
        # Weighted by nearness, or a tie would go to the class with the lower number.
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

    def _few_heads(self, val: Outputs, counts: IntArray, all_of_it: Head) -> list[Head]:
        """Heads fitted to draws of held-out samples, of each class as many as are counted."""
        if np.bincount(val.labels).max() <= counts.min():
            return [all_of_it]  # every draw is all of them
        drawn = [self._draw(val, counts, draw) for draw in range(DRAWS)]
        return [linear_head(val.features[rows], val.labels[rows]) for rows in drawn]

    def _draw(self, val: Outputs, counts: IntArray, draw: int) -> IntArray:
        """Rows of val, of each class as many as are counted, if there are so many."""
        random = np.random.default_rng([self.about.seed, draw])
        return np.concatenate(
            [
                random.permutation(np.flatnonzero(val.labels == label))[:count]
                for label, count in enumerate(counts)
            ]
        )


def linear_head(features: NDArray[np.float32], labels: IntArray) -> Head:
    """Multinomial logistic regression on standardised features, every class with the same weight.

    The strength of its L2 penalty is chosen by cross-validated balanced accuracy on the samples it
    is fitted to; where a class has only one of them, it is the middle one.

    Args:
        features: shape [samples, width].
        labels: shape [samples].
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    folds = min(FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
    regression = LogisticRegression(C=STRENGTHS[1], class_weight="balanced", max_iter=300)
    fitted = make_pipeline(StandardScaler(), regression)
    if folds > 1:
        fitted = GridSearchCV(
            fitted,
            {"logisticregression__C": STRENGTHS},
            scoring="balanced_accuracy",
            cv=StratifiedKFold(folds, shuffle=True, random_state=0),
        )
    # So small a problem is solved faster by one thread than by several that wait for each other.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(features, labels)
    return lambda seen: fitted.predict(seen.features)


def recalls(predicted: IntArray, labels: IntArray, classes: int) -> FloatArray:
    """Recall of each class, shape [classes]; NaN where it has no sample."""
    hits = np.bincount(labels[predicted == labels], minlength=classes)
    with np.errstate(invalid="ignore"):
        return np.asarray(hits / np.bincount(labels, minlength=classes), dtype=np.float64)
