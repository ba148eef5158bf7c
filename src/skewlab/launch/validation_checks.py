"""What needs validation samples, held against those that there are."""

from collections.abc import Iterator

from skewlab.config.schema import RunConfig
from skewlab.data.plan import VAL_FRACTION, val_counts
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset
from skewlab.errors import ConfigError
from skewlab.terminal import note


def check_validation(run: RunConfig, source: Source, subset: Subset, searches: bool) -> None:
    """Refuse what needs validation samples where there are none, and say which classes have none.

    Args:
        run: the configuration.
        source, subset: its data.
        searches: whether the run is one of a search, which maximises a number of val.

    Raises:
        ConfigError: what needs them, and what to change.
    """
    held = val_counts(source, subset)
    if not held.any():
        for needing in _needing(run, searches):
            raise ConfigError(without_validation(run, source, needing))
        note(f"{asked(run, source)}: no validation set, so no val_best checkpoint and no choice")
        return
    absent = [name for name, n in zip(source.class_names, held, strict=True) if not n]
    if absent:
        note(
            f"{asked(run, source)}: val has no sample of {len(absent)} classes, which its means "
            f"leave out: {', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}"
        )


def without_validation(run: RunConfig, source: Source, needing: str) -> str:
    """The message that something needs a validation set, and there is none."""
    return (
        f"{asked(run, source)}: must be at least 1 for {needing}; data.val_fraction=0.1 holds out "
        "a share of each class"
    )


def check_enough(run: RunConfig, source: Source, subset: Subset, least: int, needing: str) -> None:
    """Refuse a validation set that has less than so many samples of a class.

    Raises:
        ConfigError: names what needs them.
    """
    held = val_counts(source, subset)
    if held.min() >= least:
        return
    name = source.class_names[int(held.argmin())]
    raise ConfigError(
        f"{asked(run, source)}: must be at least {least} for {needing}; class {name} has "
        f"{held.min()} validation samples"
    )


def asked(run: RunConfig, source: Source) -> str:
    """The key and the value that say what is held out for validation."""
    if source.val_labels is not None:
        return f"data={run.data.name}, with {len(source.val_labels)} validation samples of its own"
    if run.data.val_fraction is None and run.data.val_per_class is not None:
        return f"data.val_per_class={run.data.val_per_class}"
    return f"data.val_fraction={run.data.val_fraction or VAL_FRACTION:g}"


def _needing(run: RunConfig, searches: bool) -> Iterator[str]:
    """What of a configuration cannot do without val, but for parts that have to be built first."""
    if searches:
        yield f"a search, which maximises objective={run.objective}"
    for name, callback in (run.callbacks or {}).items():
        if str(callback.get("monitor", "")).startswith("val/"):
            yield f"callbacks.{name}, which monitors {callback['monitor']}"
    if run.scheduler["_target_"].endswith(".ReduceLROnPlateau"):
        yield "scheduler=ReduceLROnPlateau, which watches val/loss"
