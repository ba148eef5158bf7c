"""One seed out of several numbers."""

import numpy as np


def mixed_seed(*numbers: int) -> int:
    """A 32-bit seed that depends on every one of some whole numbers and on their order.

    PyTorch's CPU generator takes no more than 32 bits of a seed, so two numbers cannot be packed
    side by side into one: the upper one would be dropped without a word.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
