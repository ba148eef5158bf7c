import dataclasses
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from helpers import refused, save_pictures, training_batches
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader

from skewlab.data.batches import Batch, EveryRowOnce, Rows, TrainingBatches, TrainingLoader
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.data.plan import describe
from skewlab.data.profiles import Profile
from skewlab.data.sources import Source, image_folder, mnist5k
from skewlab.data.subsets import draw_subset
from skewlab.data.transforms import CropAndFlip

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
    **options: Any,
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
        order_seed=order_seed,
        workers=workers,
        **{"batch_size": BATCH, "evaluation_batch_size": EVALUATION_BATCH, **options},
    )
    made.setup()
    return made


def places(batches: Iterable[Batch]) -> list[int]:
    """The samples' places in the pool, read from their pixels."""
    pixels = torch.cat([batch.images for batch in batches]).int()
    return (pixels[:, 0, 0, 0] + 256 * pixels[:, 0, 1, 0]).tolist()


def begin(loader: DataLoader[Batch], epoch: int) -> None:
    """What Lightning does before each epoch."""
    batch_sampler: Any = loader.batch_sampler
    batch_sampler.sampler.set_epoch(epoch)


def order_at(data: ImbalancedDataModule, epoch: int) -> list[int]:
    loader = data.train_dataloader()
    begin(loader, epoch)
    return places(loader)


def test_an_epoch_holds_each_sample_of_the_subset_once(source: Source) -> None:
    data = module(source)
    batches = training_batches(data)
    assert sorted(places(batches)) == sorted(data.subset.train)
    assert len(batches) == data.batches_per_epoch == len(data.train_dataloader())
    samples = len(data.subset.train)
    assert samples % BATCH  # the last batch is smaller, and there
    assert [len(batch.labels) for batch in batches] == [
        *[BATCH] * (samples // BATCH),
        samples % BATCH,
    ]


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


def loader_of(batches: int, repeated: bool = False) -> TrainingLoader:
    """Batches of 3 of samples whose labels are their numbers; the last batch has one sample."""
    count = 3 * batches - 2
    rows = Rows(
        torch.zeros(count, 1, 1, 1, dtype=torch.uint8), torch.arange(count), np.arange(count)
    )
    return TrainingLoader(rows, TrainingBatches(EveryRowOnce(count), 3, 0, repeated=repeated))


def labels_of(batches: Iterable[Batch]) -> list[tuple[int, list[int]]]:
    """Each batch's number and labels."""
    return [(batch.number, batch.labels.tolist()) for batch in batches]


@given(batches=st.integers(1, 30), epoch=st.integers(0, 5), data=st.data())
def test_a_loader_goes_on_at_any_batch(batches: int, epoch: int, data: st.DataObject) -> None:
    """With the rest of the epoch and no more, and then with the next epoch as a whole."""
    done = data.draw(st.integers(0, batches))
    whole, interrupted, resumed = (loader_of(batches) for _ in range(3))
    expected = []
    for each in (epoch, epoch + 1):
        begin(whole, each)
        expected += labels_of(whole)
    assert [number for number, _ in expected] == list(
        range(epoch * batches, (epoch + 2) * batches)
    ), "batches are numbered through the whole training"
    begin(interrupted, epoch)
    seen = labels_of(itertools.islice(interrupted, done))
    resumed.load_state_dict(interrupted.state_dict())
    begin(resumed, epoch)
    seen += labels_of(resumed)
    assert seen == expected[:batches]
    begin(resumed, epoch + 1)
    assert len(resumed) == batches
    assert seen + labels_of(resumed) == expected


def test_an_epoch_that_is_gone_through_again_is_whole() -> None:
    loader = loader_of(7)
    first, again = labels_of(loader), labels_of(loader)
    assert len(again) == 7
    assert again == first


def test_an_epoch_that_is_given_up_does_not_shorten_the_next_one() -> None:
    """As with `trainer.limit_train_batches`."""
    loader, whole = loader_of(7), loader_of(7)
    for epoch in range(3):
        begin(loader, epoch)
        begin(whole, epoch)
        assert labels_of(itertools.islice(loader, 4)) == labels_of(whole)[:4]


def test_an_image_that_a_worker_cannot_read_is_one_line(tmp_path: Path) -> None:
    pictures = save_pictures(tmp_path / "pictures")
    data = module(image_folder(str(pictures), memory_gib=0), val_per_class=2, workers=2)
    for damaged in (pictures / "train" / "dog").iterdir():
        damaged.write_bytes(damaged.read_bytes()[:60])
    assert f"data_dir: {pictures / 'train' / 'dog'}" in refused(lambda: training_batches(data))


@pytest.mark.parametrize(
    "done", [pytest.param(0, marks=pytest.mark.slow), 5, pytest.param(11, marks=pytest.mark.slow)]
)
def test_workers_read_ahead_and_nothing_is_lost(tmp_path: Path, done: int) -> None:
    """11 batches from disk by two workers: what they have read but not handed out comes again."""
    source = image_folder(str(save_pictures(tmp_path / "pictures")), memory_gib=0)

    def made() -> DataLoader[Batch]:
        data = module(source, val_per_class=2, workers=2, batch_size=2)
        assert data.batches_per_epoch == 11
        return data.train_dataloader()

    whole, interrupted, resumed = made(), made(), made()
    for loader in (whole, interrupted, resumed):
        assert isinstance(loader, TrainingLoader)
        assert loader.num_workers == 2
    begin(whole, 1)
    expected = list(whole)
    begin(interrupted, 1)
    seen = list(itertools.islice(interrupted, done))
    resumed.load_state_dict(interrupted.state_dict())
    begin(resumed, 1)
    seen += resumed
    assert len(seen) == 11
    for one, other in zip(seen, expected, strict=True):
        assert one.number == other.number
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.rows, other.rows)


