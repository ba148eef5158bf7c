"""The notebook runs from top to bottom on a study."""

from pathlib import Path

import nbformat
import pytest
from made_up import make_run, rises
from nbclient import NotebookClient
from program import ROOT

import skewlab.report

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        make_run(tmp_path / "study", ratio=1, seed=seed)
        make_run(
            tmp_path / "study",
            ratio=10,
            seed=seed,
            train=(rises(1), rises(5)),
            test=(rises(1), rises(5, 0.4)),
        )
    monkeypatch.setenv("SKEWLAB_STUDY", str(tmp_path / "study"))
    notebook = nbformat.read(path, as_version=4)
    committed = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in committed), "commit its outputs"
    assert str(Path.home()) not in path.read_text(), "without paths of the machine"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": ROOT}}).execute()
    printed = str([cell.get("outputs") for cell in notebook.cells])
    assert "supported" in printed
    assert "image/png" in printed
    frame = skewlab.report.load(tmp_path / "study")
    last = frame[(frame.ratio == 10) & (frame.split == "test") & (frame.step == frame.step.max())]
    recall = last[last.group == "minority"].groupby("seed").recall.mean().mean()
    table = next(str(cell.outputs) for cell in notebook.cells if "unstack" in cell.source)
    assert f"{recall:.3f}".rstrip("0") in table
