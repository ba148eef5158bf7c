"""Seeds out of several numbers."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from skewlab.seeding import mixed_seed, seed_streams

numbers = st.integers(0, 2**31 - 1)


@given(numbers, numbers)
def test_a_mixed_seed_is_one_that_pytorch_takes_whole(seed: int, step: int) -> None:
    mixed = mixed_seed(seed, step)
    assert 0 <= mixed < 2**32
    assert mixed == mixed_seed(seed, step)


def test_seeds_never_change() -> None:
    """A run of an earlier version can be repeated and resumed."""
    assert mixed_seed(3, 1, 4) == 3304465307
    assert mixed_seed(3, 4, 1) != mixed_seed(3, 1, 4)


def test_streams_differ_for_every_seed_and_step() -> None:
    """Packed side by side, seed and step would give all seeds one stream."""
    drawn = {
        tuple(torch.randint(1 << 30, (4,), generator=torch.Generator().manual_seed(s)).tolist())
        for s in (mixed_seed(seed, step) for seed in range(20) for step in range(20))
    }
    assert len(drawn) == 400


@given(numbers)
def test_the_streams_are_those_of_pytorchs_own_seeding(seed: int) -> None:
    torch.manual_seed(seed)
    expected = torch.rand(3)
    seed_streams(seed, torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected)
