"""From runs on disk to the study's answer. Reads files only, and never imports torch."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def load(*paths: str | Path) -> "pd.DataFrame":
    """Every curve below some folders as one tidy frame.

    Args:
        paths: studies, runs, or folders that hold them, finished or not.

    Returns:
        A row for each run, evaluation, split and class, with the run's `study`, `run`, `state`,
        `data`, `model`, `method`, `control`, `ratio`, `class_order`, `seed`, `data_seed`,
        `init_seed` and `order_seed`, the evaluation's `epoch` (a fraction within one), `step` and
        `split`, the class's `class`, `class_name`, `group`, `shots` (many, medium or few) and
        `count` (its training samples), and `n` (samples evaluated), `loss`, `recall`, `precision`,
        `f1`, `confidence`, `margin`, `auroc`, `average_precision` and metrics of your own.

    Raises:
        skewlab.errors.ConfigError: there is no run at all.
    """
    from skewlab.report.frame import tidy_frame
    from skewlab.report.read import read_runs

    return tidy_frame(read_runs([Path(path) for path in paths]).runs)
