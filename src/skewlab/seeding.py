"""One seed out of several numbers, and PyTorch's streams set to one."""

import numpy as np
import torch


def mixed_seed(*numbers: int) -> int:
    """A 32-bit seed that depends on every one of some whole numbers and on their order.

    PyTorch's CPU generator takes no more than 32 bits of a seed, so two numbers cannot be packed
    side by side into one: the upper one would be dropped without a word.
    """
    return mixed_seeds(*numbers, count=1)[0]


def mixed_seeds(*numbers: int, count: int) -> list[int]:
    """So many of them at once, which takes little longer than one."""
    seeds: list[int] = np.random.SeedSequence(numbers).generate_state(count).tolist()
    return seeds


def seed_streams(seed: int, device: torch.device) -> None:
    """Set the random streams that a network on a device draws from: the CPU's and the device's own.

    `torch.manual_seed` gives the same streams, but without a GPU it also writes down the whole call
    stack each time, for devices that could still come: several times the cost of a small network's
    step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[torch.cuda.current_device()].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
