"""The workspace is the one that was looked at, and shows nothing that no run has."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
import wandb_workspaces.workspaces as workspaces
from program import ROOT
from trained import train_at
from wandb_server import serving

from skewlab.dashboard.__main__ import main
from skewlab.dashboard.workspace import specification, workspace
from skewlab.loggers.ending import CLASSES, CONFUSION, CURVES, SAMPLES, Ending
from skewlab.runs.folder import DONE

GOLDEN = Path(__file__).with_name("workspace.json")
SECTIONS = [
    "minority and majority",
    "rankings",
    "per class",
    "gaps",
    "first steps and gradients",
    "margins and geometry",
    "calibration, heads and samples",
    "all runs",
]
# As small as every probe allows.
SMALL = ("ratio=2", "imbalance.n_max=6", "data.val_per_class=3", "trainer.max_epochs=1")


def without_ids(value: Any) -> Any:
    """W&B's library gives each panel a random one."""
    if isinstance(value, dict):
        return {k: without_ids(v) for k, v in value.items() if k not in ("__id__", "id", "name")}
    return [without_ids(entry) for entry in value] if isinstance(value, list) else value


def sections(kept: dict[str, Any]) -> list[dict[str, Any]]:
    return kept["spec"]["section"]["panelBankConfig"]["sections"]


def panels() -> Iterator[dict[str, Any]]:
    for section in sections(specification(workspace("me", "p"))):
        yield from section["panels"]


def test_the_workspace_is_the_golden_one(capsys: pytest.CaptureFixture[str]) -> None:
    """If it was meant to change: python -m skewlab.dashboard with these options prints it anew."""
    assert main(["--entity", "me", "--project", "p", "--all-studies", "--dry-run"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [section["name"] for section in sections(printed)] == SECTIONS
    assert without_ids(printed) == without_ids(json.loads(GOLDEN.read_text()))


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Ending:
    """Of a run with every probe that the configuration has."""
    probes = sorted(path.stem for path in (ROOT / "configs" / "curves" / "probes").glob("*.yaml"))
    every = f"curves/probes=[{','.join(probes)}]"
    logs = tmp_path_factory.mktemp("probed")
    return Ending(train_at(logs, *SMALL, every, "model=mlp", "logger=none").path, DONE, {})


def test_every_name_is_one_that_runs_write(ending: Ending) -> None:
    written = {name for row in ending.rows() for name in row}
    found = set()
    for panel in panels():
        config = panel["config"]
        if "metricRegex" in config:
            matching = {name for name in written if re.search(config["metricRegex"], name)}
            assert len(matching) == 10, "one for each class"
            found |= matching
        axes = {config.get(axis, "epoch") for axis in ("xAxis", "yAxis")}
        axes |= {column["accessor"] for column in config.get("columns", [])}
        found |= {axis for axis in axes if axis != "_step" and not axis.startswith("config:")}
        found |= set(config.get("metrics", []))
        found |= set(config.get("mediaKeys", []))
    found = {name.removeprefix("summary:") for name in found}
    media = {CLASSES, CONFUSION, *ending.pictures()}
    assert found <= written | media, found - written - media
    assert {"test/recall/minority", "train/loss/majority", CURVES, SAMPLES} <= found
    probes = ending.run.config["curves"]["probes"]
    assert {name.split("/")[0] for name in found} >= set(probes), "each has its charts"
    runs = specification(workspace("me", "p"))["spec"]["section"]["runSets"][0]
    pinned = [name for name in json.dumps(runs).split('"') if name.startswith("summary:")]
    assert pinned
    assert {name.removeprefix("summary:") for name in pinned} <= written


def test_lines_are_means_by_setting_with_their_standard_error() -> None:
    plots = [panel["config"] for panel in panels() if "Line Plot" in panel["viewType"]]
    assert len(plots) >= 16
    for plot in plots:
        assert (plot["groupBy"], plot["groupAgg"], plot["groupArea"]) == (
            "setting.value",
            "mean",
            "stderr",
        )
        assert plot["limit"] == 1000, "W&B's own limit would average ten runs and say nothing"


def test_it_is_saved_with_a_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving() as server:
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        wandb.teardown()
        assert main(["--entity", "me", "--project", "p", "--study", "mine"]) == 0
        url = capsys.readouterr().out.strip().splitlines()[-1]
        (view,) = server.views
        assert (view["entityName"], view["projectName"]) == ("me", "p")
        expected = specification(workspace("me", "p", "mine"))["spec"]
        assert without_ids(json.loads(view["spec"])) == without_ids(expected)
        assert '"mine"' in view["spec"]
        read_back = workspaces.Workspace.from_url(url)
        assert [section.name for section in read_back.sections] == SECTIONS
        server.refuse = 403
        assert main(["--entity", "me", "--project", "p"]) == 1
        assert "error: the workspace was not saved" in capsys.readouterr().err
        wandb.teardown()
