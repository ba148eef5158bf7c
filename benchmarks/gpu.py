"""What a sweep costs on a GPU, and how to fill one: python benchmarks/gpu.py

In at most --minutes on one card: milliseconds of a training step and seconds of an epoch, of a bare
loop, plain Lightning, a template as popular ones are written, and skewlab: eager, as CUDA graphs,
and in bfloat16; of both passes of ResNet-32 with other kernels; the share of the card that they
use; whether curves are the same twice, after SIGKILL, and with graphs; and updates of all
runs together with 1 to 16 at a time on the card.
Images are made up. Each line is written to gpu.csv in --out at once, and the figure at the end.

The same code in about four minutes on two CPU cores, to see that it works:

    python benchmarks/gpu.py --small
"""

import argparse
import csv
import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from loops import Task, cosine, evaluate
from plain_lightning import plain_lightning
from run import composed, machine, quiet
from templates import template
from torch import Tensor

from skewlab.data.sources import Source
from skewlab.preemption import StopRequest
from skewlab.runs.folder import DONE, RunFolder
from skewlab.runs.identity import run_path
from skewlab.training import memory
from skewlab.training.cuda_graphs import record
from skewlab.training.devices import claimed_gpu, prepare
from skewlab.training.run import train

HERE = Path(__file__).parent
ROOT = HERE.parent
# Height and width, channels and batch size of each network.
NETWORKS = {"resnet32": (32, 3, 128), "small_cnn": (28, 1, 64)}
# Updates of a run as the long-tail table has them: 200 epochs of 12,406 samples, 128 at a time.
UPDATES_OF_A_RUN = 200 * 97
SKIPPED = 5  # steps at an epoch's start that are not timed
FIELDS = ("what", "network", "way", "value", "unit")


def made_up(samples: int, side: int, channels: int) -> Source:
    """Images of ten classes: noise around a mean of each. A `data.source._target_`."""
    random = np.random.default_rng(0)

    def images(count: int) -> tuple[Any, Any]:
        labels = np.arange(count) % 10
        noise = random.integers(0, 120, (count, side, side, channels), dtype=np.uint8)
        return noise + (12 * labels).astype(np.uint8)[:, None, None, None], labels

    test = images(1000 if samples > 1000 else 100)
    return Source(tuple(map(str, range(10))), *images(samples), *test)


class Steps(pl.Callback):
    """Times training steps, epoch by epoch, from outside: `on_train_batch_start` of one of the
    first to `on_train_batch_end` of the last. And writes when how many updates were done.

    Attributes:
        milliseconds: of a step, one number an epoch.
    """

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self._began, self._done = 0.0, [(0.0, 0)]

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == min(SKIPPED, trainer.num_training_batches - 1):
            self._began = now()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx + 1 == trainer.num_training_batches:
            steps = max(1, batch_idx + 1 - SKIPPED)
            self.milliseconds.append(1000 * (now() - self._began) / steps)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._done.append((time.time(), trainer.global_step))
        folder = Path(trainer.default_root_dir)
        if "GPU_STEPS" in os.environ:
            (folder / "steps.json").write_text(json.dumps(self._done[1:]))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        timed.extend(self.milliseconds[1:] or self.milliseconds)  # the first epoch warms up
        recorded.append(getattr(pl_module, "graphed", None) is not None)


# What `Steps` has timed in this process, and whether CUDA graphs were recorded.
timed: list[float] = []
recorded: list[bool] = []