def test_overfit_batches_repeat_and_are_augmented_anew() -> None:
    """An epoch has the samples of the first one, under numbers of its own."""
    loader, first = loader_of(5, repeated=True), labels_of(loader_of(5))
    for epoch in range(3):
        begin(loader, epoch)
        found = labels_of(loader)
        assert [labels for _, labels in found] == [labels for _, labels in first]
        assert [number for number, _ in found] == [5 * epoch + place for place in range(5)]


class Recorder(pl.LightningModule):
    """Trains nothing and keeps what it was shown, epoch by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.epochs: list[list[Batch]] = []
        self.validated: list[Batch] = []

    def on_train_epoch_start(self) -> None:
        self.epochs.append([])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.epochs[-1].append(batch)
        return self.weight.sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.validated.append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.weight], lr=0.1)


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., pl.Trainer]:
    """Lightning's own, which says and writes nothing."""

    def made(**options: Any) -> pl.Trainer:
        return pl.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            **{"max_epochs": 3, "num_sanity_val_steps": 0, **options},
        )

    return made


def test_lightning_shuffles_anew_each_epoch(
    source: Source, trainer: Callable[..., pl.Trainer]
) -> None:
    recorder = Recorder()
    data = module(source)
    trainer(limit_val_batches=0).fit(recorder, train_dataloaders=data.train_dataloader())
    assert [places(epoch) for epoch in recorder.epochs] == [order_at(data, e) for e in range(3)]


def test_lightning_overfits_the_same_batches(
    source: Source, trainer: Callable[..., pl.Trainer]
) -> None:
    recorder = Recorder()
    trainer(overfit_batches=2, limit_val_batches=0).fit(recorder, datamodule=module(source))
    first = order_at(module(source), 0)[: 2 * BATCH]
    assert [places(epoch) for epoch in recorder.epochs] == [first] * 3


class SaveAfter(pl.Callback):
    """Writes a checkpoint after one batch of the second epoch."""

    def __init__(self, batch: int, path: Path) -> None:
        self.batch, self.path = batch, path

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, o: Any, b: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (1, self.batch):
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("batch", [0, 4, 9])  # the first, one in the middle, the last
def test_lightning_goes_on_within_an_epoch(
    source: Source, tmp_path: Path, trainer: Callable[..., pl.Trainer], batch: int
) -> None:
    whole, resumed, path = Recorder(), Recorder(), tmp_path / "one.ckpt"
    trainer(callbacks=[SaveAfter(batch, path)]).fit(whole, datamodule=module(source))
    resumed.epochs.append([])  # Lightning tells nobody of an epoch that goes on
    trainer().fit(resumed, datamodule=module(source), ckpt_path=path)
    expected = [shown for epoch in whole.epochs[1:] for shown in epoch][batch + 1 :]
    found = [shown for epoch in resumed.epochs for shown in epoch]
    assert [shown.number for shown in found] == list(range(10 + batch + 1, 30))
    assert places(found) == places(expected)


def test_training_images_alone_are_augmented(
    source: Source, trainer: Callable[..., pl.Trainer]
) -> None:
    """By the batch's number; what is evaluated is as it is stored."""
    recorder, data = Recorder(), module(source, order_seed=4, crop=1, flip=True)
    trainer(max_epochs=2).fit(recorder, datamodule=data)
    stored = module(source, order_seed=4)
    augment, changed = CropAndFlip(1, True, 4), 0
    for epoch, shown in enumerate(recorder.epochs):
        loader = stored.train_dataloader()
        begin(loader, epoch)
        for one, other in zip(shown, loader, strict=True):
            assert torch.equal(one.images, augment(other.images, other.number))
            changed += int(not torch.equal(one.images, other.images))
    assert changed == 20
    assert places(recorder.validated) == 2 * stored.subset.val.tolist()
    assert places(data.evaluation_batches("train")) == stored.subset.train.tolist()


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


def test_a_smaller_last_batch_can_be_left_out(source: Source) -> None:
    whole, dropped = module(source), module(source, drop_last=True)
    rows = len(whole.subset.train)
    assert rows % BATCH
    batches = [training_batches(one) for one in (whole, dropped)]
    assert [len(some) for some in batches] == [rows // BATCH + 1, rows // BATCH]
    assert dropped.batches_per_epoch == rows // BATCH
    assert all(len(batch.labels) == BATCH for batch in batches[1])
    for one, other in zip(*batches, strict=False):
        assert one.rows.tolist() == other.rows.tolist()
        assert one.number == other.number


def test_val_of_the_data_itself(source: Source) -> None:
    """Its own images and labels, all of them, and training keeps the whole pool."""
    own = 255 - source.test_images[:7]  # type: ignore[index, operator]
    labels = np.array([0, 1, 1, 0, 1, 0, 1])
    with_val = dataclasses.replace(source, val_images=own, val_labels=labels)
    subset = draw_subset(
        source.train_labels, source.class_names, Profile("natural"), data_seed=0, own_val=7
    )
    data = ImbalancedDataModule(with_val, subset, batch_size=BATCH, evaluation_batch_size=3)
    data.setup()
    assert data.splits == ("train", "val", "test")
    assert len(data.labels("train")) == 300
    assert data.labels("val").tolist() == labels.tolist()
    batches = list(data.evaluation_batches("val"))
    assert np.array_equal(torch.cat([batch.images for batch in batches]).numpy(), own)
    assert torch.cat([batch.labels for batch in batches]).tolist() == labels.tolist()
    assert with_val.fingerprint != source.fingerprint
    assert describe(with_val, subset)["val_counts"] == [3, 4, 0]
