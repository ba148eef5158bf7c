"""Batches that Lightning is handed together train as one by one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from trained import train_at

from skewlab.data.batches import Share, Stretches

RUN = (
    *("ratio=5", "logger=none", "model=mlp", "model.hidden=[16]", "imbalance.n_max=60"),
    *("data.val_per_class=20", "trainer.max_epochs=2", "curves.early_points=0", "data.crop=1"),
    *("data.batch_size=20",),  # 18 steps an epoch
)


@pytest.mark.parametrize("more", ["trainer.precision=32", "trainer.precision=bf16", "method=sam"])
def test_a_stretch_is_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    together = train_at(tmp_path / "together", *RUN, more).path

    def one_by_one(self: Stretches) -> Iterator[list[Share]]:
        return ([share] for share in self._shares)

    monkeypatch.setattr(Stretches, "__iter__", one_by_one)
    apart = train_at(tmp_path / "apart", *RUN, more).path
    assert (together / "curves.jsonl").read_bytes() == (apart / "curves.jsonl").read_bytes()
