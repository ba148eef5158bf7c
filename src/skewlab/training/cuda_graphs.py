"""Forward and backward pass of the network as CUDA graphs.

A small network leaves a GPU waiting for the next kernel. A graph is recorded once, and then all its
kernels are started together: https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

import inspect
from collections.abc import Callable

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from skewlab.config.parts import target_of
from skewlab.config.schema import RunConfig
from skewlab.data.batches import Batch
from skewlab.training.module import ImbalanceClassifier


def why_not(config: RunConfig) -> str | None:
    """Why a run cannot use CUDA graphs, in words that fit after a colon; None if it can."""
    method, trainer = config.method.parts, config.trainer.arguments()
    module = target_of(config.module, "module")
    if not (inspect.isclass(module) and issubclass(module, ImbalanceClassifier)):
        return f"module={config.module['_target_']} is no ImbalanceClassifier"
    if module.training_step is not ImbalanceClassifier.training_step:
        return f"module={config.module['_target_']} has a training step of its own"
    if method.get("gradient"):
        return "method.gradient runs the network several times in a step"
    if config.method.algorithm:
        return "method.algorithm computes the step's loss from more than the network's logits"
    if method.get("second_stage"):
        return "method.second_stage freezes a part of the network"
    if config.trainer.strategy == "ddp":
        return "trainer.strategy=ddp trains with several processes"
    if trainer.get("accumulate_grad_batches", 1) != 1:
        return "trainer.accumulate_grad_batches adds up gradients, which a graph would overwrite"
    if trainer.get("detect_anomaly"):
        return "trainer.detect_anomaly looks at every operation"
    return None


class CudaGraphs(pl.Callback):
    """Records the network's forward and backward pass at the first whole batch, and replays them in
    every later training step.

    Loss, optimiser, evaluations, probes, and batches of another size run as without graphs. So does
    a network that cannot be recorded.

    Args:
        batch_size: of a whole batch.
        say: told in one line why a network is not recorded.
    """

    def __init__(self, batch_size: int, say: Callable[[str], None]) -> None:
        self._batch_size, self._say = batch_size, say
        self._tried = False

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        if self._tried or len(batch.images) != self._batch_size:
            return
        self._tried = True
        assert isinstance(pl_module, ImbalanceClassifier)
        try:
            with trainer.precision_plugin.train_step_context():
                pl_module.graphed = record(pl_module.network, pl_module.normalise(batch.images))
        except (RuntimeError, AssertionError) as error:
            self._say(str(error).strip().splitlines()[0])


def record(network: nn.Module, sample: Tensor) -> Callable[[Tensor], Tensor]:
    """Record the forward and backward pass of a network in train mode.

    Args:
        network: on a CUDA device. Its parameters, buffers and own `forward` stay as they are.
        sample: an input of the shape that is recorded, with the memory format of later ones.

    Returns:
        What gives the network's outputs for training: replayed for inputs of that shape, computed
        by the network itself for others. One backward pass must follow each call.

    Raises:
        RuntimeError: an operation cannot be recorded.
        AssertionError: nor can a network with hooks.
    """
    kept = [buffer.clone() for buffer in network.buffers()]
    try:
        # A graph is recorded in a stream of its own, which PyTorch otherwise warns of in every run.
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        torch.cuda.make_graphed_callables(network, (sample,))
        replayed = network.forward
    finally:
        vars(network).pop("forward", None)
        with torch.no_grad():  # to record, PyTorch trains: batch normalisation has moved
            for buffer, value in zip(network.buffers(), kept, strict=True):
                buffer.copy_(value)

    def forward(images: Tensor) -> Tensor:
        outputs: Tensor = (replayed if images.shape == sample.shape else network)(images)
        return outputs

    return forward
