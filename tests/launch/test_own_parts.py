"""Mistakes in parts of one's own are one line, before the first job."""

from collections.abc import Callable
from typing import Any

import pytest

from skewlab.errors import ConfigError
from skewlab.launch.checks import check_jobs

Composed = Callable[..., dict[str, Any]]
SMALL = ("model=mlp", "imbalance.n_max=30", "data.val_per_class=20", "ratio=10", "logger=none")
LOSS = "method.loss._target_=own_parts."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [f"{LOSS}without_return"],
            "method.loss: must give one number, a tensor of shape [], not None",
        ),
        (
            [f"{LOSS}of_each_sample"],
            "method.loss: must give one number, a tensor of shape [], not shape [10]",
        ),
        ([f"{LOSS}as_a_float"], "method.loss: must give one number, a tensor of shape [], not "),
        ([f"{LOSS}detached"], "method.loss: has no gradient for the logits"),
        ([f"{LOSS}of_three_arguments"], "method.loss: fails on logits and labels: "),
        (
            ["+method.sampler._target_=own_parts.ListOfRows"],
            "method.sampler: must give rows as a tensor, int64 of shape [rows], not a list",
        ),
        (
            ["+method.sampler._target_=own_parts.TooFewRows"],
            "method.sampler: has the length 165 and gave 164 rows",
        ),
        (
            ["+method.sampler._target_=own_parts.RowsBeyond"],
            "method.sampler: gave rows 1 to 165, must be of the training set's 165",
        ),
        (["+method.sampler._target_=own_parts.NoRows"], "method.sampler: has the length 0"),
        (
            ["+method.sampler._target_=own_parts.weighted"],
            "method.sampler: must have a length, and be called with (epoch, max_epochs, generator)",
        ),
        (
            ["model._target_=own_parts.Pair", "+model.always=true", "~model.hidden"],
            "model=mlp: gives a tuple for 2 samples in eval mode; must give logits",
        ),
        (
            ["model._target_=own_parts.Pair", "+model.always=false", "~model.hidden"],
            "model=mlp: gives a tuple for 2 samples in training mode; must give logits",
        ),
        (
            ["data.source._target_=own_parts.missing_file", "~data.source.data_dir"],
            "data.source._target_=own_parts.missing_file: FileNotFoundError: somewhere/images.bin",
        ),
    ],
)
def test_a_mistake(composed: Composed, words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_jobs([composed(*SMALL, *words)])
    (line,) = str(raised.value).splitlines()
    assert line.startswith(said)


def test_what_is_right_passes(composed: Composed) -> None:
    right = (f"{LOSS}right_loss", "+method.sampler._target_=own_parts.Rows")
    check_jobs([composed(*SMALL, *right)])
