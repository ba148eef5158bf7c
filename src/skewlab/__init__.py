"""How class imbalance changes what a deep network learns, when, and for whom.

skewlab.run(["ratio=100", "seed=1"])         trains a run and returns it with its curves
skewlab.load("logs/<study>/<run>")           a trained network with its own preprocessing
skewlab.PerClassCurves("logs/<study>/<run>") the callback, for any Lightning project
skewlab.report.load("logs/<study>")          every curve of a study as one frame
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skewlab.launch.notebook import run as run
    from skewlab.training.curves import PerClassCurves as PerClassCurves
    from skewlab.training.loading import load as load

_HOMES = {
    "PerClassCurves": "skewlab.training.curves",
    "load": "skewlab.training.loading",
    "run": "skewlab.launch.notebook",
}


def __getattr__(name: str) -> Any:
    """Import PyTorch only when something that needs it is asked for."""
    import importlib

    if name == "report":
        return importlib.import_module("skewlab.report")
    if name not in _HOMES:
        raise AttributeError(f"module 'skewlab' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
