"""The memory that a run needs, against numbers counted by hand and against a GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from skewlab.config.schema import RunConfig, checked
from skewlab.data.plan import plan
from skewlab.errors import ConfigError
from skewlab.training.memory import CONTEXT, GIB, Memory, estimate, fit


@pytest.fixture
def run(composed: Callable[..., dict[str, Any]]) -> RunConfig:
    return checked(
        composed("model=mlp", "model.hidden=[100]", "data.batch_size=64", "optimizer=adam")
    )


def test_a_network_counted_by_hand(run: RunConfig) -> None:
    found = estimate(run, plan(run)[0])
    weights = 784 * 100 + 100 + 100 * 10 + 10
    # Weights, gradients and Adam's two means, in 4 bytes; and a number of steps for each tensor.
    assert found.network == 4 * (4 * weights + 4)
    # The flattened image, and what ReLU has made, both as floats.
    assert found.training == 64 * 4 * (784 + 100)
    assert found.evaluation == 2 * 250 * 4 * 784
    assert found.data == 5000 * 784


def test_twice_the_batch_takes_twice_the_activations(run: RunConfig) -> None:
    data = run.data.model_copy(update={"batch_size": 128})
    source = plan(run)[0]
    one, two = (estimate(c, source) for c in (run, run.model_copy(update={"data": data})))
    assert two.training == 2 * one.training
    assert two.network == one.network


def test_runs_that_do_not_fit_are_refused_with_what_to_change() -> None:
    needed = Memory(data=GIB, network=GIB, training=GIB // 2 - CONTEXT + GIB, evaluation=0)
    assert needed.whole == 3.5 * GIB
    fit(needed, total=7 * GIB, runs=2)
    with pytest.raises(ConfigError) as refused:
        fit(needed, total=7 * GIB, runs=3)
    assert "3 runs on a GPU of 7.0 GiB: each needs about 3.5 GiB" in str(refused.value)
    assert "hydra.launcher.n_jobs: at most 2 a GPU" in str(refused.value)
    with pytest.raises(ConfigError, match=r"set data\.batch_size"):
        fit(needed, total=3 * GIB, runs=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_needs_about_as_much(run: RunConfig) -> None:
    source = plan(run)[0]
    found = estimate(run, source)
    from skewlab.config.parts import build

    device = torch.device("cuda")
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    network = build(run.model, source.image_shape, 10, key="model").to(device)
    optimizer = build(run.optimizer, network.parameters(), key="optimizer")
    for _ in range(2):
        optimizer.zero_grad()
        network(torch.zeros(64, 1, 28, 28, device=device)).sum().backward()
        optimizer.step()
    peak = torch.cuda.max_memory_allocated(device) - before
    assert 0.5 * peak < found.network + found.training < 2 * peak
