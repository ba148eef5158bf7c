"""The notebook runs from top to bottom on a study."""

from pathlib import Path

import nbformat
import pytest
from made_up import make_run, rises
from nbclient import NotebookClient
from program import ROOT

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
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": ROOT}}).execute()
    printed = str([cell.get("outputs") for cell in notebook.cells])
    assert "supported" in printed
    assert "image/png" in printed
    assert "0.4" in printed, "the minority's test recall"
