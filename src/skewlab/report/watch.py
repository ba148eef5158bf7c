"""A report that is kept current while a sweep runs."""

import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from skewlab.errors import ConfigError
from skewlab.report.build import (
    PAGE,
    Report,
    find,
    report_folder,
    write_report,
)
from skewlab.report.findings import NOTHING_YET, Findings
from skewlab.report.read import Collection, read_runs, run_folders
from skewlab.report.thresholds import Thresholds
from skewlab.runs.lock import owner_of
from skewlab.terminal import note

# Seconds between two looks, and between two loads of the page that shows what was seen.
INTERVAL = 5.0
# A look may take this share of the time: a study of thousands of runs is looked at less often.
BUSY = 0.25
State = frozenset[tuple[str, int, int]]


class Watch:
    """Writes a report again whenever the runs have something new.

    Args:
        paths: studies, runs, or folders that hold them; they need not be there yet.
        limits: what the verdicts are measured against.
        out: where to write; None is as of `build_report`.
    """

    def __init__(self, paths: Sequence[Path], limits: Thresholds, out: Path | None) -> None:
        self._paths, self._limits, self._out = paths, limits, out
        self._seen: State | None = None
        self._finished: State | None = None
        self._found = NOTHING_YET

    def look(self, reload: float | None = INTERVAL) -> Report | None:
        """Write the report if anything has changed.

        Args:
            reload: as of `write_report`.

        Returns:
            The report; None where there was nothing new, or there is no run yet.
        """
        now = _state(self._paths)
        if now == self._seen and reload is not None:
            return None
        try:
            collection = read_runs(self._paths)
        except ConfigError:
            return None
        folder = report_folder(collection, self._out)
        report = write_report(
            self._paths, collection, self._findings(collection, folder), folder, reload
        )
        self._seen = now
        return report

    def _findings(self, collection: Collection, folder: Path) -> Findings:
        """Figures and verdicts are made anew only where another run has finished."""
        finished = _state([run.path for run in collection.finished])
        if finished != self._finished:
            self._found = find(collection, self._limits, folder) if finished else NOTHING_YET
            self._finished = finished
        return self._found


def _state(paths: Sequence[Path]) -> State:
    """What would be different if a run had written anything, or nobody were at it any more."""
    folders = (folder for path in paths if path.is_dir() for folder in run_folders(path))
    found = set()
    for folder in folders:
        found.add((str(folder), int(owner_of(folder) is not None), 0))  # it may have been killed
        for name in ("curves.jsonl", "status.json"):
            try:
                about = (folder / name).stat()
            except OSError:  # not there yet, or moved away this moment
                continue
            found.add((str(folder / name), about.st_mtime_ns, about.st_size))
    return frozenset(found)


def watch(paths: Sequence[Path], limits: Thresholds, out: Path | None) -> Report | None:
    """Keep a report current until Ctrl-C; a second one does not wait for the last page.

    Returns:
        The last one, whose page no longer loads itself anew; None if there never was a run.
    """
    kept = Watch(paths, limits, out)
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if ended.is_set():
            raise KeyboardInterrupt
        ended.set()
        note("ending; the page is written once more")

    before = signal.signal(signal.SIGINT, end)
    note(f"watching {', '.join(map(str, paths))}; Ctrl-C ends")
    said = ""
    try:
        while not ended.is_set():
            began = time.monotonic()
            report = kept.look()
            what = f"open {report.folder / PAGE} in a browser" if report else "no run there yet"
            if (report and said != what) or not said:
                note(what)
                said = what
            ended.wait(max(INTERVAL, (time.monotonic() - began) / BUSY))
        return kept.look(reload=None)
    finally:
        signal.signal(signal.SIGINT, before)
