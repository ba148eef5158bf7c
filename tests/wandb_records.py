"""Reads what W&B wrote to disk, record by record: LevelDB's log format around protobuf."""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as protocol

BLOCK = 32768
HEADER = 7


def records(path: Path) -> Iterator[Any]:
    """Every whole record of a `.wandb` file."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    position, part = HEADER, b""
    while position + HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + HEADER])
        chunk = data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        if len(chunk) < length or (kind == 0 and length == 0):
            return
        part += chunk
        if kind in (1, 4):  # whole, or the last part of one
            record = protocol.Record()
            record.ParseFromString(part)
            yield record
            part = b""


def _key(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


@dataclass
class StreamedRun:
    """One run as W&B would show it."""

    run_id: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    group: str = ""
    name: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    step_metric: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None


def read_run(folder: Path) -> StreamedRun:
    """The one offline run below a run's folder, which has ended: its last record is on disk some
    moments after W&B says so."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    end = time.monotonic() + 20
    while (run := _read(path)).exit_code is None and time.monotonic() < end:
        time.sleep(0.1)
    return run


def _read(path: Path) -> StreamedRun:
    run = StreamedRun()
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.run_id = record.run.run_id
            run.group, run.name = record.run.run_group, record.run.display_name
            run.job_type, run.tags = record.run.job_type, list(record.run.tags)
            run.config |= {_key(i): json.loads(i.value_json) for i in record.run.config.update}
        elif kind == "history":
            row = {_key(item): json.loads(item.value_json) for item in record.history.item}
            run.history.append(row)
        elif kind == "summary":
            run.summary |= {_key(i): json.loads(i.value_json) for i in record.summary.update}
        elif kind == "metric":
            name = record.metric.glob_name or record.metric.name
            run.step_metric[name] = record.metric.step_metric
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run
