"""Trained networks, ready to classify."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from skewlab.config.parts import target_of
from skewlab.config.schema import RunConfig, checked
from skewlab.data.plan import plan
from skewlab.errors import ConfigError
from skewlab.models.pretrained import without_weights
from skewlab.runs.folder import BEST, LAST, RunFolder
from skewlab.runs.reading import read_config, read_data, verify
from skewlab.training.checkpoints import load_checkpoint
from skewlab.training.length import planned_length
from skewlab.training.run import build_module

CHECKPOINTS = {"last": LAST, "val_best": BEST}


def load(run: str | Path, checkpoint: str | Path = "last") -> pl.LightningModule:
    """The network of a run, in eval mode, with its own preprocessing.

    Called on images it gives logits, shape [batch, classes]: uint8 images with channels last or
    first, or floats between 0 and 1 as torchvision's `ToTensor` makes them. Other images are
    refused. Class names are in its attribute `class_names`, in the order of the logits.

    Args:
        run: the run's folder, `<logs_dir>/<study>/<run name>`.
        checkpoint: `last`, `val_best`, or the path of a checkpoint of this run.

    Raises:
        ConfigError: there is no such run or checkpoint, or it cannot be read.

    Example:
        >>> network = skewlab.load("logs/default/mnist5k-...")  # doctest: +SKIP
        >>> network(images).softmax(dim=1)  # doctest: +SKIP
    """
    folder = Path(run)
    config = run_config(folder)
    status = RunFolder(folder).status()
    verify(folder, status)
    verify(folder, status, (f"checkpoints/{CHECKPOINTS.get(str(checkpoint), '')}",))
    path = folder / "checkpoints" / CHECKPOINTS.get(str(checkpoint), "")
    if str(checkpoint) not in CHECKPOINTS:
        path = Path(checkpoint).resolve()
        if path.parent == (folder / "checkpoints").resolve():
            verify(folder, status, (f"checkpoints/{path.name}",))
    if not _is_file(path):
        raise ConfigError(
            f"checkpoint={checkpoint}: {path} is not there; must be last, val_best, or the path of "
            "a checkpoint"
        )
    try:
        found = load_checkpoint(path)
        module = _module(config, found)
        module.load_state_dict(found["state_dict"])
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"checkpoint={checkpoint}: cannot be loaded ({reason})") from error
    names = read_data(folder)["class_names"]
    module.class_names = tuple(names)  # type: ignore[assignment]
    return module.eval()


def run_config(folder: Path) -> RunConfig:
    """The configuration of a run on disk.

    Raises:
        ConfigError: it is no run, or its configuration cannot be read.
    """
    if not _is_file(folder / "config.yaml"):
        raise ConfigError(
            f"run={folder}: must be the folder of a run, <logs_dir>/<study>/<run name>"
        )
    given, _ = read_config(folder)
    if "module" not in given:
        raise ConfigError(
            f"run={folder}: holds no network of skewlab's: it was recorded by PerClassCurves in "
            "another program, or by an earlier version"
        )
    return checked(given)


def _is_file(path: Path) -> bool:
    """Whether there is such a file; no system has one with a name of 5,000 characters."""
    try:
        return path.is_file()
    except OSError:
        return False


def _module(config: RunConfig, checkpoint: dict[str, Any]) -> pl.LightningModule:
    """The module as it was built, by what it has saved or else by the run's configuration."""
    saved = checkpoint.get("hyper_parameters")
    if saved is not None:
        saved = {**saved, "model": without_weights(saved["model"])} if "model" in saved else saved
        own = {k: v for k, v in config.module.items() if k in saved}
        module: pl.LightningModule = target_of(config.module, "module")(**{**saved, **own})
        return module
    source, subset = plan(config)
    return build_module(config, source, subset, planned_length(config, source, subset))
