"""Every curve as one tidy pandas frame."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from skewlab.report.read import Run
from skewlab.report.statistics import SOURCES


def tidy_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each run, evaluation, split and class; columns as `skewlab.report.load` says."""
    parts = [_split_frame(run, split) for run in runs for split in run.curves]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _split_frame(run: Run, split: str) -> pd.DataFrame:
    curves = run.curves[split]
    times, classes = curves.values["recall"].shape
    groups, shots = np.full((2, classes), "", dtype=object)
    for column, named in ((groups, run.data["groups"]), (shots, run.data.get("shots", {}))):
        for name, members in named.items():
            column[members] = name
    constant = {
        "study": run.path.resolve().parent.name,
        "run": run.path.name,
        "state": run.state,
        "data": run.data_name,
        "model": run.config["model"].get("name", ""),
        "method": run.config["method"]["name"],
        "control": run.control,
        "ratio": run.ratio,
        "class_order": str(run.config["imbalance"].get("class_order", "")),
        "seed": run.seed,
        **dict(zip(SOURCES, run.seed_key, strict=True)),
    }
    return pd.DataFrame(
        {
            **{name: [value] * (times * classes) for name, value in constant.items()},
            "epoch": np.repeat(curves.epoch, classes),
            "step": np.repeat(curves.step, classes),
            "split": split,
            "class": np.tile(np.arange(classes), times),
            "class_name": np.tile(np.asarray(run.data["class_names"], dtype=object), times),
            "group": np.tile(groups, times),
            "shots": np.tile(shots, times),
            "count": np.tile(np.asarray(run.counts), times),
            "n": curves.values["n"].astype(np.int64).ravel(),
            **{
                name: values.ravel()
                for name, values in curves.values.items()
                if name != "n" and values.shape == (times, classes)
            },
        }
    )
