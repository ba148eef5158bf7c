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
from skewlab.runs.predictions import write_predictions

EPOCHS = 20
CLASSES = 4
UPDATES = {"equal_updates": "balanced", "equal_exposures": "exposures"}
# Samples of a majority class, and test samples of each class.
N_MAX, ON_TEST = 1000, 500
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
    rate: float = 0.1,
    class_order: str = "identity",
    seeds: tuple[int, int, int] | None = None,
    predicted: bool = False,
    val: tuple[Curve, Curve] | None = None,
    untrained: float = 0.5,
    on_test: int = ON_TEST,
    parts: Mapping[str, Any] = MappingProxyType({}),
    found: Mapping[str, Sequence[tuple[float, Mapping[str, Any]]]] | None = None,
) -> Path:
    """Write one run; curves are of (majority, minority), `probe` the minority's test recall by
    (own head, probe), `untrained` by the probe before training, `found` what probes say, by their
    names, at some epochs, `parts` those of the method beside its loss, `seeds` those of subset,
    weights and order, `predicted` whether there are predictions of the test samples."""
    drawn = seeds or (seed, seed, seed)
    which = str(seed) if seeds is None else ".".join(map(str, seeds))
    name = f"{control}-{method}-ratio{ratio:g}-seed{which}"
    folder = study / f"{name}{class_order if class_order != 'identity' else ''}"
    folder.mkdir(parents=True)
    half = classes // 2
    counts = [N_MAX] * half + [round(N_MAX / ratio)] * (classes - half)
    if control.startswith("same"):
        counts = [
            round(sum(counts) / classes) if control == "same_total" else min(counts)
        ] * classes
    config: dict[str, Any] = {
        "ratio": ratio,
        "seed": seed,
        **dict(zip(("data_seed", "init_seed", "order_seed"), drawn, strict=True)),
        "data": {"name": "madeup", "source": {"_target_": "x"}},
        "imbalance": {
            "profile": "step",
            "control": "none" if control.startswith("equal") else control,
            "class_order": class_order,
        },
        "model": {"name": "net"},
        "method": {"name": method, "loss": {"_target_": LOSSES.get(method, method)}, **parts},
        "optimizer": {"name": optimizer, "lr": rate},
        "curves": {"probes": {}},
        "trainer": {},
        "training": {"updates": UPDATES.get(control, "own")},
        "logger": None,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    order = np.arange(classes)
    if class_order == "random":
        order = np.random.RandomState(drawn[0]).permutation(classes)
    groups = {"majority": order[:half].tolist(), "minority": order[half:].tolist()}
    by_class = np.empty(classes, dtype=int)
    by_class[order] = counts
    counts = by_class.tolist()
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
            for split, pair in (("train", train), ("val", val), ("test", test)):
                if pair is None:
                    continue
                recall = np.empty(classes)
                recall[order] = np.repeat([curve(epoch) for curve in pair], [half, classes - half])
                recall = np.clip(recall + noise * random.normal(size=classes), 0, 1)
                metrics = {name: recall.copy() for name in METRICS}
                n = np.asarray(counts) if split == "train" else np.full(classes, on_test)
                if split == "test":
                    recall = np.round(recall * on_test) / on_test
                hits = np.diag(np.nan_to_num(np.round(100 * recall))).astype(np.int64)
                file.append(epoch, round(8 * epoch), split, {"n": n, **metrics, "confusion": hits})
        if probe is not None:
            for when, values in ((0, (untrained, untrained)), (epochs, probe)):
                own, probed = ([1.0] * half + [value] * (classes - half) for value in values)
                heads = {"own_head": own, "balanced_probe": probed}
                file.append_probe(when, 8 * when, "representation", {"recall": heads})
        for name, measurements in (found or {}).items():
            for epoch, what in measurements:
                file.append_probe(epoch, round(8 * epoch), name, what)
    if predicted:  # the first samples of each class are right
        label = np.repeat(np.arange(classes), on_test)
        right = np.tile(np.arange(on_test), classes) < np.round(recall * on_test)[label]
        write_predictions(folder, np.where(right, label, (label + 1) % classes), label)
    return folder
