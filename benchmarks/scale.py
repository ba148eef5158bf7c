"""What a study of very many runs costs beside training: python benchmarks/scale.py [RUNS] [FOLDER]

Makes up a study by copying one real run under other seeds and ratios, then times, as commands of
their own: the look at every run's state, the report, and a sweep whose runs are all finished (what
it takes to compose, check and skip them). The loggers are timed on fewer runs, in one process.
"""

import functools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from skewlab.config.schema import checked
from skewlab.data.plan import describe, plan
from skewlab.runs import json_file
from skewlab.runs.folder import DONE, RunFolder
from skewlab.runs.identity import run_path
from skewlab.runs.reading import RESULTS

ROOT = Path(__file__).parents[1]
RATIOS = (1, 10, 50, 100)
LOGGED_RUNS = 60
RUN = ("logger=none", "model=mlp", "study=scale")


def command(*arguments: str) -> float:
    """Seconds that a script of the repository takes."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def make_runs(runs: int, logs: Path) -> list[Path]:
    """Copies of four real runs of 30 epochs, one for each ratio."""
    ratios = ",".join(str(ratio) for ratio in RATIOS)
    command("train.py", "-m", f"ratio={ratios}", *RUN, f"logs_dir={logs}")
    folders = []
    for status in sorted(logs.glob("scale/*/status.json")):
        real = status.parent
        config = yaml.safe_load((real / "config.yaml").read_text())
        origin = json.loads(status.read_text())["provenance"]
        for seed in range(runs // len(RATIOS)):
            seeds = dict.fromkeys(("seed", "data_seed", "init_seed", "order_seed"), seed)
            run = checked({**config, **seeds})
            path = run_path(run)
            folders.append(path)
            if path.exists():
                continue
            copy = RunFolder(path)
            copy.start({**config, **seeds}, origin)
            for name in set(RESULTS) - {"config.yaml", "data.json"}:
                if (real / name).exists():
                    shutil.copyfile(real / name, path / name)
            json_file.write(path / "data.json", describe(*plan(run)))
            copy.finish(DONE)
    return folders


def timed(name: str, runs: int, measure: Callable[[], Any]) -> None:
    """Print what something took, in all and a run."""
    began = time.perf_counter()
    measure()
    seconds = time.perf_counter() - began
    print(f"| {name} | {runs:,} | {seconds:.1f} s | {1000 * seconds / runs:.2f} ms |", flush=True)


def log(kind: str, runs: int, logs: Path) -> None:
    """Tell a logger everything that there is of so many runs: start, rows, end."""
    from skewlab.loggers.lifetime import retell

    template = next(logs.glob("scale/*/config.yaml")).parent
    config = yaml.safe_load((template / "config.yaml").read_text())
    config["logger"] = yaml.safe_load((ROOT / "configs" / "logger" / f"{kind}.yaml").read_text())
    run = checked({**config, "logs_dir": str(logs)})
    for number in range(runs):
        path = logs / "logged" / kind / str(number) / template.name  # a run knows its name
        shutil.copytree(template, path, ignore=shutil.ignore_patterns("checkpoints"))
        retell(run, RunFolder(path))


def main(runs: int, logs: Path) -> None:
    """Print a table."""
    print("| what | runs | took | a run |\n|---|---|---|---|")
    folders = make_runs(runs, logs)
    size = sum(path.stat().st_size for path in folders[0].iterdir()) / 2**10
    timed("state of every run", runs, lambda: [RunFolder(path).state() for path in folders])
    timed("report", runs, lambda: command("report.py", str(logs / "scale")))
    sweep = [f"ratio={','.join(map(str, RATIOS))}", f"seed=range(0,{runs // len(RATIOS)})"]
    timed(
        "a sweep whose runs are all finished, its report included",
        runs,
        lambda: command("train.py", "-m", *sweep, *RUN, f"logs_dir={logs}"),
    )
    for kind in ("wandb", "tensorboard", "trackio"):
        timed(f"logger={kind}", LOGGED_RUNS, functools.partial(log, kind, LOGGED_RUNS, logs))
        places = (logs / "logged" / kind, logs / kind)  # trackio has one folder for all runs
        written = [path for place in places for path in place.rglob("*") if path.is_file()]
        kept = sum(path.stat().st_size for path in written) / LOGGED_RUNS / 2**10
        print(f"  on disk, a run, beside its own files: {kept - size:.0f} KiB")
    print(f"  on disk, a run without loggers and checkpoints: {size:.0f} KiB")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    if len(sys.argv) > 2:
        main(count, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(count, Path(scratch))
