"""trackio: a dashboard on one's own machine, without an account."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skewlab.config.schema import RunConfig
from skewlab.loggers.ending import CLASSES, COLUMNS, CONFUSION, Ending
from skewlab.loggers.streamed import StreamedRun
from skewlab.privacy import shareable
from skewlab.runs.folder import RunFolder


class TrackioRun(StreamedRun):
    """A run in `<logs_dir>/trackio`; open with `TRACKIO_DIR=logs/trackio trackio show`.

    trackio keeps no summary: the last row is the last evaluation.
    """

    def __init__(self, config: RunConfig, folder: RunFolder, *, project: str) -> None:
        # trackio reads its folder once, when it is imported.
        os.environ.setdefault("TRACKIO_DIR", str(Path(config.logs_dir).resolve() / "trackio"))
        import trackio

        with _quiet():
            _delete_earlier(trackio, project, config.study, folder.name)
            run = trackio.init(
                project=project,
                name=folder.name,
                group=config.study,
                config=shareable(config.model_dump()),
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        super().__init__(trackio, folder)
        self._log_to(run)

    def end(self, ending: Ending) -> None:
        """Show the class table, the confusion matrix and the pictures, and close."""
        try:
            if ending.has_results:
                self._log_results(ending)
        finally:
            with _quiet():
                self._library.finish()

    def _log_results(self, ending: Ending) -> None:
        library = self._library
        shown = {name: library.Image(path) for name, path in ending.pictures().items()}
        rows = [list(row) for row in ending.classes]
        shown[CLASSES] = library.Table(columns=list(COLUMNS), data=rows)
        if (counts := ending.confusion) is not None:
            names = [row.name for row in ending.classes]
            data = [[name, *row] for name, row in zip(names, counts.tolist(), strict=True)]
            shown[CONFUSION] = library.Table(columns=["true class", *names], data=data)
        self._log(shown, ending.step)


def _delete_earlier(trackio: Any, project: str, study: str, name: str) -> None:
    """Delete what trackio has of a run that is trained again or goes on."""
    try:
        earlier = [run for run in trackio.Api().runs(project) if run.name == name]
    except ValueError:  # the project is new
        return
    for run in earlier:
        if (run.config or {}).get("study") == study:
            run.delete()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without trackio's greeting and goodbye on the terminal, for each run of a sweep."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
