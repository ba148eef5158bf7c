"""The end of a sweep: a table, a figure, the report, what failed, and where everything lies."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from skewlab.report import table
from skewlab.report.build import build_report, summary_lines
from skewlab.report.read import Run, read_run
from skewlab.report.thresholds import Thresholds
from skewlab.runs.folder import DIVERGED, DONE

FIGURE = "curves.png"


def conclude(paths: Sequence[Path]) -> bool:
    """Say how a sweep's runs ended; write `<study>/curves.png` and `<study>/report/`.

    The table is of these runs, the report of all that their studies hold.

    Args:
        paths: the runs' folders.

    Returns:
        Whether none failed. A run that diverged is a result, not a failure.
    """
    runs: list[Run] = []
    ended_badly: list[str] = []
    for path in paths:
        try:
            run, _ = read_run(path)
        except ValueError as error:
            ended_badly.append(str(error))
            continue
        if run.state == DONE:
            runs.append(run)
        elif run.state == DIVERGED:
            print(f"{run.path.name}: {run.reason}; its curves end there")
        else:
            ended_badly.append(f"{path.name}: {run.state}, {run.reason or 'no reason known'}")
    if runs:
        print(f"\n{table.terminal(table.result_rows(runs, Thresholds()))}\n")
        for study in sorted({run.path.parent for run in runs}):
            _report(study)
        if any((run.path / "wandb").is_dir() for run in runs):
            studies = {run.path.parent for run in runs}
            print(f"W&B     wandb sync {min(studies)}/*/wandb/offline-run-*   (when you want it)")
    if ended_badly:
        print(f"\n{len(ended_badly)} of {len(paths)} runs failed:")
        for line in ended_badly:
            print(f"  {line}")
        print("The same command again trains those only: finished runs are skipped.")
    return not ended_badly


def _report(study: Path) -> None:
    report = build_report([study], Thresholds())
    for line in summary_lines(report):
        print(line)
    curves = sorted(report.folder.glob("**/learning_curves.png"))
    shutil.copyfile(curves[0], study / FIGURE)
    print(f"figure  {study / FIGURE}")
    print(f"runs    {study}/<run>/  curves.jsonl, summary.json, data.json, checkpoints/")
