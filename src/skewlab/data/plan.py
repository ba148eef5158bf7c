"""The data of a run. Imports no Lightning: what the data cannot give is said soon."""

from typing import Any

import numpy as np

from skewlab.config.schema import RunConfig
from skewlab.data import sources
from skewlab.data.profiles import Profile
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset, draw_subset


def plan(settings: RunConfig) -> tuple[Source, Subset]:
    """The data of a run: loaded, and the samples that are kept.

    Raises:
        ConfigError: the data is not there, not readable, or cannot give what is asked.
    """
    source = sources.load(settings.data.source)
    imbalance = settings.imbalance
    profile = Profile(
        imbalance.profile,
        settings.ratio,
        imbalance.minority_fraction,
        tuple(imbalance.counts) if imbalance.counts else None,
    )
    subset = draw_subset(
        source.train_labels,
        source.class_names,
        profile,
        data_seed=settings.data_seed,
        val_per_class=settings.data.val_per_class,
        class_order=imbalance.class_order,
        budget=imbalance.budget,
        n_max=imbalance.n_max,
        total=imbalance.total,
        control=imbalance.control,
    )
    return source, subset


def describe(source: Source, subset: Subset) -> dict[str, Any]:
    """What `data.json` holds."""
    return {
        "class_names": list(source.class_names),
        "train_counts": subset.counts.tolist(),
        "val_counts": np.bincount(
            source.train_labels[subset.val], minlength=len(source.class_names)
        ).tolist(),
        "test_counts": np.bincount(source.test_labels).tolist(),
        "groups": {"majority": list(subset.majority), "minority": list(subset.minority)},
        "shots": {name: list(members) for name, members in subset.shots.items()},
        "ratio": subset.ratio,
        "ratio_reached": subset.ratio_reached,
        "indices_sha256": subset.sha256(),
        "fingerprint": source.fingerprint,
    }
