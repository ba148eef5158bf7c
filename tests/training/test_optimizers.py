"""Optimisers that PyTorch does not have, against the parts that it has."""

import copy

import torch
from torch import nn

from skewlab.training.optimizers import MuonAndAdamW


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 3))


def steps(model: nn.Module, optimizers: list[torch.optim.Optimizer], seeds: range) -> None:
    for seed in seeds:
        inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(seed))
        loss = model(inputs).square().sum()
        model.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


def test_matrices_move_as_with_muon_and_the_others_as_with_adamw() -> None:
    one, other = network(), network()
    steps(one, [MuonAndAdamW(one.parameters(), lr=0.02, weight_decay=0.1)], range(4))
    matrices = [p for p in other.parameters() if p.ndim == 2]
    rest = [p for p in other.parameters() if p.ndim != 2]
    by_hand: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, 0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, 0.02, weight_decay=0.1),
    ]
    steps(other, by_hand, range(4))
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_saved_state_goes_on_and_a_schedule_reaches_both() -> None:
    whole, first = network(), network()
    optimizer = MuonAndAdamW(whole.parameters(), lr=0.02)
    steps(whole, [optimizer], range(3))
    for group in optimizer.param_groups:
        group["lr"] = 0.001
    steps(whole, [optimizer], range(3, 6))

    begun = MuonAndAdamW(first.parameters(), lr=0.02)
    steps(first, [begun], range(3))
    second = copy.deepcopy(first)
    goes_on = MuonAndAdamW(second.parameters(), lr=0.02)
    goes_on.load_state_dict(begun.state_dict())
    for group in goes_on.param_groups:
        group["lr"] = 0.001
    steps(second, [goes_on], range(3, 6))
    for mine, theirs in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_groups_keep_their_own_rates() -> None:
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[2].parameters()}]
    made = MuonAndAdamW([{**group, "params": list(group["params"])} for group in groups], lr=0.1)
    rates = {id(p): group["lr"] for group in made.param_groups for p in group["params"]}
    assert [rates[id(p)] for p in (*model[0].parameters(), *model[2].parameters())] == [
        0.5,
        0.5,
        0.1,
        0.1,
    ]
