"""The end of a sweep: a table, a figure, what failed, and where everything lies."""

from collections.abc import Sequence
from pathlib import Path

from skewlab.report.load import Run, read_run
from skewlab.report.table import sweep_table

FIGURE = "curves.png"


def conclude(paths: Sequence[Path]) -> bool:
    """Say how a sweep's runs ended, on the terminal and as `<study>/curves.png`.

    Args:
        paths: the runs' folders.

    Returns:
        Whether none failed. A run that diverged is a result, not a failure.
    """
    runs: list[Run] = []
    ended_badly: list[str] = []
    for path in paths:
        try:
            run = read_run(path)
        except ValueError as error:
            ended_badly.append(str(error))
            continue
        if run.state in ("done", "diverged"):
            runs.append(run)
        else:
            ended_badly.append(f"{path.name}: {run.state}, {run.reason or 'no reason known'}")
    for run in runs:
        if run.state == "diverged":
            print(f"{run.path.name}: {run.reason}; its curves end there")
    finished = [run for run in runs if run.state == "done"]
    if finished:
        from skewlab.report.figures import learning_curves

        print(f"\n{sweep_table(finished)}\n")
        studies = sorted({run.path.parent for run in finished})
        for study in studies:
            learning_curves([run for run in finished if run.path.parent == study], study / FIGURE)
            print(f"figure  {study / FIGURE}")
            print(f"runs    {study}/<run>/  curves.jsonl, summary.json, data.json, checkpoints/")
        if (finished[0].path / "wandb").is_dir():
            print(f"W&B     wandb sync {studies[0]}/*/wandb/offline-run-*   (when you want it)")
    if ended_badly:
        print(f"\n{len(ended_badly)} of {len(paths)} runs failed:")
        for line in ended_badly:
            print(f"  {line}")
        print("The same command again trains those only: finished runs are skipped.")
    return not ended_badly
