from pathlib import Path
from typing import Literal

import pytest
import torch
from program import composed_at
from torch import nn

from skewlab.config.parts import build
from skewlab.config.schema import checked
from skewlab.methods.second_stages import (
    HeadAndScales,
    LearnedScales,
    RetrainedHead,
    ScaledHead,
    SecondStage,
)
from skewlab.models.network import Network
from skewlab.training.module import ImbalanceClassifier


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
    both = HeadAndScales()
    both.freeze(network)
    assert trained(network) == {"head.linear.weight", "head.linear.bias", "head.scales"}


@pytest.mark.parametrize("batch_norm", ["frozen", "moving"])
def test_whether_batch_normalisation_of_the_frozen_body_moves(
    network: Network, batch_norm: Literal["frozen", "moving"]
) -> None:
    """Against PyTorch's own function, by the batch's statistics or the running ones."""
    norm: nn.BatchNorm1d = network.body[1]  # type: ignore[assignment,index]
    norm.running_mean = torch.full((8,), 0.5)
    stage = RetrainedHead(batch_norm=batch_norm)
    stage.freeze(network)
    network.train()
    stage.set_mode(network)
    x = torch.randn(16, 4)
    linear: nn.Linear = network.body[0]  # type: ignore[assignment,index]
    inner = linear(x)
    by_batch = batch_norm == "moving"
    mean = inner.mean(0) if by_batch else torch.full((8,), 0.5)
    variance = inner.var(0, unbiased=False) if by_batch else torch.ones(8)
    expected = ((inner - mean) / (variance + norm.eps).sqrt()).relu()
    torch.testing.assert_close(network.features(x), expected)
    moved = 0.9 * 0.5 + 0.1 * inner.mean(0) if by_batch else torch.full((8,), 0.5)
    torch.testing.assert_close(norm.running_mean, moved)
    network.eval()
    stage.set_mode(network)
    assert not norm.training, "an evaluation moves nothing"


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
    ("asked", "first", "epochs"),
    [(0.1, 200, 20), (0.1, 30, 3), (0.1, 2, 1), (1, 4, 1), (30, 200, 30)],
)
def test_epochs_are_a_share_of_the_first_stage_or_a_number(
    asked: float, first: int, epochs: int
) -> None:
    assert RetrainedHead(asked).epochs(first) == epochs


def test_what_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="epochs=0"):
        SecondStage(epochs=0)
    with pytest.raises(ValueError, match="lr=0"):
        SecondStage(lr=0)


@pytest.mark.parametrize("method", ["crt", "lws", "mislas"])
def test_the_optimiser_holds_what_the_second_stage_trains(tmp_path: Path, method: str) -> None:
    """Also what is frozen in the first stage, such as the scales of LWS."""
    config = checked(composed_at(tmp_path, "model=mlp", f"method={method}"))
    module = ImbalanceClassifier(
        config.model,
        config.method.parts,
        config.optimizer,
        {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 1},
        input_shape=[28, 28, 1],
        train_counts=[10, 5, 1],
        mean=[0.1],
        std=[0.3],
        init_seed=0,
        order_seed=0,
        second_epochs=1,
    )
    optimizer = module.configure_optimizers()["optimizer"]
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    stage: SecondStage = build(config.method.parts["second_stage"], key="method.second_stage")
    wanted = list(stage.trained(module.network))
    assert wanted
    assert {id(p) for p in wanted} <= held
