"""The rows that samplers draw: counted, not assumed."""

from collections import Counter

import numpy as np
import pytest
import torch
from helpers import training_batches
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from skewlab.data.batches import Share, TrainingBatches
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.data.profiles import Profile
from skewlab.data.sources import Source
from skewlab.data.subsets import draw_subset
from skewlab.distributed import Processes
from skewlab.methods.samplers import (
    EveryClassInEachBatch,
    InstanceBalanced,
    Oversampling,
    PowerOfCount,
    ProgressivelyBalanced,
    Sampler,
    Stages,
    Undersampling,
)
from skewlab.seeding import mixed_seed

counts = st.lists(st.integers(1, 60), min_size=2, max_size=8)
COUNTS = [90, 45, 22, 5]


def labels_of(counts: list[int], seed: int = 0) -> Tensor:
    labels = np.repeat(np.arange(len(counts)), counts)
    return torch.from_numpy(np.random.default_rng(seed).permutation(labels))


def drawn(sampler: Sampler, epoch: int = 0, epochs: int = 10, seed: int = 0) -> Tensor:
    return sampler(epoch, epochs, Generator().manual_seed(seed))


def class_counts(sampler: Sampler, labels: Tensor, epoch: int = 0, epochs: int = 10) -> list[int]:
    return torch.bincount(labels[drawn(sampler, epoch, epochs)]).tolist()


def assert_taken_in_turn(rows: Tensor, labels: Tensor) -> None:
    """Within a class no row came twice more than another: nothing with replacement."""
    times = torch.bincount(rows, minlength=len(labels))
    for label in labels.unique():
        own = times[labels == label]
        assert own.max() - own.min() <= 1


ALL = {
    "class_balanced": lambda labels: PowerOfCount(labels, 16, power=0.0),
    "square_root": lambda labels: PowerOfCount(labels, 16, power=0.5),
    "progressively_balanced": lambda labels: ProgressivelyBalanced(labels, 16),
    "oversampling": lambda labels: Oversampling(labels, 16),
    "undersampling": lambda labels: Undersampling(labels, 16),
    "every_class": lambda labels: EveryClassInEachBatch(labels, 16),
    "equal_batches": lambda labels: EveryClassInEachBatch(labels, 16, equal=True),
}


