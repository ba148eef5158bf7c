"""The class that the trained network predicts for each test sample.

All runs of a study share the test sample. With these the report knows how much of a difference is
due to it.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.errors import Damaged
from skewlab.runs import json_file
from skewlab.runs.reading import read_arrays

NAME = "predictions.npz"


def write_predictions(folder: Path, predicted: NDArray[Any], label: NDArray[Any]) -> None:
    """Write a run's `predictions.npz`.

    Args:
        folder: the run's.
        predicted, label: the predicted and the true class of each test sample, shape [samples].
    """
    small = np.uint8 if max(predicted.max(), label.max()) < 2**8 else np.uint16
    content = io.BytesIO()
    np.savez_compressed(content, predicted=predicted.astype(small), label=label.astype(small))
    json_file.write_bytes(folder / NAME, content.getvalue())


def read_predictions(folder: Path, classes: int) -> dict[str, NDArray[np.int64]]:
    """A run's `predictions.npz`: the `predicted` class of each test sample and its `label`, shape
    [samples]; empty where there is none."""
    path = folder / NAME
    if not path.exists():
        return {}
    arrays = read_arrays(path)
    if set(arrays) != {"predicted", "label"}:
        raise Damaged(path, "must hold predicted and label")
    predicted, label = arrays["predicted"], arrays["label"]
    for name, array in arrays.items():
        if array.ndim != 1 or array.dtype.kind != "u" or (array >= classes).any():
            raise Damaged(path, f"{name} must be one class of {classes} for each sample")
    if len(predicted) != len(label):
        raise Damaged(path, "has more predictions than labels, or fewer")
    return {name: array.astype(np.int64) for name, array in arrays.items()}
