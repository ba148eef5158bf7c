"""What a run costs beside the same training written otherwise: uv run benchmarks/run.py

Seven ways to train one network on the same digits, timed in turn in one process, round after
round. All but the first measure the loss, recall and precision of every class on train, val and
test before the first epoch and after each. Then a sweep of nine jobs from the shell: in one
process, in two with joblib, in nine. Tables are printed, and written as CSV with a figure into
--out. What else runs on the machine disturbs it, so ratios are taken within a round. In a minute,
to see that it works:

    uv run benchmarks/run.py --models mlp --rounds 1 --sweep-rounds 0
"""

import argparse
import csv
import functools
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
# Epochs of each model, as many as take some seconds; of a job in a sweep; and fewer samples where a
# network takes long on a processor.
EPOCHS = {"mlp": 30, "small_cnn": 3, "resnet32": 2}
SWEEP_EPOCHS = {"mlp": 30, "small_cnn": 5}
FEWER = {"resnet32": ("imbalance.n_max=50", "data.val_per_class=20")}
# The ways that all are compared with; the figure has the first one.
BARE, LIGHTNING, SKEWLAB = "b: bare loop + metrics", "g: plain Lightning", "c: skewlab"
REFERENCES = (LIGHTNING, BARE, SKEWLAB)
SHELL = "one process per job, one report"
# A job of its own ends with the report of its study, which a sweep writes once.
WITHOUT_REPORT = (
    "import runpy, sys; from skewlab.launch.sweep import SweepCallback; "
    "SweepCallback._report_results = lambda self: None; "
    "sys.argv[0] = 'train.py'; runpy.run_path('train.py', run_name='__main__')"
)


class Timed(NamedTuple):
    """What one way took.

    Attributes:
        trained: what was trained.
        way: how.
        seconds: of each round.
        ratios: by another way, of each round to that way in the same round.
    """

    trained: str
    way: str
    seconds: list[float]
    ratios: dict[str, list[float]]


def composed(*overrides: str) -> Any:
    """A checked configuration, as the command line would compose it."""
    from hydra import compose, initialize_config_dir

    from skewlab.config.schema import checked
    from skewlab.launch.sweep import resolved

    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return checked(resolved(compose("train", ["logger=none", *overrides])))


def skewlab(task: Any, *, early: bool) -> float:
    """A job of skewlab, from its checked configuration to a finished folder.

    Args:
        task: what is trained.
        early: whether curves are evaluated within the first epochs too, as is the default.
    """
    from skewlab.preemption import StopRequest
    from skewlab.runs.folder import DONE, RunFolder
    from skewlab.runs.identity import run_path
    from skewlab.training.devices import prepare
    from skewlab.training.run import train

    curves = task.config.curves
    if not early:
        curves = curves.model_copy(update={"early_points": 0})
    with tempfile.TemporaryDirectory() as logs:
        own = task.config.model_copy(update={"logs_dir": logs, "curves": curves})
        folder = RunFolder(run_path(own))
        folder.start(own.model_dump(), prepare(own))
        with StopRequest() as stop:
            summary = train(own, folder, "", stop)
        folder.finish(DONE)
    return summary["test/balanced_accuracy"]


def ways() -> dict[str, Callable[[Any], float]]:
    from loops import bare, research_script
    from plain_lightning import plain_lightning
    from templates import template

    return {
        "a: bare loop": functools.partial(bare, measured=False),
        BARE: functools.partial(bare, measured=True),
        SKEWLAB: functools.partial(skewlab, early=False),
        "c: skewlab, early evaluations too": functools.partial(skewlab, early=True),
        "d: template": functools.partial(template, tuned=False),
        "e: template, tuned": functools.partial(template, tuned=True),
        "f: research script": research_script,
        LIGHTNING: plain_lightning,
    }


def time_ways(model: str, rounds: int, wanted: str, overrides: list[str]) -> list[Timed]:
    """All ways to train a model, one after the other, so many times over."""
    import torch
    from loops import Task

    from skewlab.training.devices import prepare

    size = (f"trainer.max_epochs={EPOCHS[model]}", *FEWER.get(model, ()))
    task = Task.of(composed(f"model={model}", "ratio=1", *size, *overrides))
    chosen = {way: run for way, run in ways().items() if way[0] in wanted}
    prepare(task.config)  # all ways have as many threads
    seconds: dict[str, list[float]] = {way: [] for way in chosen}
    for turn in range(rounds + 1):
        for way, run in chosen.items():
            torch.use_deterministic_algorithms(False)  # skewlab leaves it on
            began = time.perf_counter()
            with quiet():
                score = run(task)
                if task.device.type == "cuda":
                    torch.cuda.synchronize()
            taken = time.perf_counter() - began
            if turn:  # the first round warms up
                seconds[way].append(taken)
            say(f"{model:10} {way:34} {taken:7.2f} s  balanced accuracy on test {score:.3f}")
    return compared(model, seconds, REFERENCES)


