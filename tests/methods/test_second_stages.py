import pytest
import torch
from torch import nn

from skewlab.methods.second_stages import LearnedScales, RetrainedHead, ScaledHead
from skewlab.models.network import Network


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())
    return Network(body, nn.Linear(8, 3))


def trained(network: nn.Module) -> set[str]:
    return {name for name, p in network.named_parameters() if p.requires_grad}


def test_what_each_stage_trains(network: Network) -> None:
    retrained = RetrainedHead()
    retrained.prepare(network)
    retrained.freeze(network)
    assert trained(network) == {"head.weight", "head.bias"}
    scales = LearnedScales()
    scales.prepare(network)
    scales.freeze(network)
    assert trained(network) == {"head.scales"}


def test_a_head_is_initialised_anew_and_the_body_is_not(network: Network) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(1)
    RetrainedHead().restart(network)
    changed = {name for name, v in network.state_dict().items() if not torch.equal(v, before[name])}
    assert changed == {"head.weight", "head.bias"}


def test_scales_of_1_change_nothing_and_others_scale_logits(network: Network) -> None:
    x = torch.randn(5, 4)
    network.eval()
    before = network(x)
    LearnedScales().prepare(network)
    assert torch.equal(network(x), before)
    assert "head.scales" not in trained(network), "not before the second stage"
    head: ScaledHead = network.head  # type: ignore[assignment]
    head.scales.data = torch.tensor([1.0, 2.0, 0.5])
    torch.testing.assert_close(network(x), before * head.scales)
    same = nn.functional.linear(network.features(x), head.weight, head.bias)
    torch.testing.assert_close(network(x), same)


@pytest.mark.parametrize(
    ("length", "first", "epochs"),
    [(0.1, 200, 20), (0.1, 30, 3), (0.1, 27, 3), (0.1, 2, 1), (1, 4, 4)],
)
def test_length_is_a_share_of_the_first_stage(length: float, first: int, epochs: int) -> None:
    assert RetrainedHead(length).epochs(first) == epochs
    with pytest.raises(ValueError, match="length=0"):
        RetrainedHead(0)
