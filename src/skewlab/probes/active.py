"""Calls a run's probes, passes on what they find, and measures their time."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytorch_lightning as pl
import torch

from skewlab.data.batches import Batch
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.probes.probe import Found, Moment, Probe, SplitOutputs, check_found, wanted_splits

Keep = Callable[[str, int, Found], None]


class ActiveProbes:
    """The probes that are switched on.

    Args:
        probes: by name.
        keep: called with each finding: the probe's name, the step, and what was found.

    Attributes:
        seconds: the time that each probe has taken so far, in this process.
    """

    def __init__(self, probes: Mapping[str, Probe], keep: Keep) -> None:
        self._probes, self._keep = dict(probes), keep
        self._step_by_step = {
            name: probe
            for name, probe in probes.items()
            if type(probe).before_step is not Probe.before_step
            or type(probe).after_step is not Probe.after_step
        }
        self.seconds = dict.fromkeys(probes, 0.0)

    @property
    def every_step(self) -> bool:
        """Whether a probe is called at every step."""
        return bool(self._step_by_step)

    def wants(self, moment: Moment) -> set[str]:
        """The splits whose outputs a probe needs at this moment."""
        return {
            split
            for name, probe in self._probes.items()
            for split in wanted_splits(name, probe, moment)
        }

    def begin(self, step: int, module: pl.LightningModule, data: ImbalancedDataModule) -> None:
        """Called before the first step, and before the first step of a resumed run."""
        for name, probe in self._probes.items():
            with self._undisturbed(name, module):
                found = probe.begin(module, data)
            if not step:
                self._pass_on(name, step, found)

    def before_step(self, step: int, batch: Batch, module: pl.LightningModule) -> None:
        """Called before an update."""
        for name, probe in self._step_by_step.items():
            with self._undisturbed(name, module):
                found = probe.before_step(step, batch, module)
            self._pass_on(name, step, found)

    def after_step(self, step: int, module: pl.LightningModule) -> None:
        """Called after an update."""
        for name, probe in self._step_by_step.items():
            with self._undisturbed(name, module):
                found = probe.after_step(step, module)
            self._pass_on(name, step, found)

    def measure(
        self, moment: Moment, outputs: Mapping[str, SplitOutputs], module: pl.LightningModule
    ) -> None:
        """Called after an evaluation. A network whose outputs are not finite has diverged. It is
        not measured, so that the run ends for this reason and not with the error of a probe."""
        if not all(
            np.isfinite(seen.features).all() and np.isfinite(seen.logits).all()
            for seen in outputs.values()
        ):
            return
        for name, probe in self._probes.items():
            wanted = wanted_splits(name, probe, moment)
            if wanted and wanted <= set(outputs):
                with self._undisturbed(name, module):
                    found = probe.measure(moment, outputs, module)
                self._pass_on(name, moment.step, found)

    def end(self, data: ImbalancedDataModule) -> None:
        """Called after the last evaluation."""
        for name, probe in self._probes.items():
            began = time.perf_counter()
            probe.end(data)
            self.seconds[name] += time.perf_counter() - began

    def state_dict(self) -> dict[str, dict[str, object]]:
        """What the probes need in a resumed run."""
        return {name: probe.state_dict() for name, probe in self._probes.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, object]]) -> None:
        """Restore the state in a resumed run."""
        for name, probe in self._probes.items():
            probe.load_state_dict(state[name])

    def _pass_on(self, name: str, step: int, found: Found | None) -> None:
        if found is not None:
            check_found(f"curves.probes.{name}", found)
            self._keep(name, step, found)

    @contextlib.contextmanager
    def _undisturbed(self, name: str, module: pl.LightningModule) -> Iterator[None]:
        """Measure the time of a probe, and restore the random streams and the mode after it."""
        began, training = time.perf_counter(), module.training
        devices = [module.device] if module.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            yield
        if module.training != training:
            module.train(training)
        self.seconds[name] += time.perf_counter() - began
