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