def compared(trained: str, seconds: dict[str, list[float]], to: Sequence[str]) -> list[Timed]:
    """Each way with its ratios to those of `to` that were timed, within a round: both had the same
    machine."""

    def ratios(own: list[float], other: list[float]) -> list[float]:
        return [mine / theirs for mine, theirs in zip(own, other, strict=True)]

    return [
        Timed(trained, way, own, {o: ratios(own, seconds[o]) for o in to if o in seconds})
        for way, own in seconds.items()
    ]


@contextmanager
def quiet(into: Path = Path(os.devnull)) -> Iterator[None]:
    """What the ways print goes to the end of a file, or nowhere; the time it takes to print
    stays."""
    before = {stream: os.dup(stream) for stream in (1, 2)}
    sys.stdout.flush()
    with into.open("a") as nowhere, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for stream in before:
            os.dup2(nowhere.fileno(), stream)
        try:
            yield
        finally:
            sys.stdout.flush()
            for stream, place in before.items():
                os.dup2(place, stream)
                os.close(place)


def time_sweeps(model: str, rounds: int) -> list[Timed]:
    """Nine jobs from the shell, cold: everything that a user waits for, but for compiling modules,
    which a process does once for all that come after it."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    python = shlex.quote(sys.executable)
    train, without_report = f"{python} train.py", f"{python} -c {shlex.quote(WITHOUT_REPORT)}"
    job = f"model={model} logger=none trainer.max_epochs={SWEEP_EPOCHS[model]} logs_dir=LOGS"
    ratios, seeds = "1,10,100", "0,1,2"
    jobs = [
        f"ratio={ratio} seed={seed} {job}"
        for ratio in ratios.split(",")
        for seed in seeds.split(",")
    ]
    sweep = f"{train} -m ratio={ratios} seed={seeds} {job}"
    commands = {
        SHELL: " && ".join(
            [*(f"{without_report} {job}" for job in jobs[:-1]), f"{train} {jobs[-1]}"]
        ),
        "one process per job, nine reports": " && ".join(f"{train} {job}" for job in jobs),
        "skewlab -m": sweep,
        "skewlab -m, joblib": f"{sweep} hydra/launcher=joblib",
    }
    seconds: dict[str, list[float]] = {way: [] for way in commands}
    for turn in range(rounds + 1):
        for way, command in commands.items():
            logs = tempfile.mkdtemp()
            began = time.perf_counter()
            subprocess.run(
                command.replace("LOGS", logs),
                shell=True,
                cwd=ROOT,
                check=True,
                capture_output=True,
                env=environment,
            )
            if turn:  # the first round warms up
                seconds[way].append(time.perf_counter() - began)
            shutil.rmtree(logs)
            say(f"{model:10} {way:34} {time.perf_counter() - began:7.2f} s")
    return compared(f"{model}, nine jobs", seconds, [SHELL])


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def written(timed: list[Timed]) -> list[dict[str, str]]:
    """The rows of the CSV file: one for each way and each other one that it is compared with."""
    return [
        {
            "trained": one.trained,
            "way": one.way,
            **spread("seconds", one.seconds),
            "compared with": other,
            **spread("ratio", ratios),
            "rounds": str(len(one.seconds)),
        }
        for one in timed
        for other, ratios in one.ratios.items()
    ]


def spread(name: str, values: list[float]) -> dict[str, str]:
    """Columns of the median, the lowest and the highest."""
    return {
        name: f"{statistics.median(values):.3f}",
        f"lowest {name}": f"{min(values):.3f}",
        f"highest {name}": f"{max(values):.3f}",
    }


def markdown(timed: list[Timed]) -> str:
    """A table for all that is compared with the same ways."""
    tables: dict[tuple[str, ...], list[str]] = {}
    for one in timed:
        heads = ["trained", "way", "seconds", *(f"ratio to {other}" for other in one.ratios)]
        table = tables.setdefault(
            tuple(one.ratios), [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        )
        cells = [one.trained, one.way, *map(cell, [one.seconds, *one.ratios.values()])]
        table.append(f"| {' | '.join(cells)} |")
    return "\n\n".join("\n".join(table) for table in tables.values())


def cell(values: list[float]) -> str:
    if min(values) == max(values) == 1:  # a way compared with itself
        return "1.00"
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def draw(timed: list[Timed], path: Path) -> None:
    """Ratios as dots, every round of them, on a log scale: a row of panels for the ways to train
    one run and one for sweeps, a panel for each thing that is trained."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    rows: dict[str, dict[str, list[Timed]]] = {}
    for one in timed:
        first = next(iter(one.ratios))
        rows.setdefault(first, {}).setdefault(one.trained, []).append(one)
    lengths = [max(map(len, panels.values())) for panels in rows.values()]
    across = max(map(len, rows.values()))
    figure, grid = plt.subplots(
        len(rows),
        across,
        figsize=(2.2 + 2.9 * across, 0.9 * len(rows) + 0.4 * sum(lengths)),
        squeeze=False,
        sharex="row",
        sharey="row",
        height_ratios=lengths,
        layout="constrained",
    )
    for axes_of_row, (to, panels) in zip(grid, rows.items(), strict=True):
        ratios = [ratio for mine in panels.values() for one in mine for ratio in one.ratios[to]]
        low, high = min(ratios) / 1.3, max(ratios) * 1.3
        ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low <= tick <= high]
        for axes in axes_of_row[len(panels) :]:
            axes.set_visible(False)
        for axes, (trained, mine) in zip(axes_of_row, panels.items(), strict=False):
            for place, one in enumerate(mine):
                own = one.ratios[to]
                median = statistics.median(own)
                color = "#c0392b" if "skewlab" in one.way else "#34495e"
                axes.plot(own, [place] * len(own), "o", color=color, alpha=0.35, ms=5)
                axes.plot(median, place, "|", color=color, ms=14, mew=2.5)
                beside = {"ha": "center", "fontsize": 8, "textcoords": "offset points"}
                axes.annotate(f"{median:.2f}", (median, place), (0, 8), **beside)
            axes.axvline(1, color="#999999", lw=1, zorder=0)
            axes.set_yticks(range(len(mine)), [one.way for one in mine])
            axes.set_ylim(len(mine) - 0.4, -0.8)
            axes.set_xscale("log")
            axes.set_xlim(low, high)
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_title(trained, loc="left", fontsize=10)
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(axis="y", length=0)
        axes_of_row[0].set_xlabel(f"time, in times of \u201c{to}\u201d", loc="left")
    figure.savefig(path, dpi=150)


