"""Which device a run trains on, and with how many threads."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from skewlab.config.schema import RunConfig

# As many as PyTorch takes by itself, or as a launcher has left to this process.
THREADS = torch.get_num_threads()


def accelerator(config: RunConfig) -> str:
    """`auto` is CUDA where there is one, else the CPU (Apple's devices have no float64)."""
    if config.trainer.accelerator == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    return "cpu" if config.trainer.accelerator == "cpu" else "gpu"


def prepare(config: RunConfig, before: int | None = None) -> dict[str, str | int]:
    """Set what PyTorch keeps for the whole process, the number of threads above all, and say what
    of the machine a result's last digits depend on.

    Args:
        config: the run.
        before: the number that an interrupted run began with; kept where the machine has so many
            cores, so that its curves are bit for bit those of one that was not interrupted.
    """
    wanted = config.training.threads
    if wanted is None and before is not None and before <= (os.cpu_count() or 1):
        wanted = before
    torch.set_num_threads(wanted or THREADS)
    # Where algorithms must be deterministic, PyTorch fills all new memory with NaN as well, which
    # shows operations that read it too early, and takes up to a sixth of a small network's time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if accelerator(config) == "gpu":
        return {"device": torch.cuda.get_device_name()}
    return {"device": "cpu", "threads": torch.get_num_threads()}


class ClaimedDevice:
    """The device with the fewest runs on it, held for as long as a `with` block lasts.

    Every run on the machine claims one, whichever sweep it is of; a process that dies gives its
    claim back.

    Args:
        names: one for each device, the same in all processes.
        folder: where claims lie.
    """

    def __init__(self, names: Sequence[str], folder: Path | None = None) -> None:
        self._names = names
        user = os.getuid() if hasattr(os, "getuid") else 0
        self._folder = folder or Path(tempfile.gettempdir()) / f"skewlab-devices-{user}"
        self._claim: FileLock | None = None

    def __enter__(self) -> int:
        """The device's place in `names`."""
        self._folder.mkdir(exist_ok=True)
        turn = 0
        while True:
            for place, name in enumerate(self._names):
                claim = FileLock(self._folder / f"{name}.{turn}")
                try:
                    claim.acquire(timeout=0)
                except Timeout:
                    continue
                self._claim = claim
                return place
            turn += 1

    def __exit__(self, *exception: object) -> None:
        if self._claim:
            self._claim.release()


def claimed_gpu() -> ClaimedDevice:
    """A claim on one of this machine's GPUs."""
    count = torch.cuda.device_count()
    return ClaimedDevice(
        [str(torch.cuda.get_device_properties(device).uuid) for device in range(count)]
    )
