"""A report that is kept current while a sweep runs."""

import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from skewlab.errors import ConfigError
from skewlab.report.build import PAGE, Report, find, report_folder, write_report
from skewlab.report.claims import Claim
from skewlab.report.findings import NOTHING_YET, Findings
from skewlab.report.read import Collection, read_runs, run_folders
from skewlab.report.sections.section import PageSection
from skewlab.report.thresholds import Thresholds
from skewlab.runs.lock import owner_of
from skewlab.terminal import note

# Seconds between two looks at the runs, and after which the page in a browser loads itself again.
INTERVAL = 5.0
# Looking takes at most this share of the time: a look that takes long is followed by a long pause.
BUSY = 0.25
# For each file of a run its path, time and size; for each run whether a process trains it.
State = frozenset[tuple[str, int, int]]


class Watch:
    """Writes a report again whenever the runs have something new.

    Args:
        paths: studies, runs, or folders that hold them; they need not be there yet.
        thresholds, folder, claims, sections, paper: as of `build_report`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        thresholds: Thresholds,
        folder: Path | None,
        claims: Sequence[Claim] = (),
        sections: Sequence[PageSection] = (),
        *,
        paper: bool = False,
    ) -> None:
        self._paths, self._thresholds = paths, thresholds
        self._folder, self._claims, self._sections = folder, claims, sections
        self._paper = paper
        self._seen: State | None = None
        self._finished: State | None = None
        self._found = NOTHING_YET

    def look(self, reload: float | None = INTERVAL) -> Report | None:
        """Write the report if anything has changed, or if `reload` is None.

        Args:
            reload: as of `write_report`.

        Returns:
            The report; None if nothing was written, or there is no run yet.
        """
        now = _state(self._paths)
        if now == self._seen and reload is not None:
            return None
        try:
            collection = read_runs(self._paths)
        except ConfigError:
            return None
        folder = report_folder(collection, self._folder)
        report = write_report(
            self._paths, collection, self._findings(collection, folder), folder, reload
        )
        self._seen = now
        return report

    def _findings(self, collection: Collection, folder: Path) -> Findings:
        """Verdicts, figures and tables; they are made again only when another run has finished."""
        finished = _state([run.path for run in collection.finished])
        if finished != self._finished:
            self._found = NOTHING_YET
            if finished:
                self._found = find(
                    collection,
                    self._thresholds,
                    folder,
                    self._claims,
                    self._sections,
                    paper=self._paper,
                )
            self._finished = finished
        return self._found


def _state(paths: Sequence[Path]) -> State:
    """Changes when a run writes anything, and when a process begins or ends to train one."""
    folders = (folder for path in paths if path.is_dir() for folder in run_folders(path))
    found = set()
    for folder in folders:
        found.add((str(folder), int(owner_of(folder) is not None), 0))
        for name in ("curves.jsonl", "status.json"):
            try:
                about = (folder / name).stat()
            except OSError:  # not there yet, or moved away this moment
                continue
            found.add((str(folder / name), about.st_mtime_ns, about.st_size))
    return frozenset(found)


def watch(
    paths: Sequence[Path],
    thresholds: Thresholds,
    folder: Path | None,
    claims: Sequence[Claim] = (),
    sections: Sequence[PageSection] = (),
    *,
    paper: bool = False,
) -> Report | None:
    """Keep a report current until Ctrl-C. It then writes the page a last time, which a second
    Ctrl-C stops.

    Args:
        paths: as of `Watch`.
        thresholds, folder, claims, sections, paper: as of `build_report`.

    Returns:
        The last report, whose page no longer loads itself again; None if there never was a run.
    """
    kept = Watch(paths, thresholds, folder, claims, sections, paper=paper)
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
