"""Optimisers that PyTorch does not have."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from skewlab.errors import ConfigError


class SignDescent(torch.optim.Optimizer):
    """Every parameter moves by the same amount, against the sign of its gradient: x <- x - lr
    sign(g).

    What Adam is without its averages (Balles and Hennig 2018); Kunstner et al. (2024) find with it
    that rare classes are learned as fast as frequent ones. A parameter without a gradient, or whose
    gradient is 0, stays.

    Args:
        params: as of any optimiser.
        lr: the step of every parameter.

    Raises:
        ConfigError: a learning rate that is not above 0.
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float) -> None:
        if not lr > 0:
            raise ConfigError(f"optimizer.lr={lr}: must be a number above 0")
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step, after `closure`, if given, has made the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if moved:
                signs = torch._foreach_sign([p.grad for p in moved])
                torch._foreach_add_(moved, signs, alpha=-group["lr"])
        return loss


class MuonAndAdamW(torch.optim.Optimizer):
    """PyTorch's Muon for matrices of weights, its AdamW for all other parameters.

    Muon (Jordan et al. 2024) moves a matrix along the orthogonal matrix next to its momentum, so
    that directions which few samples ask for count as much as others; Vasudeva et al. (2025, arXiv
    2510.22980) find that it learns rare classes earlier. PyTorch's takes matrices only, the
    classifier's and those of embeddings among them; kernels of convolutions, biases and
    normalisation are AdamW's.

    Args:
        params: as of any optimiser.
        lr: of both; Muon's step is scaled to the size of AdamW's (Liu et al. 2025).
        momentum: Muon's.
        betas: AdamW's.
        weight_decay: of both, decoupled.

    Raises:
        ValueError: what PyTorch's own refuse.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        given = list(params)
        groups = [one if isinstance(one, dict) else {"params": [one]} for one in given]
        made: list[torch.optim.Optimizer] = []
        if matrices := _with(groups, lambda parameter: parameter.ndim == 2):
            made.append(
                torch.optim.Muon(
                    matrices,
                    lr,
                    weight_decay=weight_decay,
                    momentum=momentum,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        if others := _with(groups, lambda parameter: parameter.ndim != 2):
            made.append(
                torch.optim.AdamW(others, lr, (betas[0], betas[1]), weight_decay=weight_decay)
            )
        super().__init__([group for one in made for group in one.param_groups], {"lr": lr})
        self._optimizers = made
        self._share()

    def _share(self) -> None:
        """Let both work on the groups and the state of this one, which is what is saved."""
        groups = iter(self.param_groups)
        for one in self._optimizers:
            one.param_groups = [next(groups) for _ in one.param_groups]
            one.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step, after `closure`, if given, has made the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for one in self._optimizers:
            one.step()
        return loss


def _with(
    groups: Iterable[dict[str, Any]], wanted: Callable[[Tensor], bool]
) -> list[dict[str, Any]]:
    """The groups with only the parameters that are wanted; without those that then have none."""
    kept = [
        {**group, "params": [parameter for parameter in group["params"] if wanted(parameter)]}
        for group in groups
    ]
    return [group for group in kept if group["params"]]
