"""What a logger must hold of a run, worked out from `curves.jsonl` and nothing else."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skewlab.metrics.rankings import RANKINGS
from skewlab.metrics.scores import METRICS
from skewlab.runs.curve_file import read_curves

OWN = ("_timestamp", "_runtime", "_wandb")  # what W&B adds itself


def without_clock(row: dict[str, Any]) -> dict[str, Any]:
    """A row without W&B's clock and media, whose entries name files of one upload."""
    return {k: v for k, v in row.items() if k not in OWN and not k.startswith("result/")}


def numbers_of_probe(line: dict[str, Any], data: dict[str, Any]) -> dict[str, float]:
    """What a line of a probe says by name: numbers, and of arrays over classes each class, and the
    mean over those of a group that are there; NaN for what is absent."""
    classes = data["class_names"]
    expected = {}
    for key in set(line) - {"epoch", "step", "probe"}:
        name, value = f"{line['probe']}/{key}", line[key]
        if value is None or np.ndim(value) == 0:
            expected[name] = math.nan if value is None else float(value)
        elif np.shape(value) == (len(classes),):
            for label, class_name in enumerate(classes):
                expected[f"{name}/class/{class_name}"] = value[label]
            for group, members in groups_of(data).items():
                there = [value[label] for label in members if not math.isnan(value[label])]
                expected[f"{name}/{group}"] = sum(there) / len(there) if there else math.nan
    return expected


def groups_of(data: dict[str, Any]) -> dict[str, list[int]]:
    """All groups of classes, without empty ones."""
    both = {**data["groups"], **data["shots"]}
    return {name: members for name, members in both.items() if members}


def check_rows(rows: Iterable[dict[str, Any]], run: Path, relative: float = 1e-8) -> None:
    """Every row is an evaluation on disk, or what probes have found between evaluations: the same
    steps once each, the same names, and the same numbers, worked out here from the lines."""
    lines, problems = read_curves(run)
    assert not problems
    data = json.loads((run / "data.json").read_text())
    rows = [without_clock(row) for row in rows]
    steps = sorted({line["step"] for line in lines})
    told = [row["_step"] for row in rows]
    assert told == steps, (told, steps)
    for row in rows:
        expected = {"_step": float(row["_step"])}
        of_step = [line for line in lines if line["step"] == row["_step"]]
        expected["epoch"] = of_step[0]["epoch"]
        for line in of_step:
            if "probe" in line:
                expected |= numbers_of_probe(line, data)
        split_lines = {line["split"]: line for line in of_step if "split" in line}
        assert set(split_lines) in ({"train", "val", "test"}, set())
        for split, line in split_lines.items():
            for metric in (*METRICS, *RANKINGS):
                if metric in ("recall", "loss"):  # others of single classes are on disk only
                    for label, name in enumerate(data["class_names"]):
                        expected[f"{split}/{metric}/class/{name}"] = line[metric][label]
                for group, members in groups_of(data).items():
                    mean = np.mean([line[metric][label] for label in members])
                    expected[f"{split}/{metric}/{group}"] = mean
            shares = np.asarray(line["n"]) / np.sum(line["n"])
            expected[f"{split}/accuracy"] = np.dot(line["recall"], shares)
            expected[f"{split}/loss"] = np.dot(line["loss"], shares)
            expected[f"{split}/balanced_accuracy"] = np.mean(line["recall"])
            expected[f"{split}/macro_f1"] = np.mean(line["f1"])
            for metric in RANKINGS:
                expected[f"{split}/{metric}"] = np.mean(line[metric])
            expected[f"{split}/worst_class"] = np.min(line["recall"])
            expected[f"{split}/g_mean"] = np.prod(line["recall"]) ** (1 / len(line["recall"]))
            for metric in ("recall", "loss"):
                major, minor = (expected[f"{split}/{metric}/{g}"] for g in ("majority", "minority"))
                expected[f"gap/group/{metric}/{split}"] = major - minor
        for metric in ("recall", "loss") if split_lines else ():
            for group in groups_of(data):
                train, test = (expected[f"{s}/{metric}/{group}"] for s in ("train", "test"))
                expected[f"gap/generalisation/{metric}/{group}"] = train - test
        assert set(row) == set(expected), "nothing more, nothing less, nothing under two names"
        differ = {
            name: (value, expected[name])
            for name, value in row.items()
            if value != pytest.approx(expected[name], rel=relative, abs=relative, nan_ok=True)
        }
        assert not differ
