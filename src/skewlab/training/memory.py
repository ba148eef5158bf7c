"""How much of a GPU's memory a run needs, told before it starts."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from skewlab.config.parts import build
from skewlab.config.schema import RunConfig
from skewlab.data.sources import Source
from skewlab.data.transforms import first_inputs
from skewlab.errors import ConfigError
from skewlab.models.network import build_network
from skewlab.training import devices

# An allowance for what CUDA and its libraries take in each process.
CONTEXT = 2**29
# Samples that are really passed through the network, on the CPU.
TRIED = 2
GIB = 2**30


class Memory(NamedTuple):
    """Bytes that a run needs on a GPU, estimated.

    Attributes:
        data: images that stay there.
        network: weights, gradients, and the optimiser's state.
        training: what a batch's forward pass keeps for the backward pass.
        evaluation: the largest output of a layer for a batch of an evaluation, and its input.
    """

    data: int
    network: int
    training: int
    evaluation: int

    @property
    def whole(self) -> int:
        """All of it that is there at one time, with CUDA's own share."""
        return CONTEXT + self.data + self.network + max(self.training, self.evaluation)


def estimate(config: RunConfig, source: Source) -> Memory:
    """What a run needs, from one training step on two samples on the CPU.

    Activations are counted as autograd keeps them, once each. What kernels need for themselves is
    not counted.
    """
    classes = len(source.class_names)
    with torch.random.fork_rng(devices=()):
        network = build_network(config.model, source.input_shape, classes, source.vocabulary)
    optimizer = build(config.optimizer, network.parameters(), key="optimizer")
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}
    outputs = [0]

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def look(module: nn.Module, given: object, output: object) -> None:
        if isinstance(output, Tensor):
            outputs.append(output.nbytes)

    handles = [part.register_forward_hook(look) for part in network.modules()]
    inputs = first_inputs(config.data.normalise, source, TRIED)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(inputs).sum()
    for handle in handles:
        handle.remove()
    loss.backward()
    optimizer.step()
    state = [
        value
        for values in optimizer.state.values()
        for value in values.values()
        if isinstance(value, Tensor)
    ]
    parameters = sum(parameter.nbytes for parameter in network.parameters())
    buffers = sum(buffer.nbytes for buffer in network.buffers())
    pool = source.train_images, source.test_images
    return Memory(
        data=sum(inputs.nbytes for inputs in pool if isinstance(inputs, np.ndarray)),
        network=2 * parameters + buffers + sum(tensor.nbytes for tensor in state),
        training=sum(kept.values()) * config.data.batch_size // TRIED,
        evaluation=2 * max(outputs) * config.curves.evaluation_batch_size // TRIED,
    )


def check(config: RunConfig, source: Source, at_once: int = 1) -> None:
    """Hold what runs need against the memory of a GPU, if they train on one.

    Args:
        config: one of them.
        source: its data.
        at_once: how many train on the machine at a time, spread over its GPUs.

    Raises:
        ConfigError: they do not fit.
    """
    if devices.accelerator(config) != "gpu":
        return
    total = torch.cuda.get_device_properties(0).total_memory
    fit(estimate(config, source), total, -(-at_once // torch.cuda.device_count()))


def fit(needed: Memory, total: int, runs: int) -> None:
    """Hold the memory that some runs need against that of the GPU which they share.

    Raises:
        ConfigError: they do not fit; with what to change.
    """
    if runs * needed.whole <= total:
        return
    room = total // needed.whole
    fewer = f"hydra.launcher.n_jobs: at most {room} a GPU, or " if room else ""
    raise ConfigError(
        f"{runs} run{'s' * (runs > 1)} on a GPU of {total / GIB:.1f} GiB: each needs about "
        f"{needed.whole / GIB:.1f} GiB (data {needed.data / GIB:.1f}, network "
        f"{needed.network / GIB:.1f}, a training batch {needed.training / GIB:.1f}, an evaluation "
        f"batch {needed.evaluation / GIB:.1f}); set {fewer}data.batch_size or "
        "curves.evaluation_batch_size lower"
    )
