"""Weights & Biases: offline by default; online, it goes offline where the server does not work.

Whatever the server does, each row is in the run's record on disk within a second. What the server
has not got in the end, `wandb sync` uploads.
"""

import contextlib
import hashlib
import logging
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from skewlab.config.schema import RunConfig
from skewlab.loggers import SWEEP_VARIABLE, LoggerOff
from skewlab.loggers.ending import CLASSES, COLUMNS, CONFUSION, Ending
from skewlab.loggers.streamed import StreamedRun
from skewlab.privacy import shareable
from skewlab.runs import wandb_files
from skewlab.runs.folder import DIVERGED, FAILED, PREEMPTED, RunFolder
from skewlab.terminal import note

Mode = Literal["offline", "online"]
# What W&B's variables are set to, in capitals or not.
OFFLINE, TRUE = ("offline", "dryrun"), ("true", "1", "yes", "on")
# Seconds: for the server to answer at all, to begin a run, and to take its last rows.
REACH_TIMEOUT, BEGIN_TIMEOUT, END_TIMEOUT = 5.0, 20.0, 30.0
# Why this process no longer asks the server: it did not answer a job before.
_gave_up: str | None = None
# What is wrong with a variable of W&B's, which this process now does without.
_unread = ""
# What was said: all jobs of this process would say the same.
_said: set[str] = set()


