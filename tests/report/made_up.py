"""Runs whose truth is known, as they would lie on disk."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml

from skewlab.metrics.scores import METRICS
from skewlab.runs.curve_file import CurveFile

EPOCHS = 20
CLASSES = 4
LOSSES = {"ce": "skewlab.methods.losses.CrossEntropy"}
Curve = Callable[[float], float]


def rises(at: float, to: float = 1.0) -> Curve:
    """A recall that is 0 and, from an epoch on, `to`."""
    return lambda epoch: to if epoch >= at else 0.0


def make_run(
    study: Path,
    *,
    ratio: float,
    seed: int,
    train: tuple[Curve, Curve] = (rises(1), rises(1)),
    test: tuple[Curve, Curve] = (rises(1, 0.95), rises(1, 0.95)),
    control: str = "none",
    method: str = "ce",
    probe: Sequence[float] | None = None,
    state: str = "done",
    epochs: int = EPOCHS,
    classes: int = CLASSES,
    noise: float = 0.0,
    optimizer: str = "sgd",
    parts: Mapping[str, Any] = MappingProxyType({}),
    found: Mapping[str, Sequence[tuple[float, Mapping[str, Any]]]] | None = None,
) -> Path:
    """Write one run; curves are of (majority, minority), `probe` the minority's test recall by
    (own head, probe), `found` what probes say, by their names, at some epochs, `parts`
    those of the method beside its loss."""
    folder = study / f"{control}-{method}-ratio{ratio:g}-seed{seed}"
    folder.mkdir(parents=True)
    half = classes // 2
    counts = [100] * half + [round(100 / ratio)] * (classes - half)
    if control.startswith("same"):
        counts = [
            round(sum(counts) / classes) if control == "same_total" else min(counts)
        ] * classes
    config: dict[str, Any] = {
        "ratio": ratio,
        "seed": seed,
        "data_seed": seed,
        "init_seed": seed,
        "order_seed": seed,
        "data": {"name": "madeup", "source": {"_target_": "x"}},
        "imbalance": {
            "profile": "step",
            "control": control if control.startswith("same") else "none",
            "class_order": "reversed" if control == "swapped_roles" else "identity",
        },
        "model": {"name": "net"},
        "method": {"name": method, "loss": {"_target_": LOSSES.get(method, method)}, **parts},
        "optimizer": {"name": optimizer},
        "curves": {"probes": {}},
        "trainer": {},
        "training": {"updates": "balanced" if control == "equal_updates" else "own"},
        "logger": None,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    groups = {"majority": list(range(half)), "minority": list(range(half, classes))}
    data = {
        "class_names": [f"class{label}" for label in range(classes)],
        "train_counts": counts,
        "groups": groups,
        "ratio": ratio if control == "none" else 1.0,
    }
    (folder / "data.json").write_text(json.dumps(data))
    status = {
        "state": state,
        "reason": None if state == "done" else "made up",
        "created": "2026-01-01T00:00:00Z",
        "started": "2026-01-01T00:00:00Z",
        "provenance": {"command": ["train.py", "-m", "ratio=9", "data=madeup"]},
    }
    (folder / "status.json").write_text(json.dumps(status))
    random = np.random.RandomState(seed)
    with closing(CurveFile(folder)) as file:
        for epoch in [0.0, 0.25, 0.5, *map(float, range(1, epochs + 1))]:
            for split, pair in (("train", train), ("test", test)):
                recall = np.repeat([curve(epoch) for curve in pair], [half, classes - half])
                recall = np.clip(recall + noise * random.normal(size=classes), 0, 1)
                metrics = {name: recall.copy() for name in METRICS}
                n = np.asarray(counts, dtype=np.float64)
                hits = np.diag(np.round(100 * recall)).astype(np.int64)
                file.append(epoch, round(8 * epoch), split, {"n": n, **metrics, "confusion": hits})
        if probe is not None:
            own, probed = ([1.0] * half + [value] * (classes - half) for value in probe)
            recall = {"own_head": own, "balanced_probe": probed}
            file.append_probe(epochs, 8 * epochs, "representation", {"recall": recall})
        for name, measurements in (found or {}).items():
            for epoch, what in measurements:
                file.append_probe(epoch, round(8 * epoch), name, what)
    return folder
