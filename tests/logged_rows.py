"""What a logger must hold of a run, worked out from `curves.jsonl` and nothing else."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skewlab.curves.scalars import METRICS
from skewlab.runs.curvefile import read_curves

OWN = ("_timestamp", "_runtime", "_wandb")  # what W&B adds itself


def without_clock(row: dict[str, Any]) -> dict[str, Any]:
    """A row without W&B's clock and media, whose entries name files of one upload."""
    return {k: v for k, v in row.items() if k not in OWN and not k.startswith("result/")}


def check_rows(rows: Iterable[dict[str, Any]], run: Path, relative: float = 1e-8) -> None:
    """Every row is an evaluation on disk: the same steps once each, the same names, and the same
    numbers, worked out here from the lines."""
    lines, problems = read_curves(run)
    assert not problems
    data = json.loads((run / "data.json").read_text())
    rows = [without_clock(row) for row in rows]
    steps = sorted({line["step"] for line in lines})
    assert [row["_step"] for row in rows] == steps
    for row in rows:
        expected = {"_step": float(row["_step"])}
        split_lines = {x["split"]: x for x in lines if x["step"] == row["_step"]}
        assert set(split_lines) == {"train", "val", "test"}
        for split, line in split_lines.items():
            expected["epoch"] = line["epoch"]
            for metric in METRICS:
                for label, name in enumerate(data["class_names"]):
                    expected[f"{split}/{metric}/class/{name}"] = line[metric][label]
                for group, members in data["groups"].items():
                    mean = np.mean([line[metric][label] for label in members])
                    expected[f"{split}/{metric}/{group}"] = mean
            shares = np.asarray(line["n"]) / np.sum(line["n"])
            expected[f"{split}/accuracy"] = np.dot(line["recall"], shares)
            expected[f"{split}/loss"] = np.dot(line["loss"], shares)
            expected[f"{split}/balanced_accuracy"] = np.mean(line["recall"])
            expected[f"{split}/macro_f1"] = np.mean(line["f1"])
            expected[f"{split}/worst_class"] = np.min(line["recall"])
            expected[f"{split}/g_mean"] = np.prod(line["recall"]) ** (1 / len(line["recall"]))
            for metric in ("recall", "loss"):
                major, minor = (expected[f"{split}/{metric}/{g}"] for g in ("majority", "minority"))
                expected[f"gap/group/{metric}/{split}"] = major - minor
        for metric in ("recall", "loss"):
            for group in data["groups"]:
                train, test = (expected[f"{s}/{metric}/{group}"] for s in ("train", "test"))
                expected[f"gap/generalisation/{metric}/{group}"] = train - test
        assert set(row) == set(expected), "nothing more, nothing less, nothing under two names"
        differ = {
            name: (value, expected[name])
            for name, value in row.items()
            if value != pytest.approx(expected[name], rel=relative, abs=relative)
        }
        assert not differ
