"""The command line of `report.py`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from skewlab.errors import BAD_INPUT, ConfigError
from skewlab.report.build import build_report, summary_lines
from skewlab.report.thresholds import Thresholds, thresholds
from skewlab.report.watch import watch
from skewlab.terminal import note

WATCH = "--watch"

USAGE = """python report.py [--watch] PATH [PATH ...] [out=FOLDER] [key=value ...]

PATH is a study (logs/<study>), a run, or a folder that holds them; a sweep may still be running.
Writes PATH/report/: index.html, figures as PNG and SVG, results and verdicts as CSV and LaTeX.
With --watch it does so again and again, and the page in the browser keeps itself current.

What the verdicts are measured against, with the defaults:
"""


def main(arguments: Sequence[str]) -> int:
    """Write the report and print its verdicts.

    Returns:
        The exit code: 0, or 2 for a mistake in the arguments.
    """
    if not arguments or {"-h", "--help"} & set(arguments):
        print(USAGE + "".join(f"  {k}={v}\n" for k, v in Thresholds().model_dump().items()))
        return 0 if arguments else BAD_INPUT
    unknown = [a for a in arguments if a.startswith("-") and a != WATCH and not Path(a).exists()]
    if unknown:
        note(f"error: {unknown[0]}: no such option; allowed: {WATCH}, --help")
        return BAD_INPUT
    watching = WATCH in arguments
    arguments = [a for a in arguments if a != WATCH]
    # A folder's name may hold a "=" itself: what exists is a path.
    paths = [Path(a) for a in arguments if "=" not in a or Path(a).exists()]
    given: dict[str, Any] = dict(
        a.split("=", 1) for a in arguments if "=" in a and not Path(a).exists()
    )
    out = given.pop("out", None)
    try:
        limits = thresholds({key: yaml.safe_load(value) for key, value in given.items()})
        report = (watch if watching else build_report)(paths, limits, Path(out) if out else None)
    except ConfigError as error:
        for line in str(error).splitlines():
            note(f"error: {line}")
        return BAD_INPUT
    for line in summary_lines(report) if report else ():
        print(line)
    sys.stdout.flush()
    return 0
