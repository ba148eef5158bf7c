"""Runs the probes of a run: hands each what it looks at, keeps what it finds, and its time."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from skewlab.data.batches import Batch
from skewlab.data.datamodule import ImbalancedDataModule
from skewlab.probes.probe import Found, Moment, Outputs, Probe
from skewlab.training.module import ImbalanceClassifier

Keep = Callable[[str, int, Found], None]


class Probes:
    """The probes that are switched on.

    Args:
        probes: by name.
        keep: told of everything that is found: the probe's name, the step, and what.

    Attributes:
        seconds: what each has cost so far, in this process.
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
        """Whether some probe looks at every step."""
        return bool(self._step_by_step)

    def wants(self, moment: Moment) -> set[str]:
        """The splits whose outputs some probe needs at a moment."""
        return {split for probe in self._probes.values() for split in probe.wants(moment)}

    def begin(self, step: int, module: ImbalanceClassifier, data: ImbalancedDataModule) -> None:
        """Before the first step, or the first one after an interruption."""
        for name, probe in self._probes.items():
            with self._undisturbed(name, module):
                found = probe.begin(module, data)
            if not step:
                self._told(name, step, found)

    def before_step(self, step: int, batch: Batch, module: ImbalanceClassifier) -> None:
        """Before an update."""
        for name, probe in self._step_by_step.items():
            with self._undisturbed(name, module):
                found = probe.before_step(step, batch, module)
            self._told(name, step, found)

    def after_step(self, step: int, module: ImbalanceClassifier) -> None:
        """After an update."""
        for name, probe in self._step_by_step.items():
            with self._undisturbed(name, module):
                found = probe.after_step(step, module)
            self._told(name, step, found)

    def measure(
        self, moment: Moment, outputs: Mapping[str, Outputs], module: ImbalanceClassifier
    ) -> None:
        """After an evaluation. A network that has diverged, whose outputs are no numbers, is not
        measured: the run is about to end for that reason, not for a probe's."""
        if not all(
            np.isfinite(seen.features).all() and np.isfinite(seen.logits).all()
            for seen in outputs.values()
        ):
            return
        for name, probe in self._probes.items():
            wanted = probe.wants(moment)
            if wanted and set(wanted) <= set(outputs):
                with self._undisturbed(name, module):
                    found = probe.measure(moment, outputs, module)
                self._told(name, moment.step, found)

    def end(self, data: ImbalancedDataModule) -> None:
        """After the last evaluation."""
        for name, probe in self._probes.items():
            began = time.perf_counter()
            probe.end(data)
            self.seconds[name] += time.perf_counter() - began

    def state_dict(self) -> dict[str, dict[str, object]]:
        """What the probes need to go on after an interruption."""
        return {name: probe.state_dict() for name, probe in self._probes.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, object]]) -> None:
        """Go on from there."""
        for name, probe in self._probes.items():
            probe.load_state_dict(state[name])

    def _told(self, name: str, step: int, found: Found | None) -> None:
        if found is not None:
            self._keep(name, step, found)

    @contextlib.contextmanager
    def _undisturbed(self, name: str, module: ImbalanceClassifier) -> Iterator[None]:
        """Count the time of a probe, and leave the random streams and the mode as they were."""
        began, training = time.perf_counter(), module.training
        devices = [module.device] if module.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            yield
        if module.training != training:
            module.train(training)
        self.seconds[name] += time.perf_counter() - began
