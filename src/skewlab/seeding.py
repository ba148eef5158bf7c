"""One seed from several numbers, and a seed for PyTorch's random streams."""

import numpy as np
import torch


def mixed_seed(*numbers: int) -> int:
    """A 32-bit seed that depends on every one of some whole numbers and on their order.

    PyTorch's CPU generator uses only 32 bits of a seed, so two numbers cannot be packed into one
    64-bit seed: the upper one would be ignored without an error.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_streams(seed: int, device: torch.device) -> None:
    """Seed the random streams that a network on a device uses: the CPU's and the device's.

    `torch.manual_seed` sets the same streams. But without a GPU it also records the call stack each
    time, for devices that may be initialised later, which takes several times as long as a step of
    a small network.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
