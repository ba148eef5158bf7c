"""Every sample's history by hand, against a naive loop, and across an interruption."""

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from probe_cases import END_OF_EPOCH, LINEAR, classifier_of, data_of, facts, outputs, softmax

from skewlab.probes.samples import History, Samples, notable

# Five evaluations of four samples: learned at 2 and kept; learned, forgotten twice; never; at once.
CORRECT = np.array([[0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1], [1, 1, 0, 1], [1, 0, 0, 1]], bool)
PROBABILITY = np.array(
    [[0.1, 0.9, 0.0, 1], [0.6, 0.2, 0.1, 1], [0.7, 0.8, 0.2, 1], [0.8, 0.8, 0.1, 1], [0.9, 0, 0, 1]]
)


def seen(correct: np.ndarray[Any, Any], probability: np.ndarray[Any, Any]) -> History:
    history = History(correct.shape[1])
    for epoch, (right, sure) in enumerate(zip(correct, probability, strict=True), start=1):
        history.see(float(epoch), right, sure)
    return history


def test_a_history_by_hand() -> None:
    history = seen(CORRECT, PROBABILITY)
    assert history.forgetting.tolist() == [0, 2, 0, 0]
    np.testing.assert_array_equal(history.first_learned, [2, 1, np.nan, 1])
    np.testing.assert_allclose(history.confidence, [0.62, 0.54, 0.08, 1])
    np.testing.assert_allclose(history.variability, PROBABILITY.std(0), atol=1e-12)
    np.testing.assert_allclose(history.correctness, [0.8, 0.6, 0, 1])
    assert history.evaluations == 5


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 9))
def test_any_history_is_that_of_a_naive_loop(seed: int, evaluations: int, samples: int) -> None:
    random = np.random.default_rng(seed)
    correct = random.random((evaluations, samples)) < random.random()
    probability = random.random((evaluations, samples))
    history = seen(correct, probability)
    for sample in range(samples):
        of_sample = correct[:, sample].tolist()
        events = sum(a and not b for a, b in itertools.pairwise(of_sample))
        assert history.forgetting[sample] == events
        first = of_sample.index(True) + 1 if any(of_sample) else np.nan
        np.testing.assert_equal(history.first_learned[sample], first)
    np.testing.assert_allclose(history.confidence, probability.mean(0))
    np.testing.assert_allclose(history.variability, probability.std(0), atol=1e-12)
    np.testing.assert_allclose(history.correctness, correct.mean(0))


def test_nothing_cancels_where_the_probability_hardly_moves() -> None:
    """The difference of two sums would be rounding, or the root of something below 0."""
    probability = 1 - np.array([[1.0], [2.0], [4.0]]) * 1e-9
    history = seen(np.ones((3, 1), bool), probability)
    np.testing.assert_allclose(history.variability, np.std([1e-9, 2e-9, 4e-9]), rtol=1e-6)


@given(st.integers(0, 10_000), st.integers(0, 6))
def test_an_interruption_is_not_seen(seed: int, cut: int) -> None:
    """Through a checkpoint as it is written and read, and exactly."""
    random = np.random.default_rng(seed)
    correct, probability = random.random((6, 5)) < 0.5, random.random((6, 5))
    whole, begun = seen(correct, probability), seen(correct[:cut], probability[:cut])
    buffer = io.BytesIO()
    torch.save(begun.state_dict(), buffer)
    buffer.seek(0)
    resumed = History(5)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    for epoch in range(cut, 6):
        resumed.see(epoch + 1.0, correct[epoch], probability[epoch])
    for name in ("forgetting", "first_learned", "confidence", "variability", "correctness"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))
    assert resumed.evaluations == whole.evaluations


def test_a_state_is_not_changed_by_what_comes_after() -> None:
    history = seen(CORRECT[:2], PROBABILITY[:2])
    state = history.state_dict()
    history.see(3.0, CORRECT[2], PROBABILITY[2])
    assert state["evaluations"] == 2
    np.testing.assert_allclose(state["_mean"].numpy(), PROBABILITY[:2].mean(0))


def test_the_most_notable_first() -> None:
    """Of the minority, here all but the last sample."""
    history = seen(CORRECT, PROBABILITY)
    forgotten, hardest = notable(history, np.array([True, True, True, False]))
    assert forgotten.tolist() == [1], "those that were never learned are not forgotten"
    assert hardest.tolist() == [2, 1, 0]
    history.forgetting[:] = [3, 2, 3, 9]
    forgotten, _ = notable(history, np.array([True, True, True, False]))
    assert forgotten.tolist() == [2, 0, 1], "of equals the one with the lower confidence"
    many = History(50)
    many.forgetting[:] = 1
    assert [len(rows) for rows in notable(many, np.ones(50, bool))] == [12, 12]


def test_a_line_is_the_means_over_classes_and_the_end_writes_all(tmp_path: Path) -> None:
    counts = (4, 2)
    module, data = classifier_of(counts, LINEAR), data_of(counts)
    labels = data.labels("train")
    random = np.random.default_rng(0)
    logits = random.normal(size=(3, 6, 2)).astype(np.float32)
    lines, state = [], Samples(facts(counts)).state_dict()
    for epoch in range(3):  # each time in a run that goes on
        probe = Samples(facts(counts, tmp_path))
        probe.load_state_dict(state)
        at, seen_there = (
            END_OF_EPOCH._replace(epoch=epoch + 1.0),
            outputs(labels, None, logits[epoch]),
        )
        lines.append(probe.measure(at, {"train": seen_there}, module))
        state = probe.state_dict()
    right = logits.argmax(2) == labels
    true = np.stack([softmax(of.astype(float))[np.arange(6), labels] for of in logits])
    events = (right[:-1] & ~right[1:]).sum(0)
    expected = {
        "forgetting": events,
        "ever_learned": right.any(0),
        "confidence": true.mean(0),
        "variability": true.std(0),
        "correctness": right.mean(0),
    }
    line = lines[-1]
    assert line is not None
    assert line.keys() == expected.keys()
    for name, values in expected.items():
        by_class = [values[:4].mean(), values[4:].mean()]
        np.testing.assert_allclose(line[name], by_class, rtol=1e-6, err_msg=name)
    probe.end(data)
    with np.load(tmp_path / "samples.npz") as file:
        np.testing.assert_array_equal(file["index"], data.subset.train)
        np.testing.assert_array_equal(file["label"], labels)
        np.testing.assert_array_equal(file["forgetting"], events)
        np.testing.assert_allclose(file["confidence"], true.mean(0), rtol=1e-6)
        learned = np.where(right.any(0), right.argmax(0) + 1.0, np.nan)
        np.testing.assert_array_equal(file["first_learned"], learned)
    assert (tmp_path / "samples.png").stat().st_size > 1000


@pytest.mark.parametrize("whole", [True, False])
def test_only_whole_evaluations_count(whole: bool) -> None:
    wanted = Samples(facts((4, 2))).wants(END_OF_EPOCH._replace(whole=whole))
    assert wanted == (("train",) if whole else ())
