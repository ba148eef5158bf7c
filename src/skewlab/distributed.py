"""One run on several processes: `trainer=ddp` under torchrun or srun.

A global batch is cut into one share for each process, so that a run on any number of them sees the
same batches. `data.batches.TrainingBatches` has the shares, `training.module` their weights.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Variables that a starter of processes sets for each: its place, of how many, how many a host.
STARTERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),  # torchrun
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"),  # srun
)


@dataclass(frozen=True)
class Processes:
    """The processes that train one run together.

    Attributes:
        rank: this one's place, from 0.
        count: how many they are.
        per_host: how many of them run on one host.
        by_torchrun: whether torchrun has started them, and not srun.
    """

    rank: int = 0
    count: int = 1
    per_host: int = 1
    by_torchrun: bool = False

    @property
    def hosts(self) -> int:
        """On how many hosts they run."""
        return self.count // self.per_host

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks for all."""
        return self.rank == 0

    def any(self, here: bool) -> bool:
        """Whether it is so in any of them."""
        return self.largest(int(here)) > 0

    def largest(self, here: int) -> int:
        """The largest of all processes' numbers."""
        if self.count == 1:
            return here
        import torch
        import torch.distributed

        number = torch.tensor(here)
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
        return int(number)

    def decided_by_first(self, decide: Callable[[], Any]) -> Any:
        """What the first one decides, in all of them."""
        if self.count == 1:
            return decide()
        import torch.distributed

        decision = [decide() if self.first else None]
        torch.distributed.broadcast_object_list(decision, src=0)
        return decision[0]

    def gathered_by_first(self, here: Any) -> list[Any]:
        """What each of them has, by rank, in the first one; nothing in the others."""
        if self.count == 1:
            return [here]
        import torch.distributed

        gathered = [None] * self.count if self.first else None
        torch.distributed.gather_object(here, gathered, dst=0)
        return gathered or []


ALONE = Processes()


def started() -> Processes | None:
    """What torchrun or srun says of this process; None if neither started several."""
    for rank, count, per_host in STARTERS:
        if int(os.environ.get(count, 1)) > 1 and rank in os.environ:
            number = int(os.environ[count])
            hosts = int(os.environ.get("SLURM_NNODES", 1)) if rank == "SLURM_PROCID" else 1
            local = int(os.environ.get(per_host, number // hosts))
            return Processes(int(os.environ[rank]), number, local, rank == "RANK")
    return None


def join(accelerator: str) -> Processes:
    """Meet the other processes; they stay connected for all runs of a sweep.

    Args:
        accelerator: cpu or gpu.

    Returns:
        The processes, of which there may be one.
    """
    processes = started() or ALONE
    if processes.count > 1:
        import torch.distributed
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy

        if not torch.distributed.is_initialized():
            logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
            logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
            # Gloo too, for the small numbers that are agreed on: they need not wait for a GPU.
            backend = "cpu:gloo,cuda:nccl" if accelerator == "gpu" else "gloo"
            Fabric(
                accelerator=accelerator,
                devices=processes.per_host,
                num_nodes=processes.hosts,
                strategy=DDPStrategy(process_group_backend=backend),
                plugins=environments(processes),
            ).launch()
    return processes


def environments(processes: Processes) -> list[Any]:
    """What Lightning is told of who has started the processes, where it would guess otherwise."""
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    # Our own handlers stop a run, and its launcher queues it again.
    return [] if processes.by_torchrun else [SLURMEnvironment(auto_requeue=False)]
