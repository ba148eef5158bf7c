import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from helpers import save_pictures, training_batches
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from skewlab.data import datamodule
from skewlab.data.batches import Batch, ShuffledRows, Stretches
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.data.profiles import Profile
from skewlab.data.sources import Source, image_folder, mnist5k
from skewlab.data.subsets import draw_subset
from skewlab.data.transforms import Normalise

BATCH, EVALUATION_BATCH = 16, 50


@pytest.fixture(scope="module")
def source() -> Source:
    """300 images of 3 mixed classes; the first two pixels of each spell its place in the pool."""
    pool, test = np.arange(300), np.arange(30)
    images = np.zeros((300, 4, 4, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = pool % 256, pool // 256
    labels = np.random.default_rng(0).permutation(pool % 3)
    return Source(("a", "b", "c"), images, labels, images[:30], test % 3)


def module(
    source: Source,
    order_seed: int = 0,
    val_per_class: int = 10,
    workers: int = 0,
    normalise: Normalise | None = None,
    augmented: bool = False,
) -> ImbalancedDataModule:
    subset = draw_subset(
        source.train_labels,
        source.class_names,
        Profile("exp", 4),
        data_seed=0,
        val_per_class=val_per_class,
    )
    made = ImbalancedDataModule(
        source,
        subset,
        batch_size=BATCH,
        evaluation_batch_size=EVALUATION_BATCH,
        order_seed=order_seed,
        workers=workers,
        normalise=normalise,
        augmented=augmented,
    )
    made.setup()
    return made


def places(batches: Iterable[Batch]) -> list[int]:
    """The samples' places in the pool, read from their pixels."""
    pixels = torch.cat([batch.images for batch in batches]).int()
    return (pixels[:, 0, 0, 0] + 256 * pixels[:, 0, 1, 0]).tolist()


def order_at(data: ImbalancedDataModule, epoch: int) -> list[int]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return places([batch for stretch in loader for batch in stretch])


def test_an_epoch_holds_each_sample_of_the_subset_once(source: Source) -> None:
    data = module(source)
    batches = training_batches(data)
    assert sorted(places(batches)) == sorted(data.subset.train)
    assert len(batches) == data.steps_per_epoch
    samples = len(data.subset.train)
    assert samples % BATCH  # the last batch is smaller, and there
    assert [len(batch.labels) for batch in batches] == [
        *[BATCH] * (samples // BATCH),
        samples % BATCH,
    ]


@given(
    steps=st.integers(1, 60),
    done=st.integers(0, 200),
    pauses=st.sets(st.integers(1, 260)),
)
def test_stretches_are_the_batches_cut_where_training_pauses(
    steps: int, done: int, pauses: set[int]
) -> None:
    """Resumed at any step, nothing comes twice or is missing, and no pause is skipped."""
    shares = ShuffledRows(3 * steps, 3, 0, done)
    stretches = list(Stretches(shares, pauses.__contains__))
    whole = [share for stretch in stretches for share in stretch]
    assert [share.rows.tolist() for share in whole] == [
        share.rows.tolist() for share in ShuffledRows(3 * steps, 3, 0, done)
    ]
    ends = set(done + np.cumsum([len(stretch) for stretch in stretches]))
    inside = range(done + 1, (done // steps + 1) * steps + 1)
    assert pauses & set(inside) <= ends
    # None is shorter than it must be.
    assert len(stretches) <= len(pauses & set(inside)) + 1


def test_labels_and_rows_are_those_of_the_images(source: Source) -> None:
    data = module(source)
    for split in ("train", "val"):
        for batch in data.evaluation_batches(split):
            kept = places([batch])
            assert batch.labels.tolist() == source.train_labels[kept].tolist()
            assert getattr(data.subset, split)[batch.rows].tolist() == kept
    for batch in training_batches(data):
        kept = places([batch])
        assert batch.labels.tolist() == source.train_labels[kept].tolist()
        assert data.subset.train[batch.rows].tolist() == kept


def test_batches_hold_the_counts_of_each_class(source: Source) -> None:
    data = module(source)
    labels = torch.cat([batch.labels for batch in training_batches(data)])
    assert torch.bincount(labels).tolist() == data.subset.counts.tolist() == [90, 45, 22]


def test_order_depends_on_seed_and_epoch_only(source: Source) -> None:
    orders = [
        order_at(module(source, seed), epoch)
        for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0))
    ]
    assert all(one != other for one, other in itertools.combinations(orders, 2))
    assert all(sorted(one) == sorted(orders[0]) for one in orders)
    data = module(source, 1)
    order_at(data, 7)
    assert order_at(data, 1) == orders[3]


def test_order_is_no_block_of_classes(source: Source) -> None:
    data = module(source)
    order = order_at(data, 0)
    first_half = source.train_labels[order[: len(order) // 2]]
    # 90 of 157 are of class a: 45 of a random half, and all 78 where classes follow each other.
    assert 30 < np.count_nonzero(first_half == 0) < 60


def test_evaluation_gives_each_sample_once_and_in_order(source: Source) -> None:
    data = module(source)
    assert data.splits == ("train", "val", "test")
    expected = {"train": data.subset.train, "val": data.subset.val, "test": np.arange(30)}
    for split, kept in expected.items():
        loader = data.evaluation_batches(split)
        batches = list(loader)
        assert places(batches) == kept.tolist()
        assert len(batches) == len(loader) == -(-len(kept) // EVALUATION_BATCH)
    assert places(data.val_dataloader()) == data.subset.val.tolist()
    assert places(data.test_dataloader()) == list(range(30))


def test_empty_validation_set_is_no_split(source: Source) -> None:
    assert module(source, val_per_class=0).splits == ("train", "test")


def test_loading_leaves_torchs_random_state_alone(source: Source) -> None:
    data = module(source)
    before = torch.get_rng_state()
    training_batches(data)
    list(data.evaluation_batches("test"))
    assert torch.equal(torch.get_rng_state(), before)


def test_images_on_disk_give_the_same_batches_as_in_memory(tmp_path: Path) -> None:
    pictures = str(save_pictures(tmp_path / "pictures"))
    resident = module(image_folder(pictures), order_seed=3)
    streamed = module(image_folder(pictures, memory_gib=0), order_seed=3, workers=2)
    for batches in (
        training_batches,
        ImbalancedDataModule.val_dataloader,
        ImbalancedDataModule.test_dataloader,
    ):
        pairs = list(zip(batches(resident), batches(streamed), strict=True))
        assert pairs
        for one, other in pairs:
            assert all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
            assert one[3:] == other[3:]


@pytest.mark.parametrize("per_class", [None, 7])
def test_images_that_are_scaled_once_are_those_scaled_in_each_batch(
    source: Source, per_class: int | None
) -> None:
    """Bit for bit, whether a batch is cut out in order or not."""
    normalise = Normalise([0.1], [0.2])
    stored, scaled = module(source), module(source, normalise=normalise)
    pairs = [
        pair
        for split in ("train", "val", "test")
        for pair in zip(
            stored.evaluation_batches(split, per_class),
            scaled.evaluation_batches(split, per_class),
            strict=True,
        )
    ]
    pairs += zip(training_batches(stored), training_batches(scaled), strict=True)
    for one, other in pairs:
        assert (one.images.dtype, other.images.dtype) == (torch.uint8, torch.float32)
        assert torch.equal(normalise(one.images), normalise(other.images))
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.rows, other.rows)
        assert one[3:] == other[3:]


def test_what_is_augmented_or_large_is_not_scaled_beforehand(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def types(data: ImbalancedDataModule) -> list[torch.dtype]:
        batches = training_batches(data)[0], next(iter(data.evaluation_batches("train")))
        return [batch.images.dtype for batch in batches]

    normalise = Normalise([0.1], [0.2])
    assert types(module(source, normalise=normalise)) == [torch.float32, torch.float32]
    augmented = module(source, normalise=normalise, augmented=True)
    assert types(augmented) == [torch.uint8, torch.float32]
    assert augmented.take("train", np.arange(3)).images.dtype == torch.uint8
    whole = (157 + 30 + 30) * 4 * 4 * 4  # bytes: samples of all splits, pixels, float32
    monkeypatch.setattr(datamodule, "SCALED_BYTES", whole)
    assert types(module(source, normalise=normalise)) == [torch.float32, torch.float32]
    monkeypatch.setattr(datamodule, "SCALED_BYTES", whole - 1)
    assert types(module(source, normalise=normalise)) == [torch.uint8, torch.uint8]


class Recorder(pl.LightningModule):
    """Trains nothing and keeps what it was shown, epoch by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.epochs: list[list[int]] = []

    def on_train_epoch_start(self) -> None:
        self.epochs.append([])

    def training_step(self, batch: list[Batch]) -> Tensor:
        self.epochs[-1] += places(batch)
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.weight], lr=0.1)


def test_lightning_shuffles_anew_each_epoch(source: Source, tmp_path: Path) -> None:
    data = module(source)
    recorder = Recorder()
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        limit_val_batches=0,
    )
    trainer.fit(recorder, train_dataloaders=data.train_dataloader())
    assert recorder.epochs == [order_at(data, epoch) for epoch in range(3)]


def test_a_bounded_evaluation_has_the_first_samples_of_each_class() -> None:
    source = mnist5k(str(Path(__file__).parents[2] / "data"))
    subset = draw_subset(
        source.train_labels,
        source.class_names,
        Profile("step", 100),
        data_seed=0,
        val_per_class=100,
    )
    data = ImbalancedDataModule(
        source, subset, batch_size=64, evaluation_batch_size=500, order_seed=0, workers=0
    )
    data.setup()
    for split, whole in (("train", subset.counts), ("test", np.full(10, 100))):
        batches = list(data.evaluation_batches(split, per_class=7))
        labels = torch.cat([batch.labels for batch in batches]).numpy()
        np.testing.assert_array_equal(np.bincount(labels), np.minimum(whole, 7))
        pixels = torch.cat([batch.images for batch in batches]).numpy()
        every = list(data.evaluation_batches(split))
        all_labels = torch.cat([batch.labels for batch in every]).numpy()
        all_pixels = torch.cat([batch.images for batch in every]).numpy()
        for label in range(10):
            first = all_pixels[all_labels == label][:7]
            np.testing.assert_array_equal(pixels[labels == label], first)