@pytest.mark.parametrize("name", ALL)
@given(counts=counts, epoch=st.integers(0, 9), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_rows_are_whole_in_turn_and_as_many_as_promised(
    name: str, counts: list[int], epoch: int, seed: int
) -> None:
    labels = labels_of(counts)
    sampler = ALL[name](labels)
    rows = drawn(sampler, epoch, seed=seed)
    assert len(rows) == len(sampler)
    assert rows.min() >= 0
    assert rows.max() < len(labels)
    assert_taken_in_turn(rows, labels)
    assert torch.equal(rows, drawn(ALL[name](labels), epoch, seed=seed)), "of its arguments alone"


def test_what_each_sampler_draws() -> None:
    """Of 90, 45, 22 and 5."""
    labels = labels_of(COUNTS)
    assert class_counts(ALL["oversampling"](labels), labels) == [90] * 4
    assert class_counts(ALL["undersampling"](labels), labels) == [5] * 4
    balanced = class_counts(ALL["class_balanced"](labels), labels)
    assert sorted(balanced) == [40, 40, 41, 41]
    roots = np.sqrt(COUNTS)
    for ours, exact in zip(
        class_counts(ALL["square_root"](labels), labels), 162 * roots / roots.sum(), strict=True
    ):
        assert abs(ours - exact) < 1
    progressive = ALL["progressively_balanced"](labels)
    assert class_counts(progressive, labels, epoch=0) == COUNTS
    halfway = class_counts(progressive, labels, epoch=5)
    assert np.abs(np.array(halfway) - (np.array(COUNTS) + 40.5) / 2).max() < 1
    assert class_counts(progressive, labels, 199, 200) == pytest.approx([40.5] * 4, abs=1.5)


def test_undersampling_shows_every_row_in_time() -> None:
    labels = labels_of([40, 10])
    sampler = ALL["undersampling"](labels)
    seen = [drawn(sampler, seed=epoch) for epoch in range(40)]
    assert all(len(rows.unique()) == 20 for rows in seen), "none twice in an epoch"
    assert len(torch.cat(seen).unique()) == 50


def test_rounding_favours_no_class() -> None:
    """10 classes, 11 rows: each of them has the odd one in a tenth of the epochs."""
    labels = labels_of([2] + [1] * 9)
    sampler = PowerOfCount(labels, 16, power=0.0)
    total = sum(np.array(torch.bincount(labels[drawn(sampler, seed=s)])) for s in range(1000))
    assert np.abs(total / 1000 - 1.1).max() < 0.05


@pytest.mark.parametrize("equal", [False, True])
@given(counts=counts, batch_size=st.integers(8, 40), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_every_batch_holds_every_class(
    equal: bool, counts: list[int], batch_size: int, seed: int
) -> None:
    labels = labels_of(counts)
    sampler = EveryClassInEachBatch(labels, batch_size, equal)
    batches = torch.split(drawn(sampler, seed=seed), batch_size)
    assert len(batches) == -(-len(labels) // batch_size)
    for batch in batches:
        own = torch.bincount(labels[batch], minlength=len(counts))
        assert len(batch) == batch_size
        assert own.min() >= 1
        if equal:
            assert own.max() - own.min() <= 1 or abs(own - batch_size / len(counts)).max() < 2


def test_a_batch_too_small_for_every_class_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 3 cannot hold each of 4 classes"):
        EveryClassInEachBatch(labels_of(COUNTS), 3)


def test_deferred_sampling_is_none_before_and_balanced_after() -> None:
    labels = labels_of(COUNTS)
    deferred = PowerOfCount(labels, 16, power=0.0, deferred_until=0.8)
    plain, balanced = InstanceBalanced(labels, 16), PowerOfCount(labels, 16, power=0.0)
    for epochs in (5, 30, 400):  # for any length of training
        for epoch in range(0, epochs, max(1, epochs // 10)):
            same_as = balanced if epoch >= round(0.8 * epochs) else plain
            ours = drawn(deferred, epoch, epochs)
            assert torch.equal(ours, drawn(same_as, epoch, epochs)), (epoch, epochs)


def test_a_second_stage_is_balanced_and_has_epochs_of_the_same_length() -> None:
    labels = labels_of(COUNTS)
    for first in (
        Oversampling(labels, 16),
        Undersampling(labels, 16),
        InstanceBalanced(labels, 16),
    ):
        stages = Stages(first, 3, PowerOfCount(labels, 16), 3)
        for epoch in range(6):
            rows = stages(epoch, Generator().manual_seed(epoch))
            assert len(rows) == len(stages) == len(first)
            own = torch.bincount(labels[rows], minlength=4)
            if epoch < 3:
                assert torch.equal(rows, drawn(first, epoch, 3, seed=epoch))
            else:
                # Oversampled epochs have as many rows as two of the second sampler, whose classes
                # differ by one row, and 36 of a third one, which chance has put first.
                assert own.max() - own.min() <= -(-len(first) // len(labels)) + 9
                if len(first) == len(labels):
                    assert_taken_in_turn(rows, labels)


def test_epochs_of_a_second_stage_count_from_its_own_beginning() -> None:
    labels = labels_of(COUNTS)
    second = ProgressivelyBalanced(labels, 16)
    stages = Stages(InstanceBalanced(labels, 16), 3, second, 4)
    for epoch in range(4):
        rows = stages(3 + epoch, Generator().manual_seed(7))
        assert torch.equal(rows, drawn(second, epoch, 4, seed=7))


@given(
    counts=counts,
    batch_size=st.integers(8, 20),
    processes=st.integers(1, 4),
    step=st.integers(0, 40),
    name=st.sampled_from(sorted(ALL)),
)
@settings(max_examples=60)
def test_shares_of_processes_are_the_samplers_own_batches(
    counts: list[int], batch_size: int, processes: int, step: int, name: str
) -> None:
    """A sampler is not replaced where several processes train: together they see its batches, from
    any step that a run goes on from."""
    labels = labels_of(counts)
    rows = Stages(ALL[name](labels), 50)  # no step is after its end
    steps = -(-len(rows) // batch_size)
    epoch, done = divmod(step, steps)
    generator = Generator().manual_seed(mixed_seed(3, epoch))
    whole = torch.split(rows(epoch, generator), batch_size)

    def shares(rank: int) -> list[Share]:
        batches = TrainingBatches(rows, batch_size, 3, rank, processes)
        batches.epoch, batches.done = epoch, done
        return list(batches)

    everyone = [shares(rank) for rank in range(processes)]
    for number, batch in enumerate(whole[done:]):
        parts = [own[number] for own in everyone]
        together = torch.cat([part.rows[: part.counted] for part in parts])
        assert together.tolist() == batch.tolist()
        assert {part.number for part in parts} == {step + number}
    assert len(everyone[0]) == steps - done


def test_real_batches_have_the_samplers_counts() -> None:
    """Through the loader that trains: a loader that was built before its sampler, or that ignores
    it, would give the data's own counts."""
    pool = np.arange(300) % 3
    images = np.arange(300 * 16).astype(np.uint8).reshape(300, 4, 4, 1)
    source = Source(("a", "b", "c"), images, pool, images[:30], pool[:30])
    subset = draw_subset(pool, source.class_names, Profile("exp", 9), data_seed=0, val_per_class=10)
    labels = torch.from_numpy(pool[subset.train])
    assert subset.counts.tolist() == [90, 30, 10]
    found: Counter[str] = Counter()
    for name, sampler in (
        ("none", InstanceBalanced(labels, 16)),
        ("class_balanced", PowerOfCount(labels, 16)),
        ("oversampling", Oversampling(labels, 16)),
    ):
        for ranks in (1, 2):
            total = torch.zeros(3, dtype=torch.long)
            for rank in range(ranks):
                data = ImbalancedDataModule(
                    source,
                    subset,
                    batch_size=16,
                    processes=Processes(rank, ranks),
                    rows=Stages(sampler, 5),
                )
                data.setup()
                batches = training_batches(data)
                assert len(batches) == data.batches_per_epoch == -(-len(sampler) // 16)
                for batch in batches:
                    total += torch.bincount(batch.labels[: batch.counted], minlength=3)
            expected = {
                "none": [90, 30, 10],
                "class_balanced": [43, 43, 43],
                "oversampling": [90, 90, 90],
            }[name]
            assert (total - torch.tensor(expected)).abs().max() <= 1, (name, total)
            found[name] += 1
    assert len(found) == 3


def test_rest_of_each_batch_is_as_the_data_have_it() -> None:
    """160 rows are 10 full batches of 16, and every class has 10 rows or more: each row once."""
    labels = labels_of([90, 40, 20, 10])
    for seed in range(5):
        rows = drawn(EveryClassInEachBatch(labels, 16), seed=seed)
        assert sorted(rows.tolist()) == list(range(160))


@pytest.mark.parametrize("name", ALL)
def test_every_place_of_an_epoch_is_as_likely_for_every_class(name: str) -> None:
    """Rows are drawn class after class: without a shuffle a training would see one class after the
    other, and a batch's share for one process only some of the classes."""
    labels = labels_of([20, 8, 6])
    sampler = ALL[name](labels)
    epochs = torch.stack([labels[drawn(sampler, seed=seed)] for seed in range(500)])
    for label in range(3):
        of_class = (epochs == label).double()
        share = of_class.mean()
        error = (share * (1 - share) / 500).sqrt()
        assert (of_class.mean(dim=0) - share).abs().max() < 5 * error, label