def now() -> float:
    """The time when everything asked of the device so far is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Results:
    """The lines measured so far; each is on the disk at once.

    Args:
        out: a folder.
        minutes: after which nothing new is begun.
    """

    def __init__(self, out: Path, minutes: float) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self._end = out, time.monotonic() + 60 * minutes
        self.lines: list[dict[str, Any]] = []

    def add(self, what: str, network: str, way: str, value: float | str, unit: str) -> None:
        value = f"{value:.4g}" if isinstance(value, float) else value
        self.lines.append(dict(zip(FIELDS, (what, network, way, value, unit), strict=True)))
        with (self.out / "gpu.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(self.lines)
        print(f"{what:28} {network:10} {way:34} {value} {unit}", flush=True)

    def number(self, what: str, network: str, way: str) -> float | None:
        keys = {"what": what, "network": network, "way": way}
        for line in self.lines:
            if keys.items() <= line.items():
                return float(line["value"])
        return None

    def time_for(self, seconds: float) -> bool:
        """Whether something that takes so long may still begin."""
        return time.monotonic() + seconds < self._end


def overrides(network: str, samples: int, epochs: int) -> list[str]:
    side, channels, batch = NETWORKS[network]
    return [
        # A data set whose source has no keys of its own, which stay when it is replaced.
        *("data=breast_cancer", "data.source._target_=gpu.made_up"),
        *(f"+data.source.samples={samples}", f"+data.source.side={side}"),
        *(f"+data.source.channels={channels}", "data.val_per_class=5", f"model={network}"),
        *(f"data.batch_size={batch}", "ratio=1", f"trainer.max_epochs={epochs}", "logger=none"),
        *("curves.early_points=0", "imbalance.n_max=null"),
    ]


def bare(task: Task, way: str) -> None:
    """A loop in plain PyTorch, timed as `Steps` does, with evaluations as in `loops.bare`.

    Args:
        task: what is trained.
        way: `eager`; `graphs` of the network's forward and backward pass; `whole graph`, of loss
            and optimiser too.
    """
    data = task.resident()
    images, labels = data["train"]
    network = task.network().to(task.device, memory_format=torch.channels_last).train()
    optimizer = task.optimizer(network)
    steps = len(labels) // task.batch_size
    schedule = cosine(optimizer, task.epochs * steps)
    first = torch.arange(task.batch_size, device=task.device)
    forward = record(network, images[first]) if way == "graphs" else network

    def eager(rows: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(forward(images[rows]), labels[rows]).backward()
        optimizer.step()
        schedule.step()

    step = _whole_graph(network, optimizer, images, labels, first) if "whole" in way else eager
    for epoch in range(task.epochs):
        network.train()
        began = 0.0
        order = torch.randperm(len(labels)).to(task.device)[: steps * task.batch_size]
        for number, rows in enumerate(order.split(task.batch_size)):
            if number == min(SKIPPED, steps - 1):
                began = now()
            step(rows)
        if epoch or task.epochs == 1:
            timed.append(1000 * (now() - began) / max(1, steps - SKIPPED))
        for split in data.values():
            evaluate(network, *split, task.classes)


def _whole_graph(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    first: Tensor,
) -> Callable[[Tensor], None]:
    """A step of fixed rate as one graph; it takes the rows of a batch."""
    rows = first.clone()

    def once() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(images[rows]), labels[rows]).backward()
        optimizer.step()

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            once()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        once()

    def step(wanted: Tensor) -> None:
        rows.copy_(wanted)
        graph.replay()

    return step


def skewlab(task: Task, *more: str, words: Sequence[str] = ()) -> None:
    """A run of skewlab, timed by a callback of its configuration."""
    with tempfile.TemporaryDirectory() as logs:
        config = composed(*words, *more, f"logs_dir={logs}", "+callbacks.steps._target_=gpu.Steps")
        folder = RunFolder(run_path(config))
        folder.start(config.model_dump(), prepare(config))
        with StopRequest() as stop:
            train(config, folder, "", stop)
        folder.finish(DONE)


def ways(words: list[str]) -> dict[str, Callable[[Task], Any]]:
    graphs, bf16 = "training.cuda_graphs=true", "trainer.precision=bf16-mixed"
    own = functools.partial(skewlab, words=words)
    found: dict[str, Callable[[Task], Any]] = {
        "bare loop, eager": functools.partial(bare, way="eager"),
        "bare loop, graphs": functools.partial(bare, way="graphs"),
        "bare loop, whole step one graph": functools.partial(bare, way="whole graph"),
        "plain Lightning": functools.partial(plain_lightning, callbacks=[Steps()]),
        "template": functools.partial(template, tuned=False, callbacks=[Steps()]),
        "skewlab": own,
        "skewlab, graphs": lambda task: own(task, graphs),
        "skewlab, fused optimiser": lambda task: own(task, "+optimizer.fused=true"),
        "skewlab, graphs, fused optimiser": lambda task: own(task, graphs, "+optimizer.fused=true"),
        "skewlab, bfloat16": lambda task: own(task, bf16),
        "skewlab, bfloat16, graphs": lambda task: own(task, bf16, graphs),
    }
    if torch.cuda.is_available():
        return found
    return {way: run for way, run in found.items() if "graph" not in way}


def time_steps(results: Results, network: str, samples: int, epochs: int) -> None:
    """Milliseconds of a step; and seconds of an epoch with its evaluations, as the difference of
    two lengths."""
    words = overrides(network, samples, epochs)
    for way, run in ways(words).items():
        if not results.time_for(30):
            continue
        task = Task.of(composed(*words))
        timed.clear()
        began = now()
        recorded.clear()
        try:
            with quiet(results.out / "said.txt"):
                run(task)
        except Exception as error:  # one way that fails must not end the others
            results.add("failed", network, way, f"{type(error).__name__}: {error}"[:200], "")
            continue
        if way.startswith("skewlab") and "graphs" in way and not any(recorded):
            results.add("failed", network, way, "not recorded; said.txt says why", "")
            continue
        results.add("step", network, way, float(np.median(timed)), "ms")
        results.add("run", network, way, (now() - began) / epochs, "s an epoch, with the start")


def card(results: Results, samples: int) -> None:
    """What the card can do, as measured with one large operation, and what a step takes of it."""
    if not torch.cuda.is_available():
        return
    a = torch.randn(8192, 8192, device="cuda")
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        x = a.to(dtype)
        began = now()
        for _ in range(10):
            x @ x
        rate = 10 * 2 * 8192**3 / (now() - began) / 1e12
        results.add("card", "", f"matrix product, {name}", rate, "TFLOP/s")
    began = now()
    for _ in range(20):
        a.clone()
    moved = 20 * 2 * a.nbytes / (now() - began) / 1e9
    results.add("card", "", "copying", moved, "GB/s")
    from torch.utils.flop_counter import FlopCounterMode

    for network, (side, channels, batch) in NETWORKS.items():
        task = Task.of(composed(*overrides(network, samples, 1)))
        model = task.network().to("cuda")
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(batch, channels, side, side, device="cuda")).sum().backward()
        needed = memory.estimate(task.config, task.source)
        # Activations are written once and read twice, weights and the optimiser's state likewise.
        traffic = 3 * (needed.training + needed.network)
        for way in ("bare loop, graphs", "skewlab", "skewlab, graphs"):
            step = results.number("step", network, way)
            if step:
                rate = counter.get_total_flops() / step / 1e9
                results.add("arithmetic", network, way, rate, "TFLOP/s")
                results.add("traffic, estimated", network, way, traffic / step / 1e6, "GB/s")


def kernels(results: Results) -> None:
    """Forward and backward pass of ResNet-32 alone, recorded as a graph where there is a GPU, by
    what decides which kernels the GPU runs; and in kernels.txt, what each of them takes."""
    side, channels, batch = NETWORKS["resnet32"]
    batch, device = (batch, "cuda") if torch.cuda.is_available() else (2, "cpu")
    network = Task.of(composed(*overrides("resnet32", 100, 1))).network().to(device).train()
    before = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as Lightning sets it
    formats = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}
    for choice in itertools.product(formats, (True, False), (False, True), ("float32", "bfloat16")):
        form, deterministic, benchmark, dtype = choice
        network.to(memory_format=formats[form])
        sample = torch.rand(batch, channels, side, side, device=device)
        sample = sample.contiguous(memory_format=formats[form])
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.benchmark = benchmark
        half = torch.autocast(
            device, torch.bfloat16, enabled=dtype == "bfloat16", cache_enabled=False
        )
        with half:
            forward = record(network, sample) if device == "cuda" else network

        def both(forward: Any = forward, sample: Tensor = sample, half: Any = half) -> None:
            network.zero_grad()
            with half:
                forward(sample).float().sum().backward()

        both()
        began, times = now(), 20 if device == "cuda" else 1
        for _ in range(times):
            both()
        words = [form, dtype, *["deterministic"] * deterministic, *["cudnn.benchmark"] * benchmark]
        taken = 1000 * (now() - began) / times
        results.add("forward and backward", "resnet32", ", ".join(words), taken, "ms")
        if choice == ("channels last", True, False, "float32"):  # as skewlab trains
            with torch.profiler.profile() as profile:
                both()
                now()
            order = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
            told = profile.key_averages().table(sort_by=order, row_limit=30)
            (results.out / "kernels.txt").write_text(told)
    torch.use_deterministic_algorithms(before)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before, False


def command(words: Sequence[str], logs: Path, **environment: str) -> subprocess.Popen[bytes]:
    """The real command line, with this file's parts to be found."""
    path = os.pathsep.join([str(HERE), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words, f"logs_dir={logs}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.DEVNULL,
        stderr=(logs.with_suffix(".err")).open("wb"),
    )


def same_curves(results: Results, samples: int, epochs: int) -> None:
    """Curves of the same run trained twice, killed and gone on, and with graphs, byte for byte."""
    network = "resnet32" if torch.cuda.is_available() else "small_cnn"
    words = [*overrides(network, samples, epochs), "training.checkpoint_seconds=0"]
    with tempfile.TemporaryDirectory() as folder:
        logs = {name: Path(folder) / name for name in ("first", "second", "killed", "graphs")}
        if not torch.cuda.is_available():
            del logs["graphs"]
        more = {"graphs": ["training.cuda_graphs=true"]}
        running = {name: command([*words, *more.get(name, [])], at) for name, at in logs.items()}
        while running["killed"].poll() is None:
            if len(_curves(logs["killed"]).splitlines()) > 3 * (epochs // 2 + 1):
                running["killed"].send_signal(signal.SIGKILL)
                break
            time.sleep(0.05)
        codes = {name: process.wait() for name, process in running.items()}
        killed = codes.pop("killed") == -signal.SIGKILL
        codes["killed"] = command(words, logs["killed"]).wait()
        for name, code in codes.items():
            if code:
                results.add("failed", network, f"curves, {name}", _last_line(logs[name]), "")
        first = _curves(logs["first"])
        for name, at in logs.items():
            if name == "first":
                continue
            same = first and _curves(at) == first
            name = "killed and gone on" if name == "killed" and killed else name
            results.add("curves as the first time", network, name, "yes" if same else "no", "")


def _last_line(logs: Path) -> str:
    """The end of what a command said."""
    return (logs.with_suffix(".err").read_text().strip().splitlines() or [""])[-1]


def _curves(logs: Path) -> bytes:
    found = list(logs.glob("*/*/curves.jsonl"))
    return found[0].read_bytes() if found else b""


@contextmanager
def mps() -> Iterator[bool]:
    """NVIDIA's multi-process service, under which kernels of several processes run side by side;
    whether it could be started."""
    daemon = shutil.which("nvidia-cuda-mps-control")
    with tempfile.TemporaryDirectory() as folder:
        pipes = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        started = (
            daemon is not None
            and not subprocess.run(
                [daemon, "-d"], env={**os.environ, **pipes}, capture_output=True
            ).returncode
        )
        before = dict(os.environ)
        if started:
            os.environ.update(pipes)
        try:
            yield started
        finally:
            if started and daemon:
                subprocess.run([daemon], input=b"quit\n", env=dict(os.environ))
            os.environ.clear()
            os.environ.update(before)


def together(results: Results, runs: int, seconds: int, samples: int, way: str) -> None:
    """Updates of all runs together, so many at a time on the card, while all of them train."""
    network = "resnet32" if torch.cuda.is_available() else "small_cnn"
    words = [*overrides(network, samples, 10_000), f"trainer.max_time=00:00:00:{seconds:02}"]
    words += [
        "training.threads=1",
        "+callbacks.steps._target_=gpu.Steps",
        "curves.every_n_epochs=10",
    ]
    words += ["training.cuda_graphs=true"] if "graphs" in way else []
    words += ["trainer.precision=bf16-mixed"] if "bfloat16" in way else []
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / str(seed) for seed in range(runs)]
        running = [
            command([*words, f"seed={seed}"], at, GPU_STEPS="1") for seed, at in enumerate(places)
        ]
        for process in running:
            process.wait()
        said = next(filter(None, map(_last_line, places)), "")
        told = [json.loads(path.read_text()) for path in Path(folder).glob("*/*/*/steps.json")]
    told = [one for one in told if len(one) > 1]
    if len(told) < runs:
        reason = f"{len(told)} trained; {said}"
        results.add("failed", network, f"{runs} at a time, {way}", reason, "")
    if not told:
        return
    begin, end = max(one[0][0] for one in told), min(one[-1][0] for one in told)
    if end <= begin:
        results.add("failed", network, f"{runs} at a time, {way}", "never at the same time", "")
        return
    updates = sum(np.diff(np.interp([begin, end], *zip(*one, strict=True))).item() for one in told)
    rate = updates / (end - begin)
    name = f"{runs} at a time, {way}"
    results.add("updates of all runs", network, name, rate, "a second")
    results.add("runs an hour", network, name, 3600 * rate / UPDATES_OF_A_RUN, "of 19,400 updates")


def draw(results: Results) -> None:
    """Steps of each network as bars; runs an hour against how many at a time."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    for panel, network in zip(axes, NETWORKS, strict=False):
        lines = [x for x in results.lines if x["what"] == "step" and x["network"] == network]
        values = [float(line["value"]) for line in lines]
        colors = ["#c0392b" if "skewlab" in line["way"] else "#34495e" for line in lines]
        bars = panel.barh(range(len(lines)), values, color=colors)
        panel.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
        panel.set_yticks(range(len(lines)), [line["way"] for line in lines], fontsize=8)
        panel.invert_yaxis()
        panel.set_xlabel("milliseconds a training step")
        panel.set_title(f"{network}, batch {NETWORKS[network][2]}", loc="left", fontsize=10)
        panel.margins(x=0.15)
    ways_together: dict[str, list[tuple[int, float]]] = {}
    for line in results.lines:
        if line["what"] == "updates of all runs":
            runs, _, way = line["way"].partition(" at a time, ")
            ways_together.setdefault(way, []).append((int(runs), float(line["value"])))
    for way, points in ways_together.items():
        axes[-1].plot(*zip(*sorted(points), strict=True), "o-", label=way)
    axes[-1].set_xlabel("runs at a time")
    axes[-1].set_ylabel("updates a second, of all runs")
    most = max((rate for points in ways_together.values() for _, rate in points), default=1)
    axes[-1].set_ylim(0, 1.1 * most)
    axes[-1].set_xticks([1, 2, 4, 8, 16])
    if ways_together:
        axes[-1].legend(frameon=False)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(results.out / "gpu.png", dpi=150)


def main(arguments: argparse.Namespace) -> None:
    small = arguments.small
    results = Results(arguments.out, arguments.minutes)
    results.add("machine", "", machine(), "", "")
    samples, epochs = (400, 2) if small else (12_800, 3)
    prepare(composed(*overrides("small_cnn", samples, 1)))
    kernels(results)
    for network in ("small_cnn",) if small else NETWORKS:
        time_steps(results, network, samples, epochs)
    card(results, samples)
    if results.time_for(60):
        same_curves(results, samples, 4)
    if torch.cuda.is_available():
        with claimed_gpu() as first, claimed_gpu() as second:
            apart = torch.cuda.device_count() == 1 or first != second
            results.add("claims of two runs", "", f"GPUs {first}, {second}", str(apart), "")
    seconds = 6 if small else 12
    graphs = "graphs" if torch.cuda.is_available() else "eager"
    # Under MPS first: without it several runs at a time were no faster than one after the other.
    if results.time_for(3 * seconds):
        with mps() as started:
            results.add("MPS", "", "could be started", str(started), "")
            half = f"{graphs}, bfloat16"
            plan = [(8, graphs), (8, half), (16, half), (16, graphs), (2, graphs), (4, graphs)]
            for runs, way in plan if started else ():
                if results.time_for(3 * seconds):
                    together(results, runs, seconds, samples, f"{way}, MPS")
    for runs in (1, 2) if small else (1, 8, 2, 4, 16):
        if results.time_for(3 * seconds):
            together(results, runs, seconds, samples, graphs)
    if not small and results.time_for(3 * seconds):
        together(results, 1, seconds, samples, "eager")
    with suppress(ImportError):
        draw(results)
    print(results.out / "gpu.csv")


if __name__ == "__main__":
    import gpu  # the module that configurations name, so that both count in one place

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "logs" / "gpu")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--small", action="store_true", help="little of everything, on a CPU too")
    gpu.main(parser.parse_args())
