"""Which runs can use CUDA graphs, and, on a GPU, that they change no number."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from program import forked
from trained import train_at

from skewlab.config.schema import checked
from skewlab.training.cuda_graphs import why_not
from skewlab.training.module import ImbalanceClassifier


class OwnStep(ImbalanceClassifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self(batch.images).sum()


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["method=ldam_drw"], None),
        (["method=mixup"], None),
        (["method=sam"], "method.gradient"),
        (["method=ride"], "method.algorithm"),
        (["method=crt"], "method.second_stage"),
        (["trainer.accumulate_grad_batches=2"], "trainer.accumulate_grad_batches"),
        (["trainer.strategy=ddp"], "trainer.strategy=ddp"),
        (["module._target_=pytorch_lightning.LightningModule"], "is no ImbalanceClassifier"),
        (["module._target_=test_cuda_graphs.OwnStep"], "has a training step of its own"),
    ],
)
def test_what_cannot_be_replayed(
    composed: Callable[..., dict[str, Any]], overrides: list[str], reason: str | None
) -> None:
    found = why_not(checked(composed(*overrides)))
    assert found is None if reason is None else found and reason in found


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_graphs_without_a_gpu_are_refused_before_the_first_job(tmp_path: Path) -> None:
    done = forked("training.cuda_graphs=true", f"logs_dir={tmp_path}")
    assert done.returncode == 2
    assert done.stderr == (
        "error: training.cuda_graphs=true: there is no GPU to train on; allowed here: auto, false\n"
    )


@on_a_gpu
@pytest.mark.parametrize("more", [(), ("trainer.precision=bf16-mixed",), ("model=small_cnn",)])
def test_the_curves_are_those_without_graphs(tmp_path: Path, more: tuple[str, ...]) -> None:
    size = ("ratio=5", "imbalance.n_max=100", "trainer.max_epochs=3", "logger=none", "trainer=gpu")
    runs = [
        train_at(tmp_path / str(graphs), *size, f"training.cuda_graphs={graphs}", *more)
        for graphs in (False, True)
    ]
    eager, graphed = ((run.path / "curves.jsonl").read_bytes() for run in runs)
    assert eager == graphed
