"""Where the time of a run goes: python train.py debug=profile"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from skewlab.training.module import ImbalanceClassifier

# Rows of PyTorch's own table, and steps that it is of.
OPERATIONS, WATCHED_STEPS = 15, 16
BETWEEN = "batches, seeds, schedule, Lightning"


class Profiler:
    """Adds up what each part of training takes, from the second epoch on; and in the last epoch has
    PyTorch write down the operations of the first steps, which costs too much to be timed as well.

    Parts follow one another, so each is the time since the one before it ended; the device has
    finished its work by then. Nothing is measured, and nothing costs anything, where there is none.

    Args:
        folder: has `profile.txt` at the end, and `trace.json` of the operations, for
            ui.perfetto.dev or chrome://tracing.
        say: told the table.

    Attributes:
        seconds: of each part.
        steps: measured.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self.seconds: dict[str, float] = {}
        self.steps = 0
        self._counts = False
        self._last = 0.0
        self._wait: Callable[[], None] = lambda: None
        self._operations: torch.profiler.profile | None = None
        self._table = ""

    def around(self, *callbacks: tuple[str, pl.Callback]) -> list[pl.Callback]:
        """Callbacks with a mark before the first one and after each, by what their time is."""
        marked: list[pl.Callback] = [_Begin(self)]
        for part, callback in callbacks:
            marked += [callback, _Mark(self, part)]
        return marked

    def mark(self, part: str) -> None:
        """What has passed since the last mark was this part's."""
        self._wait()
        now = time.perf_counter()
        if self._counts:
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now

    def begin(self, trainer: pl.Trainer, module: ImbalanceClassifier) -> None:
        """Have the parts of a step tell when they end."""
        if module.device.type == "cuda":
            self._wait = torch.cuda.synchronize

        def after(child: nn.Module, before: str, part: str) -> None:
            child.register_forward_pre_hook(lambda *_: self._in_step(module, before))
            child.register_forward_hook(lambda *_: self._in_step(module, part))

        after(module.augment, BETWEEN, "augmentation")
        after(module.normalise, BETWEEN, "normalisation")
        after(module.network, BETWEEN, "network, forward")
        after(module.objective.loss, BETWEEN, "loss")
        (optimizer,) = trainer.optimizers
        optimizer.register_step_pre_hook(lambda *_: self.mark("backward"))
        optimizer.register_step_post_hook(lambda *_: self._stepped())

    def _in_step(self, module: nn.Module, part: str) -> None:
        if module.training:  # an evaluation is a part of its own
            self.mark(part)

    def _stepped(self) -> None:
        self.mark("optimiser")
        self.steps += self._counts

    def epoch(self, number: int, last: int) -> None:
        """An epoch begins.

        Args:
            number: it, from 0.
            last: epochs in all.
        """
        self._counts = 0 < number < last - 1
        self._last = time.perf_counter()
        if number == last - 1:
            self._counts = False
            self._operations = torch.profiler.profile()
            self._operations.start()

    def stretch_ended(self) -> None:
        """PyTorch has seen enough."""
        if self._operations is None:
            return
        self._operations.stop()
        by = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        self._table = self._operations.key_averages().table(sort_by=by, row_limit=OPERATIONS)
        self._operations.export_chrome_trace(str(self._folder / "trace.json"))
        self._operations = None

    def end(self) -> None:
        """Write the tables; none for a run that was resumed in its last epoch."""
        if not self.steps:
            return
        whole = sum(self.seconds.values())
        width = max(map(len, self.seconds))
        lines = [f"{'part':{width}}  seconds  share  ms a step"]
        for part, seconds in sorted(self.seconds.items(), key=lambda item: -item[1]):
            each = 1000 * seconds / self.steps
            lines.append(f"{part:{width}}  {seconds:7.2f}  {seconds / whole:5.1%}  {each:9.3f}")
        lines.append(f"{'all':{width}}  {whole:7.2f}         {1000 * whole / self.steps:9.3f}")
        lines.append(f"{self.steps} steps, without those of the first and the last epoch")
        text = "\n".join(lines)
        self._say(text)
        operations = f"PyTorch's operations in the last epoch's first steps:\n{self._table}"
        (self._folder / "profile.txt").write_text(f"{text}\n\n{operations}\n", encoding="utf-8")


class _Begin(pl.Callback):
    """Comes first: what passed up to here was training's own."""

    def __init__(self, profiler: Profiler) -> None:
        self._profiler = profiler

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        others = data.pauses_after
        last = (int(trainer.max_epochs or 1) - 1) * data.steps_per_epoch
        data.pauses_after = lambda step: step == last + WATCHED_STEPS or others(step)

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._profiler.begin(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._profiler.epoch(trainer.current_epoch, int(trainer.max_epochs or 1))

    def on_train_batch_end(self, *_: Any) -> None:
        self._profiler.mark(BETWEEN)
        self._profiler.stretch_ended()

    def on_train_epoch_end(self, *_: Any) -> None:
        self._profiler.mark(BETWEEN)

    def on_train_end(self, *_: Any) -> None:
        self._profiler.end()


class _Mark(pl.Callback):
    """Comes after another one."""

    def __init__(self, profiler: Profiler, part: str) -> None:
        self._profiler, self._part = profiler, part

    def on_train_batch_end(self, *_: Any) -> None:
        self._profiler.mark(self._part)

    def on_train_epoch_end(self, *_: Any) -> None:
        self._profiler.mark(self._part)
