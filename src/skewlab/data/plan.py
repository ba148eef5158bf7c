"""The data of a run. Imports no Lightning: what the data cannot give is said soon."""

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
