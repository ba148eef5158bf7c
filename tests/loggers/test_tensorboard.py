"""TensorBoard holds the same numbers, read back from its own files."""

from collections.abc import Callable
from typing import Any

from logged_rows import check_rows
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from skewlab.loggers.lifetime import retell


def test_tensorboard_holds_the_curves(told: Callable[..., Any]) -> None:
    run = told("logger=tensorboard")
    for _ in range(2):  # told again, it holds the run once
        retell(run.settings, run.folder)
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    rows: dict[int, dict[str, Any]] = {}
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            rows.setdefault(event.step, {"_step": event.step})[name] = event.value
    check_rows(rows.values(), run.path, relative=1e-6)  # it keeps single precision
    assert set(events.Tags()["images"]) == {"result/curves", "result/confusion"}
    table = events.Tensors("result/classes/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| 5 | 3 | minority |" in table
    hparams = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"mnist5k" in hparams
    assert b"ratio" in hparams