def machine() -> str:
    """What it was measured on."""
    import torch

    name = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(": ")[2] for line in lines if "model name" in line), name)
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{os.cpu_count()} cores of {name}{gpu}; {torch.get_num_threads()} threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def measurements(arguments: argparse.Namespace) -> Iterator[list[Timed]]:
    """One after the other."""
    for model in arguments.models.split(","):
        if arguments.rounds:
            yield time_ways(model, arguments.rounds, arguments.ways, arguments.overrides)
        if arguments.sweep_rounds and model in SWEEP_EPOCHS:
            yield time_sweeps(model, arguments.sweep_rounds)


def main(arguments: argparse.Namespace) -> None:
    timed: list[Timed] = []
    say(machine())
    arguments.out.mkdir(parents=True, exist_ok=True)
    for found in measurements(arguments):
        timed += found
        # At once: these take an hour together, and may be stopped.
        table = written(timed)
        with (arguments.out / "performance.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, table[0])
            writer.writeheader()
            writer.writerows(table)
        draw(timed, arguments.out / "performance.png")
    print(f"{machine()}\n\n{markdown(timed)}\n\n{arguments.out / 'performance.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", default=",".join(EPOCHS), help="of mlp, small_cnn, resnet32")
    parser.add_argument("--ways", default="abcdefg", help="letters; b, c or g among them")
    parser.add_argument("--rounds", type=int, default=5, help="after one to warm up; 0 for none")
    parser.add_argument(
        "--sweep-rounds",
        type=int,
        default=2,
        help="of the nine jobs, after one to warm up; 0 for none",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "logs" / "performance")
    parser.add_argument(
        "overrides", nargs="*", help="of the configuration, such as training.threads=1"
    )
    main(parser.parse_args())
