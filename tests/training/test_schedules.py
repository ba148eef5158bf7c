import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skewlab.methods.weights import InverseFrequency
from skewlab.training.schedules import constant, cosine, multistep


@pytest.mark.parametrize(
    ("epoch", "factor"), [(0, 1.0), (50, (2 + math.sqrt(2)) / 4), (100, 0.5), (200, 0.0)]
)
def test_cosine_by_hand(epoch: float, factor: float) -> None:
    assert cosine(epoch, 200) == pytest.approx(factor)


def test_cosine_is_torchs() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30, eta_min=0.1)
    for epoch in range(31):
        assert cosine(epoch, 30, final=0.1) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torchs.step()


def test_cosine_stays_at_its_end() -> None:
    assert cosine(250, 200) == pytest.approx(0.0)
    assert cosine(250, 200, final=0.2) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("epoch", "factor"), [(0, 0.0), (0.5, 0.1), (2.5, 0.5), (5, 1.0), (7, 1.0), (10, 1.0)]
)
def test_warm_up_is_linear(epoch: float, factor: float) -> None:
    assert constant(epoch, 10, warmup_epochs=5) == pytest.approx(factor)
    assert multistep(epoch, 200) == pytest.approx(factor)
    cosines = [cosine(epoch, 10, warmup_epochs=warmup) for warmup in (5, 0)]
    assert cosines[0] == pytest.approx(factor * cosines[1])


def test_constant_is_the_base_rate_from_the_first_step() -> None:
    assert [constant(epoch, 10) for epoch in (0, 0.1, 5, 10, 20)] == [1.0] * 5


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [(1, 0.2), (5, 1.0), (159.99, 1.0), (160, 1e-2), (179.99, 1e-2), (180, 1e-4), (200, 1e-4)],
)
def test_multistep_is_the_long_tail_fields_over_200_epochs(epoch: float, factor: float) -> None:
    assert multistep(epoch, 200) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("max_epochs", "first", "second"), [(10, 8, 9), (300, 240, 270), (1000, 800, 900)]
)
def test_milestones_are_shares_of_any_length(max_epochs: int, first: int, second: int) -> None:
    factors = [multistep(epoch, max_epochs) for epoch in (first - 0.5, first, second - 0.5, second)]
    assert factors == pytest.approx([1.0, 1e-2, 1e-2, 1e-4])


@given(
    share=st.floats(0.01, 0.99),
    max_epochs=st.integers(1, 400),
    step=st.floats(0, 0.99),
)
def test_the_rate_drops_in_the_epoch_in_which_a_deferred_part_begins(
    share: float, max_epochs: int, step: float
) -> None:
    weights = InverseFrequency(torch.tensor([3, 1]), deferred_until=share)
    for epoch in range(max_epochs):
        factor = multistep(epoch + step, max_epochs, milestones=[share], warmup_epochs=0)
        assert (factor < 1) == (weights(epoch, max_epochs) is not None)


def test_a_milestone_from_1_on_is_an_epoch() -> None:
    factors = [multistep(e, 30, [10, 20], 0.1, warmup_epochs=0) for e in (9.9, 10, 19.9, 20)]
    assert factors == pytest.approx([1, 0.1, 0.1, 0.01])


def test_multistep_works_beyond_its_length() -> None:
    assert multistep(1000, 200) == pytest.approx(1e-4)


def test_multistep_is_torchs() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    torchs = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[5, 10, 15], gamma=0.1)
    shares = {"milestones": [0.25, 0.5, 0.75], "factor": 0.1, "warmup_epochs": 0}
    for epoch in range(21):
        assert multistep(epoch, 20, **shares) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torchs.step()


@given(epoch=st.floats(0, 5000), max_epochs=st.integers(1, 1000), warmup_epochs=st.floats(0, 50))
def test_factors_never_leave_0_to_1(epoch: float, max_epochs: int, warmup_epochs: float) -> None:
    for schedule in (constant, cosine, multistep):
        assert 0 <= schedule(epoch, max_epochs, warmup_epochs=warmup_epochs) <= 1
