"""TensorBoard holds the same numbers, read back from its own files."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from logged_rows import check_rows
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

from skewlab.loggers.lifetime import retell


def events_of(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return events


def rows_of(events: EventAccumulator) -> list[dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            rows.setdefault(event.step, {"_step": event.step})[name] = event.value
    return [rows[step] for step in sorted(rows)]


def test_tensorboard_holds_the_curves(told: Callable[..., Any]) -> None:
    run = told("logger=tensorboard")
    for _ in range(2):  # told again, it holds the run once
        retell(run.config, run.folder)
    events = events_of(run.path)
    check_rows(rows_of(events), run.path, relative=1e-6)  # it keeps single precision
    assert set(events.Tags()["images"]) == {"result/curves", "result/confusion", "result/samples"}
    table = events.Tensors("result/classes/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| 5 | 3 | minority |" in table
    hparams = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"mnist5k" in hparams
    assert b"ratio" in hparams


def test_its_charts_are_of_curves_that_are_there(told: Callable[..., Any]) -> None:
    """Those of the probes that were on, and of no other."""
    run = told("logger=tensorboard")
    retell(run.config, run.folder)
    events = events_of(run.path)
    (config,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(config.tensor_proto.string_val[0])
    titles = [category.title for category in layout.category]
    assert titles == [
        *("minority and majority", "gaps", "rankings", "gradients", "calibration", "samples")
    ]
    curves = events.Tags()["scalars"]
    for chart in (chart for category in layout.category for chart in category.chart):
        for pattern in chart.multiline.tag:
            assert any(re.search(pattern, name) for name in curves), chart.title
