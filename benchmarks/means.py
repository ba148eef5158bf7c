"""What each means to be fast is worth: uv run benchmarks/means.py

A job of skewlab as it is, and with one of the means taken away or one of the options added, in turn
in one process, round after round. Ratios are taken within a round.

    uv run benchmarks/means.py --models mlp --rounds 1
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from loops import Task
from run import EPOCHS, quiet, settings, skewlab
from torch import Tensor

from skewlab.data import augment, batches, datamodule
from skewlab.methods import objective
from skewlab.training import devices
from skewlab.training import module as classifier
from skewlab.training.module import ImbalanceClassifier

prepare, normalise = devices.prepare, augment.Normalise.forward


@contextmanager
def with_call_stacks() -> Iterator[None]:
    def seed(seed: int, device: torch.device) -> None:
        torch.manual_seed(seed)

    with (
        patch.object(objective, "seed_streams", seed),
        patch.object(classifier, "seed_streams", seed),
    ):
        yield


@contextmanager
def step_by_step() -> Iterator[None]:
    def one_by_one(self: batches.Stretches) -> Iterator[list[batches.Share]]:
        return ([share] for share in self._shares)

    with patch.object(batches.Stretches, "__iter__", one_by_one):
        yield


@contextmanager
def scaled_in_each_batch() -> Iterator[None]:
    with patch.object(datamodule, "SCALED_BYTES", 0):
        yield


@contextmanager
def by_brackets() -> Iterator[None]:
    def batch(self: Any, share: Any) -> Any:
        kept = share.rows if self._subset is None else self._subset[share.rows]
        return batches.Batch(self.images[kept], self.labels[kept], *share)

    with (
        patch.object(batches.Rows, "__getitem__", batch),
        patch.object(batches.Rows, "between", batch),
    ):
        yield


@contextmanager
def with_filled_memory() -> Iterator[None]:
    def filled(*arguments: Any) -> Any:
        found = prepare(*arguments)
        torch.utils.deterministic.fill_uninitialized_memory = True
        return found

    with patch.object(devices, "prepare", filled):
        yield


@contextmanager
def channels_first() -> Iterator[None]:
    def pixels(self: Any, images: Tensor) -> Tensor:
        return normalise(self, images).contiguous()

    def begin(self: Any) -> None:
        self.network.to(memory_format=torch.contiguous_format)

    with (
        patch.object(augment.Normalise, "forward", pixels),
        patch.object(ImbalanceClassifier, "on_fit_start", begin),
    ):
        yield


@contextmanager
def compiled() -> Iterator[None]:
    def begin(self: Any) -> None:
        self.network.compile()

    with patch.object(ImbalanceClassifier, "on_fit_start", begin):
        yield


# Taken away: how much longer it takes without.
WITHOUT: dict[str, Callable[[], Any] | tuple[str, ...]] = {
    "seeds are set without writing down the call stack": with_call_stacks,
    "all batches between two evaluations handed to Lightning together": step_by_step,
    "images scaled once, evaluated as they lie": scaled_in_each_batch,
    "no checkpoint within two seconds of the last": ("trainer.checkpoint_seconds=0",),
    "new memory is not filled": with_filled_memory,
    "evaluation in batches of 250, not 1,000": ("curves.evaluation_batch_size=1000",),
    "batches cut out row by row, not pixel by pixel": by_brackets,
    "channels last": channels_first,
}
# Options that change the arithmetic, off by default: how much it takes with them.
OPTIONS: dict[str, Callable[[], Any] | tuple[str, ...]] = {
    "trainer.precision=bf16": ("trainer.precision=bf16",),
    "+optimizer.fused=true": ("+optimizer.fused=true",),
    "+optimizer.foreach=true": ("+optimizer.foreach=true",),
    "torch.compile of the network": compiled,
    "trainer.threads=1": ("trainer.threads=1",),
    "trainer.deterministic=false": ("trainer.deterministic=false",),
}


def seconds(model: str, change: Callable[[], Any] | tuple[str, ...], overrides: list[str]) -> float:
    """Of a job with a change."""
    given = change if isinstance(change, tuple) else ()
    words = [f"model={model}", "ratio=1", f"trainer.max_epochs={EPOCHS[model]}", *overrides, *given]
    task = Task.of(settings(*words))
    torch.use_deterministic_algorithms(False)
    began = time.perf_counter()
    with quiet():
        if isinstance(change, tuple):
            skewlab(task, early=False)
        else:
            with change():
                skewlab(task, early=False)
    return time.perf_counter() - began


def main(arguments: argparse.Namespace) -> None:
    for model in arguments.models.split(","):
        changes: dict[str, Any] = {**WITHOUT, **OPTIONS}
        ratios: dict[str, list[float]] = {name: [] for name in changes}
        for turn in range(arguments.rounds + 1):
            for name, change in changes.items():
                # Each beside one as it is: the machine is another one a minute later.
                plain = seconds(model, (), arguments.overrides)
                changed = seconds(model, change, arguments.overrides)
                print(
                    f"{model} {name}: {plain:.2f} s, {changed:.2f} s", file=sys.stderr, flush=True
                )
                if turn:
                    ratios[name].append(changed / plain)
        for title, names in (("without it", WITHOUT), ("with it", OPTIONS)):
            print(f"\n{model}\n\n| | time {title} |\n|---|---|")
            for name in names:
                found = ratios[name]
                print(
                    f"| {name} | {statistics.median(found):.2f} "
                    f"({min(found):.2f} to {max(found):.2f}) |",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", default="mlp,small_cnn")
    parser.add_argument("--rounds", type=int, default=5, help="after one to warm up")
    parser.add_argument("overrides", nargs="*", help="of the configuration")
    main(parser.parse_args())
