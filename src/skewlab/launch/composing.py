"""Hydra composes the configuration of a sweep's job three times: when we check it, when its sweeper
does, and when the job starts. It takes a tenth of a second, and is the same each time."""

from collections.abc import Callable, Sequence

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

# Beyond so many jobs, all their configurations together would take too much memory.
MOST_KEPT = 1000


class ComposedOnce:
    """Stands in for a loader's `load_sweep_config`, and keeps what it gave until it was asked for
    the last time.

    Args:
        loader: Hydra's, which asks this one from now on.
        launcher: the path of the launcher's class.
    """

    def __init__(self, loader: ConfigLoader, launcher: str) -> None:
        self._compose: Callable[[DictConfig, list[str]], DictConfig] = loader.load_sweep_config
        # Others start a job in another process, which composes it anew.
        self._times = 3 if launcher.endswith(".BasicLauncher") else 2
        self._kept: dict[tuple[str, ...], tuple[DictConfig, int]] = {}
        loader.load_sweep_config = self  # type: ignore[method-assign]

    def __call__(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        job = tuple(sweep_overrides)
        if job in self._kept:
            config, times = self._kept.pop(job)
        else:
            config, times = self._compose(master_config, list(job)), self._times
        if times > 1 and len(self._kept) < MOST_KEPT:
            self._kept[job] = config, times - 1
        return config

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Another process gets the loader's own method."""
        return getattr, (self._compose.__self__, "load_sweep_config")  # type: ignore[attr-defined]
