"""Weights & Biases: offline by default, online with a way back.

Whatever the server does, each row is written to the run's own record on disk, within a second.
What the server has not got in the end, `wandb sync` uploads.
"""

import contextlib
import hashlib
import logging
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Literal

from skewlab.config.schema import RunConfig
from skewlab.loggers import SWEEP_VARIABLE
from skewlab.loggers.ending import CLASSES, COLUMNS, CONFUSION, Ending
from skewlab.loggers.streamed import StreamedRun
from skewlab.runs import wandb_files
from skewlab.runs.folder import DIVERGED, FAILED, PREEMPTED, RunFolder
from skewlab.terminal import note

Mode = Literal["offline", "online"]
# Seconds: for the server to answer at all, to begin a run, and to take its last rows.
REACH_TIMEOUT, BEGIN_TIMEOUT, END_TIMEOUT = 5.0, 20.0, 30.0
# Why this process no longer asks a server that took so long to say nothing.
_gave_up: str | None = None
# Why jobs of this process stay offline, as far as that was said.
_said: set[str] = set()


class WandbRun(StreamedRun):
    """One W&B run for this job; its step is the training step.

    `mode=online` falls back to offline, and says so, where there is no key, no network or no
    answer; a run that the server has not got whole in the end is recorded offline again from what
    is on disk. Started by `wandb agent`, the run is the one that the agent has given out.

    Args:
        settings: the run.
        folder: its folder, where W&B's own record lies too.
        mode: online or offline.
        project: on W&B.
        entity: the user or team it belongs to; None is the key's own.
    """

    def __init__(
        self,
        settings: RunConfig,
        folder: RunFolder,
        *,
        mode: Mode,
        project: str,
        entity: str | None = None,
    ) -> None:
        import wandb

        names = [settings.data.name, settings.model.get("name", "model"), settings.method.name]
        self._about = {
            "group": settings.study,
            "job_type": "train",
            "name": folder.name,
            "tags": [str(name) for name in names],
            "config": settings.model_dump(),
        }
        # Whose time axis is the epoch.
        self._sections = ("train", "val", "test", "gap", *settings.curves.probes)
        # An agent has chosen these.
        self._place = {"project": project, "entity": entity, "id": _run_id(settings, folder)}
        if SWEEP_VARIABLE in os.environ:
            mode, self._place = "online", {}
        self._online = mode == "online"
        # A record that broke off is written anew.
        wandb_files.remove(folder.path)
        super().__init__(wandb, None, folder)
        if not self._online:
            self._begin("offline")
            return
        global _gave_up
        try:
            if _gave_up:
                raise OSError(_gave_up)
            _reach(wandb.setup(settings=wandb.Settings(silent=True)).settings.base_url)
            self._begin("online", resume="allow")
        except (wandb.Error, OSError) as error:
            reason = " ".join(str(error).split())
            if isinstance(error, wandb.errors.CommError):
                _gave_up = reason
            if reason not in _said:  # by another job of this process
                _said.add(reason)
                note(f"W&B stays offline ({reason}); how to upload is said at the end")
            self._begin_again_offline()

    def _begin(self, mode: Mode, **options: Any) -> None:
        self._run = run = self._library.init(
            mode=mode,
            dir=self._folder.path,
            settings=self._library.Settings(
                silent=True,
                console="off",
                init_timeout=BEGIN_TIMEOUT,
                finish_timeout=END_TIMEOUT,
                finish_timeout_raises=True,
                # A job that is killed loses no more than this of its record.
                x_transaction_log_flush_interval=1.0,
            ),
            **self._about,
            **self._place,
            **options,
        )
        self._record = Path(run.dir).parent
        wandb_files.add(self._record)
        run.define_metric("epoch", hidden=True)
        for section in self._sections:
            run.define_metric(f"{section}/*", step_metric="epoch")

    def end(self, ending: Ending) -> None:
        """Show the class table, the confusion matrix, the pictures and the summary, and end the
        run: the next job of the process begins its own."""
        # On a full disk the library's own log would bury under tracebacks what the job has to say.
        logging.raiseExceptions = ending.state != FAILED
        try:
            self._close(ending)
        except Exception as error:
            if ending.state == PREEMPTED:  # it will be told anew
                raise
            reason = " ".join(str(error).split())
            note(f"W&B has not got all of {self._folder.name} ({reason}); kept for later upload")
            self._record_again(ending)
        finally:
            logging.raiseExceptions = True

    def _close(self, ending: Ending) -> None:
        failed = ending.state in (FAILED, PREEMPTED)
        try:
            if ending.state == PREEMPTED:
                self._run.mark_preempting()
            if ending.shows:
                self._summarise(ending)
                if self._online:
                    # Tables wait for the server's answer, or in vain.
                    _reach(self._run.settings.base_url)
                self._show(ending)
        finally:
            self._run.finish(exit_code=int(failed))
        if self._online:
            wandb_files.set_uploaded(self._record)

    def _begin_again_offline(self) -> None:
        """Begin the record anew; so is the library's service, which still waits for a server, or
        may be what has failed."""
        with contextlib.suppress(Exception):
            self._library.teardown()
        wandb_files.remove(self._folder.path)
        self._online = False
        self._begin("offline")

    def _record_again(self, ending: Ending) -> None:
        """Write the whole run to an offline record, out of what is on disk."""
        self._begin_again_offline()
        for row in ending.rows():
            self.log_metrics({k: v for k, v in row.items() if k != "step"}, int(row["step"]))
        self._close(ending)

    def _summarise(self, ending: Ending) -> None:
        """The final figures and those that are best on val; single classes as far as they are
        streamed."""
        summary: dict[str, Any] = {k: v for k, v in ending.summary.items() if k != "step"}
        if not ending.streams_classes:
            summary = {k: v for k, v in summary.items() if "/class/" not in k}
        if ending.state == DIVERGED:
            summary["state"] = DIVERGED
        self._run.summary.update(summary)

    def _show(self, ending: Ending) -> None:
        library, names = self._library, [row.name for row in ending.classes]
        rows = [list(row) for row in ending.classes]
        shown = {name: library.Image(str(path)) for name, path in ending.pictures().items()}
        shown[CLASSES] = library.Table(columns=list(COLUMNS), data=rows)
        if (counts := ending.confusion) is not None:
            cells = [
                [true, predicted, int(counts[row, column])]
                for row, true in enumerate(names)
                for column, predicted in enumerate(names)
            ]
            # W&B's own confusion matrix, which wants the counts under these names.
            columns = ["Actual", "Predicted", "nPredictions"]
            shown[CONFUSION] = library.plot_table(
                data_table=library.Table(columns=columns, data=cells),
                vega_spec_name="wandb/confusion_matrix/v1",
                fields={column: column for column in columns},
                string_fields={"title": "test samples at the last evaluation"},
            )
        self._run.log(shown, step=ending.step)


def _run_id(settings: RunConfig, folder: RunFolder) -> str:
    """The run that was begun then, however often it was interrupted since. W&B's tools show it in
    lists and paths, so that it begins with what tells runs of a sweep apart."""
    identity = f"{settings.study}/{folder.name}/{folder.created}"
    ratio = "counts" if settings.ratio is None else f"ratio{settings.ratio:g}"
    return f"{ratio}-seed{settings.seed}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _reach(address: str) -> None:
    """Ask the server for anything at all: the library itself would try for a minute and a half.

    Raises:
        OSError: nothing answers.
    """
    try:
        # Its own opener: the module's keeps the proxies that were set when it was first used.
        urllib.request.build_opener().open(address, timeout=REACH_TIMEOUT).close()
    except urllib.error.HTTPError:
        pass  # an answer
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise OSError(f"{address} cannot be reached: {reason}") from error
