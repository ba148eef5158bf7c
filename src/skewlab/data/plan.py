"""The data of a run. Imports no Lightning: what the data cannot give is said soon."""

from typing import Any

import numpy as np

from skewlab.config.schema import RunConfig
from skewlab.data import sources
from skewlab.data.profiles import IntArray, Profile
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset, counts_by_label, draw_subset
from skewlab.errors import ConfigError

# Held out of each class where neither the data nor the configuration say what is validated on.
VAL_FRACTION = 0.1


def plan(settings: RunConfig) -> tuple[Source, Subset]:
    """The data of a run: loaded, and the samples that are kept.

    Raises:
        ConfigError: the data is not there, not readable, or cannot give what is asked.
    """
    source = sources.load(settings.data.source)
    imbalance = settings.imbalance
    counts = imbalance.counts
    if isinstance(counts, dict):
        counts = list(counts_by_label(counts, source.class_names))
    profile = Profile(
        imbalance.profile,
        settings.ratio if isinstance(settings.ratio, int | float) else None,
        imbalance.minority_fraction,
        tuple(counts) if counts else None,
    )
    subset = draw_subset(
        source.train_labels,
        source.class_names,
        profile,
        data_seed=settings.data_seed,
        **_validation(settings, source),
        class_order=imbalance.class_order,
        minority=imbalance.minority or (),
        many_above=imbalance.many_above,
        few_below=imbalance.few_below,
        budget=imbalance.budget,
        n_max=imbalance.n_max,
        total=imbalance.total,
        control=imbalance.control,
    )
    return source, subset


def _validation(settings: RunConfig, source: Source) -> dict[str, Any]:
    """What `draw_subset` is told of validation."""
    per_class, fraction = settings.data.val_per_class, settings.data.val_fraction
    if source.val_labels is not None:
        for key, value in (("val_per_class", per_class), ("val_fraction", fraction)):
            if value:
                raise ConfigError(
                    f"data.{key}={value}: must be null, because the data have a validation set of "
                    f"their own ({len(source.val_labels)} samples)"
                )
        return {"own_val": len(source.val_labels)}
    if fraction is None and per_class is None:
        fraction = VAL_FRACTION
    return {"val_per_class": per_class or 0, "val_fraction": fraction}


def pool(source: Source, split: str) -> tuple[Any, IntArray]:
    """The inputs and labels that the rows of a split are taken from: those of val are samples of
    the training pool, unless the data have validation samples of their own."""
    if split == "test":
        return source.test_images, source.test_labels
    if split == "val" and source.val_images is not None and source.val_labels is not None:
        return source.val_images, source.val_labels
    return source.train_images, source.train_labels


def describe(source: Source, subset: Subset) -> dict[str, Any]:
    """What `data.json` holds."""
    return {
        "class_names": list(source.class_names),
        "train_counts": subset.counts.tolist(),
        "val_counts": val_counts(source, subset).tolist(),
        "test_counts": np.bincount(source.test_labels).tolist(),
        "groups": {"majority": list(subset.majority), "minority": list(subset.minority)},
        "shots": {name: list(members) for name, members in subset.shots.items()},
        "ratio": subset.ratio,
        "ratio_reached": subset.ratio_reached,
        "imbalanced_ratio": subset.imbalanced_ratio,
        "indices_sha256": subset.sha256(),
        "fingerprint": source.fingerprint,
    }


def val_counts(source: Source, subset: Subset) -> IntArray:
    """Validation samples of each class, shape [classes]."""
    labels = pool(source, "val")[1][subset.val]
    return np.bincount(labels, minlength=len(source.class_names))
