"""One run on each device, among real processes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from skewlab.config.schema import checked
from skewlab.training.devices import THREADS, ClaimedDevice, prepare

CLAIM = """
import sys, time
from pathlib import Path
from skewlab.training.devices import ClaimedDevice
with ClaimedDevice(["a", "b"], Path(sys.argv[1])) as place:
    print(place, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_the_device_with_the_fewest_runs_is_claimed(tmp_path: Path) -> None:
    processes = []
    places = []
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout
        places.append(int(process.stdout.readline()))
    assert places == [0, 1, 0], "both first, then the first of them a second time"
    with ClaimedDevice(["a", "b"], tmp_path) as place:
        assert place == 1
    processes[1].kill()  # gives its claim back by dying
    processes[1].wait()
    with ClaimedDevice(["a", "b"], tmp_path) as place:
        assert place == 1
    for process in processes:
        process.kill()
        process.wait()


def test_an_interrupted_run_keeps_its_number_of_threads(
    composed: Callable[..., dict[str, Any]],
) -> None:
    free, two = (
        checked(composed("trainer=cpu", f"training.threads={threads}")) for threads in ("null", 2)
    )
    used = [
        prepare(config, before)["threads"]
        for config, before in (
            (free, None),
            (two, 1),  # what is asked for counts
            (free, 1),
            (free, 10**6),  # of a larger machine
        )
    ]
    assert used == [THREADS, 2, 1, THREADS]
    assert torch.get_num_threads() == THREADS