class WandbRun(StreamedRun):
    """One W&B run for this job; its step is the training step.

    `mode=online` goes offline, and says so, where there is no key, no network or no answer. A run
    that the server has not got whole in the end is recorded again offline, from what is on disk.
    Started by `wandb agent`, the run is the one that the agent has given out.

    W&B's own variables are obeyed: WANDB_MODE=offline keeps it offline, WANDB_MODE=disabled or
    WANDB_DISABLED=true switches it off. One that W&B cannot read is left out, which is said, and
    keeps it offline. What W&B stages for a later upload lies in `<logs_dir>/.wandb-data`, unless
    WANDB_DATA_DIR says otherwise.

    Args:
        config: of the run.
        folder: of the run; W&B's record lies there too.
        mode: online or offline.
        project: on W&B.
        entity: the user or team it belongs to; None is the key's own.

    Raises:
        LoggerOff: W&B is switched off.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        *,
        mode: Mode,
        project: str,
        entity: str | None = None,
    ) -> None:
        if reason := _switched_off():
            _say_once(f"{reason}: nothing is logged to W&B")
            raise LoggerOff(reason)
        for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):  # a home may not be writable
            os.environ.setdefault(variable, str(Path(config.logs_dir).resolve() / ".wandb-data"))
        import wandb

        unread = _leave_out_unreadable(wandb)
        super().__init__(wandb, folder)
        names = [config.data.name, config.model.get("name", "model"), config.method.name]
        self._about = {
            "group": config.study,
            "job_type": "train",
            "name": folder.name,
            "tags": [str(name) for name in names],
            "config": {"setting": setting_of(config), **shareable(config.model_dump())},
        }
        # The time axis of these names' charts is the epoch.
        self._sections = ("train", "val", "test", "gap", *config.curves.probes)
        self._place = {"project": project, "entity": entity, "id": _run_id(config, folder)}
        if SWEEP_VARIABLE in os.environ:  # the agent has chosen them
            mode, self._place = "online", {}
        # A record that broke off is written anew.
        wandb_files.remove(folder.path)
        self._online = mode == "online"
        if self._online:
            self._begin_online(unread)
        else:
            if unread:
                _say_once(f"{unread}; W&B records without it")
            self._begin("offline")

    def _begin_online(self, unread: str) -> None:
        """Begin the run on the server, or offline where that is not possible."""
        global _gave_up
        library = self._library
        try:
            if unread:
                raise OSError(unread)
            if _mode() in OFFLINE:
                raise OSError(f"WANDB_MODE={os.environ['WANDB_MODE']}")
            if _gave_up:
                raise OSError(_gave_up)
            _ask(library.setup(settings=library.Settings(silent=True)).settings.base_url)
            self._begin("online", resume="allow")
        except (library.Error, OSError) as error:
            reason = " ".join(str(error).split())
            if isinstance(error, library.errors.CommError):
                _gave_up = reason
            _say_once(f"W&B stays offline ({reason}); how to upload is said at the end")
            self._begin_again_offline()

    def _begin(self, mode: Mode, **options: Any) -> None:
        run = self._library.init(
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
                # What is uploaded says nothing of the person and the machine.
                host="",
                x_disable_meta=True,
            ),
            **self._about,
            **self._place,
            **options,
        )
        self._log_to(run)
        self._record = Path(run.dir).parent
        wandb_files.add(self._record)
        run.define_metric("epoch", hidden=True)
        for section in self._sections:
            run.define_metric(f"{section}/*", step_metric="epoch")

    def end(self, ending: Ending) -> None:
        """Show the class table, the confusion matrix, the pictures and the summary, and end the
        run: the next job of the process begins its own."""
        # On a full disk the library's own log would print tracebacks that hide the job's error.
        logging.raiseExceptions = ending.state != FAILED
        try:
            self._close(ending)
        except Exception as error:
            if ending.state == PREEMPTED:  # the run goes on later and is told again
                raise
            reason = " ".join(str(error).split())
            note(f"W&B has not got all of {self._folder.name} ({reason}); kept for later upload")
            self._begin_again_offline()
            for row in ending.rows():
                step = int(row.pop("step"))
                self._log(row, step)
            self._close(ending)
        finally:
            logging.raiseExceptions = True

    def _close(self, ending: Ending) -> None:
        failed = ending.state in (FAILED, PREEMPTED)
        try:
            if ending.state == PREEMPTED:
                self._run.mark_preempting()
            if ending.has_results:
                self._summarise(ending)
                if self._online:
                    # Tables wait for the server, and would wait for one that is gone.
                    _ask(self._run.settings.base_url)
                self._log_results(ending)
        finally:
            self._run.finish(exit_code=int(failed))
        if self._online:
            wandb_files.set_uploaded(self._record)

    def _begin_again_offline(self) -> None:
        """Begin the record anew. The library's service is restarted too: it may still wait for a
        server, or be what has failed."""
        with contextlib.suppress(Exception):
            self._library.teardown()
        wandb_files.remove(self._folder.path)
        self._online = False
        self._begin("offline")

    def _summarise(self, ending: Ending) -> None:
        """The last numbers and those that are best on val; of single classes where they are
        streamed."""
        summary: dict[str, Any] = ending.streamed(ending.summary)
        summary.pop("step", None)
        if ending.state == DIVERGED:
            summary["state"] = DIVERGED
        self._run.summary.update(summary)

    def _log_results(self, ending: Ending) -> None:
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
            # W&B's own confusion matrix needs these names.
            columns = ["Actual", "Predicted", "nPredictions"]
            shown[CONFUSION] = library.plot_table(
                data_table=library.Table(columns=columns, data=cells),
                vega_spec_name="wandb/confusion_matrix/v1",
                fields={column: column for column in columns},
                string_fields={"title": "test samples at the last evaluation"},
            )
        self._log(shown, ending.step)


def setting_of(config: RunConfig) -> str:
    """What a run has in common with those of other seeds, in words: W&B groups by one key."""
    words = [config.method.name, config.model.get("name", "model"), config.data.name]
    if config.imbalance.control != "none":
        words.append(config.imbalance.control)
    if config.ratio is not None:
        words.append(f"ratio {config.ratio:g}")
    return ", ".join(map(str, words))


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        note(text)


def _switched_off() -> str | None:
    """The variable that switches W&B off; None where none does."""
    if _mode() == "disabled":
        return f"WANDB_MODE={os.environ['WANDB_MODE']}"
    disabled = os.environ.get("WANDB_DISABLED", "")
    return f"WANDB_DISABLED={disabled}" if disabled.lower() in TRUE else None


def _mode() -> str:
    return os.environ.get("WANDB_MODE", "").strip().lower()


def _leave_out_unreadable(library: Any) -> str:
    """Take variables out of this process's environment that the library fails on.

    Returns:
        What is wrong with them; empty if nothing is, or was in an earlier job.
    """
    global _unread
    if _mode():
        os.environ["WANDB_MODE"] = _mode()
    for variable in ("WANDB_MODE", "WANDB_BASE_URL"):
        if os.environ.get(variable) == "":
            del os.environ[variable]
    try:
        library.setup(settings=library.Settings(silent=True))
    except Exception:
        for variable, value in list(os.environ.items()):
            field = variable.removeprefix("WANDB_").lower()
            if variable == field or field not in library.Settings.model_fields:
                continue
            try:
                library.Settings(**{field: value})
            except Exception as error:
                reasons = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
                _unread = f"{variable}={value}: {' '.join(str(reasons).split())}"
                del os.environ[variable]
    return _unread


def _run_id(config: RunConfig, folder: RunFolder) -> str:
    """The same for a run that goes on after an interruption. It begins with ratio and seed: W&B's
    tools show it in lists and paths."""
    identity = f"{config.study}/{folder.name}/{folder.created}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return f"{config.ratio_label}-seed{config.seed}-{digest}"


def _ask(address: str) -> None:
    """Ask the server for any answer: the library itself would try for a minute and a half.

    Raises:
        OSError: nothing answers.
    """
    try:
        # A new opener: the module's own keeps the proxies of its first use.
        urllib.request.build_opener().open(address, timeout=REACH_TIMEOUT).close()
    except urllib.error.HTTPError:
        pass  # an answer
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise OSError(f"{address} cannot be reached: {reason}") from error
