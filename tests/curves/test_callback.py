"""When curves are evaluated."""

from hypothesis import given
from hypothesis import strategies as st

from skewlab.curves.callback import early_steps


def test_early_steps_by_hand() -> None:
    assert early_steps(steps_per_epoch=8, epochs=2, points=5) == {1, 2, 4, 8, 16}
    assert early_steps(steps_per_epoch=8, epochs=0, points=5) == set()
    assert early_steps(steps_per_epoch=8, epochs=2, points=0) == set()


@given(st.integers(1, 500), st.integers(1, 5), st.integers(2, 40))
def test_early_steps_reach_from_the_first_to_the_last(
    steps_per_epoch: int, epochs: int, points: int
) -> None:
    steps = early_steps(steps_per_epoch, epochs, points)
    assert min(steps) == 1
    assert max(steps) == steps_per_epoch * epochs
    assert len(steps) <= points
