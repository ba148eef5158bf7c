"""How long a run trains, and the probe of its representation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import TINY, command
from sklearn.linear_model import LogisticRegression

from skewlab.config import check
from skewlab.course import planned_epochs
from skewlab.curves.probes.representation import linear_probe, recalls
from skewlab.runs.curvefile import read_curves
from skewlab.train import plan


@pytest.mark.parametrize(
    ("overrides", "epochs"),
    [
        # 5 x 300 + 5 x 3 samples in batches of 64 are 24 steps; 3,000 are 47; 30 are 1.
        ([], 30),
        (["control=equal_updates"], 59),  # 30 x 47 / 24, rounded up
        (["control=same_minority"], 720),  # 30 x 24 / 1
        (["control=same_total"], 30),
        (["ratio=1", "control=equal_updates"], 30),
    ],
)
def test_controls_have_the_updates_they_say(
    composed: Callable[..., dict[str, Any]], overrides: list[str], epochs: int
) -> None:
    settings = check(composed("ratio=100", *overrides))
    _, subset = plan(settings)
    assert planned_epochs(settings, subset) == epochs


def test_the_probe_finds_what_the_features_hold() -> None:
    """Features that hold the class, and features that do not."""
    random = np.random.RandomState(0)
    labels = np.arange(300) % 3
    held = np.eye(3)[labels] * 4 + random.normal(size=(300, 3))
    lost = random.normal(size=(300, 3))
    fit, test = slice(0, 150), slice(150, 300)
    for features, low, high in ((held, 0.95, 1.0), (lost, 0.2, 0.5)):
        predicted, _ = linear_probe(features[fit], labels[fit], features[test])
        recall = recalls(predicted, labels[test], 3)
        assert low <= recall.mean() <= high
        plain = LogisticRegression().fit(features[fit], labels[fit]).predict(features[test])
        assert (predicted == plain).mean() > 0.85
    assert np.isnan(recalls(labels[test], labels[test], 4)[3])


def test_the_probe_leaves_the_curves_alone(tmp_path: Path) -> None:
    arguments = ["ratio=10", "logger=none", "data.flip=true", *TINY]
    for study, probes in (("off", "[]"), ("on", "[representation]")):
        done = command(
            "train.py",
            *arguments,
            f"study={study}",
            f"curves.probes={probes}",
            f"logs_dir={tmp_path}",
        )
        assert done.returncode == 0, done.stderr
    (off,), (on,) = ((tmp_path / study).glob("*/curves.jsonl") for study in ("off", "on"))
    assert off.read_bytes() == on.read_bytes()
    probe = json.loads((on.parent / "representation.json").read_text())
    last = [line for line in read_curves(on.parent)[0] if line["split"] == "test"][-1]
    np.testing.assert_allclose(probe["recall"]["own_head"], last["recall"])
    assert probe["samples"] == 200
