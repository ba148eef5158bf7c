"""Runs as they lie on disk, finished or not."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.config.schema import NATURAL, NO_RESULT
from skewlab.errors import ConfigError, Damaged
from skewlab.metrics.scores import FloatArray, mean_of_present
from skewlab.report.curves import Curves, stack
from skewlab.report.statistics import SOURCES, OnTest, Seeds, on_test
from skewlab.runs.curve_file import read_curves
from skewlab.runs.folder import BEFORE, DIVERGED, DONE, ENDED, FAILED, PREEMPTED, RUNNING
from skewlab.runs.lock import owner_of
from skewlab.runs.predictions import read_predictions
from skewlab.runs.reading import (
    read_config,
    read_data,
    read_json,
    read_status,
    verify,
)

NO_CONTROL = "none"
SWAPPED = "swapped_roles"
# Controls that are other training sets, and those that are other lengths of training.
OF_DATA = ("same_total", "same_minority", SWAPPED)
OF_LENGTH = {"balanced": "equal_updates", "exposures": "equal_exposures"}
CONTROLS = (*OF_DATA[:2], *OF_LENGTH.values(), SWAPPED)
# Two runs whose configurations differ only in these keys, or below them, are of one setting.
NOT_IN_SETTING = NO_RESULT | {
    *("ratio", "seed", "data_seed", "init_seed", "order_seed"),
    *("control", "imbalance.control", "training.updates"),
    *("curves.probes", "method.post_hoc"),  # they measure and decide, and change no training
}
METHOD = "method."
METHOD_NAME = "method.name"
# The method that is nothing but cross-entropy: its name, and its other keys.
CROSS_ENTROPY_NAME = "ce"
CROSS_ENTROPY = {"method.loss._target_": "skewlab.methods.losses.CrossEntropy"}
GOES_ON = "the same command goes on from there"
# A folder with one of these files is taken for a run's.
RUN_FILES = ("config.yaml", "status.json", "curves.jsonl")


@dataclass(frozen=True)
class Run:
    """One run's folder, read.

    Attributes:
        path: the folder.
        state: how it ended or how far it is, see `runs.folder`.
        config: `config.yaml`; `config_text` is the file's text.
        data: `data.json`.
        status: `status.json`.
        curves: by split; empty where nothing was evaluated yet.
        probes: what probes measured, by their names.
    """

    path: Path
    state: str
    config: dict[str, Any]
    config_text: str
    data: dict[str, Any]
    status: dict[str, Any]
    curves: dict[str, Curves]
    probes: dict[str, Curves]

    @property
    def reason(self) -> str | None:
        """Why it failed or diverged."""
        reason = self.status.get("reason")
        return None if reason is None else str(reason)

    @cached_property
    def ratio(self) -> float:
        """The ratio that was asked for, or that the asked counts have, to four digits or to a whole
        number. The counts of some controls are balanced: they are compared with the runs of this
        ratio."""
        asked = self.config.get("ratio")
        if isinstance(asked, int | float):
            return float(asked)
        exact = float(self.data.get("imbalanced_ratio", self.data["ratio"]))
        return float(f"{exact:.4g}") if exact < 1000 else float(round(exact))

    @property
    def is_natural(self) -> bool:
        """Whether it is trained on the counts that the data have."""
        return self.config.get("ratio") == NATURAL

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @cached_property
    def seed_key(self) -> Seeds:
        """The seeds of the subset, the weights and the order: two runs with the same ones can be
        paired."""
        return tuple(int(self.config[key]) for key in SOURCES)

    @property
    def data_name(self) -> str:
        return str(self.config["data"]["name"])

    @property
    def samples(self) -> tuple[tuple[str, ...], str | None]:
        """What tells two data sets of one name apart: their classes, and their fingerprint."""
        return tuple(self.data["class_names"]), self.data.get("fingerprint")

    @property
    def counts(self) -> list[int]:
        """Training samples of each class, in label order."""
        return [int(count) for count in self.data["train_counts"]]

    @cached_property
    def post_hoc(self) -> dict[str, Any]:
        """`post_hoc.json`, see `skewlab.training.post_hoc_rules`; empty for a run without
        post-hoc rules. Read when it is first asked for.

        Raises:
            Damaged: the file cannot be read.
        """
        path = self.path / "post_hoc.json"
        return read_json(path) if self.has_rules and path.exists() else {}

    @cached_property
    def rankings(self) -> dict[str, Any]:
        """`rankings.json`, see `skewlab.training.final_rankings`; empty for a run without. Read
        when it is first asked for.

        Raises:
            Damaged: the file cannot be read.
        """
        path = self.path / "rankings.json"
        return read_json(path) if path.exists() else {}

    @cached_property
    def control(self) -> str:
        """Which control the run is; `none` for a run of the study itself."""
        imbalance = self.config["imbalance"]
        if imbalance.get("control", NO_CONTROL) != NO_CONTROL:
            return str(imbalance["control"])
        updates = (self.config.get("training") or {}).get("updates")
        return OF_LENGTH.get(str(updates), NO_CONTROL)

    @cached_property
    def predictions(self) -> dict[str, NDArray[np.int64]]:
        """`predictions.npz`: the predicted class of each test sample by the trained network, and
        its label; empty for a run without.

        Raises:
            Damaged: the file cannot be read.
        """
        return read_predictions(self.path, len(self.counts))

    def on_test(self, weights: FloatArray, recall: FloatArray | None = None) -> OnTest:
        """How the test sample enters a number of this run.

        Args:
            weights: derivative of the number by the recall of each class on test, shape [classes].
            recall: of each class, where it is not the network's own.
        """
        values = self.curves["test"].values
        recall = values["recall"][-1] if recall is None else recall
        labels, correct, at_end = self._each_on_test
        # Another head, or the epoch that is best on val, has other predictions.
        if (np.abs(at_end - np.nan_to_num(recall)) > 1e-5).any():
            labels = correct = None
        return on_test(weights, recall, values["n"][-1], correct, labels)

    @cached_property
    def _each_on_test(
        self,
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.bool_] | None, FloatArray]:
        """The label of each test sample, whether the trained network has it right, and the recall
        of each class by that; nothing where the predictions are of another test sample."""
        n = self.curves["test"].values["n"][-1]
        found = self.predictions
        if not found or not np.array_equal(np.bincount(found["label"], minlength=len(n)), n):
            return None, None, np.zeros(len(n))
        labels, correct = found["label"], found["label"] == found["predicted"]
        return labels, correct, np.bincount(labels, correct, minlength=len(n)) / np.maximum(n, 1)

    def class_weights(self, group: str) -> FloatArray:
        """One over the number of a group's classes, for each of them, shape [classes]."""
        weights = np.zeros(len(self.counts))
        members = self.groups[group]
        weights[members] = 1 / len(members)
        return weights

    def at_best_on_val(self) -> "Run | None":
        """The same run as if it had ended with the whole epoch that has the best balanced accuracy
        on val, the first of equals; None where there is no val split, or where it is the last."""
        if "val" not in self.curves:
            return None
        val = self.curves["val"]
        whole = (val.epoch > 0) & np.isclose(val.epoch, np.round(val.epoch))
        if not whole.any():
            return None
        score = np.asarray([mean_of_present(row) for row in val.values["recall"]])
        step = int(val.step[np.argmax(np.where(whole, score, -np.inf))])
        if step >= val.step[-1]:
            return None
        curves = {split: one.until(step) for split, one in self.curves.items()}
        return replace(self, curves=curves)

    def has_roles_of(self, other: "Run") -> bool:
        """Whether every class has the same group and number of samples, which each seed may draw
        for itself."""
        ours, theirs = (set(run.data["groups"]["minority"]) for run in (self, other))
        return ours == theirs and self.counts == other.counts

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """The classes of each group: majority, minority, and of many, medium and few those that
        have classes."""
        shots = {name: members for name, members in self.data.get("shots", {}).items() if members}
        return {**self.data["groups"], **shots}

    def group(self, split: str, metric: str, group: str) -> tuple[FloatArray, FloatArray]:
        """(epochs, values) of a group's curve."""
        curves = self.curves[split]
        return curves.epoch, curves.group(metric, self.groups[group])

    def probe_group(self, probe: str, name: str, group: str) -> FloatArray:
        """What a probe measured of a group, the mean over its classes, shape [measurements]."""
        return self.probes[probe].group(name, self.groups[group])

    def final(self, split: str, metric: str, group: str) -> float:
        """A group's value at the last evaluation."""
        members = self.groups[group]
        return mean_of_present(self.curves[split].values[metric][-1, members])

    def generalisation_gap(self, group: str) -> float:
        """A group's train recall minus its test recall, at the last evaluation."""
        return self.final("train", "recall", group) - self.final("test", "recall", group)

    @property
    def has_rules(self) -> bool:
        """Whether post-hoc rules are applied to the trained network."""
        return bool(self.config["method"].get("post_hoc"))

    @cached_property
    def is_cross_entropy(self) -> bool:
        """Whether it is trained with cross-entropy and nothing else against imbalance."""
        return {
            key: value
            for key, value in _flatten({"method": self.config["method"]})
            if key != METHOD_NAME
        } == CROSS_ENTROPY

    @cached_property
    def setting(self) -> dict[str, str]:
        """The keys and values that tell settings apart, with dotted keys; null is left out, as is
        a key that the run's configuration does not have.

        Post-hoc rules change no training: cross-entropy with a rule has the name of cross-entropy.
        """
        flat = dict(_flatten(self.config))
        # Which callbacks there are says more than each of their keys.
        if used := self.config.get("callbacks"):
            flat["callbacks.name"] = "+".join(sorted(used))
        else:
            flat["callbacks.name"] = "no callbacks"
        if self.has_rules and self.is_cross_entropy:
            flat[METHOD_NAME] = CROSS_ENTROPY_NAME
        return flat


@dataclass(frozen=True)
class Collection:
    """What was found.

    Attributes:
        runs: every run that has a configuration and data, whatever its state.
        left_out: what was not used, or only in part, and why; one line each.
    """

    runs: list[Run]
    left_out: list[str]

    @property
    def finished(self) -> list[Run]:
        """Runs that were trained to their end. Figures and claims are of these only."""
        return [run for run in self.runs if run.state == DONE and "train" in run.curves]

    @property
    def unfinished(self) -> dict[str, list[Run]]:
        """Runs that have curves and no end yet, by whether a process trains them now."""
        found: dict[str, list[Run]] = {"still training": [], "stopped": []}
        for run in self.runs:
            if run.state in (RUNNING, PREEMPTED) and {"train", "test"} <= set(run.curves):
                trains = run.state == RUNNING and owner_of(run.path) is not None
                found["still training" if trains else "stopped"].append(run)
        return found


def read_runs(paths: Sequence[Path]) -> Collection:
    """Read the runs at and below some paths. What cannot be read is left out, with the reason.

    Raises:
        ConfigError: there is no run at all.
    """
    runs: list[Run] = []
    left_out: list[str] = []
    for path in paths:
        folders = list(run_folders(path)) if path.is_dir() else []
        left_out += [f"{closed}: cannot be read" for closed in _closed(path)]
        if not folders:
            what = "holds no run" if path.is_dir() else "is no folder of a run or a study"
            left_out.append(f"{path}: {what}")
        for folder in folders:
            try:
                run, problems = read_run(folder)
            except Damaged as damage:
                left_out.append(str(damage))
                continue
            runs.append(run)
            left_out += problems
            if run.state != DONE:
                left_out.append(f"{folder}: {_why_not_used(run)}")
    if not runs:
        raise ConfigError(
            "\n".join(left_out) or "report: name a study's folder, such as logs/default"
        )
    return Collection(list({run.path.resolve(): run for run in runs}.values()), left_out)


def run_folders(path: Path) -> Iterable[Path]:
    """The folders of runs at, or at most two folders below, a path."""
    if any((path / name).exists() for name in RUN_FILES):
        yield path
        return
    for pattern in ("*", "*/*"):
        yield from sorted(
            folder
            for folder in {f.parent for known in RUN_FILES for f in path.glob(f"{pattern}/{known}")}
            if not _replaced(folder)
        )


def _closed(path: Path) -> Iterable[Path]:
    """The folders in a path, and the path itself, that may not be looked into."""
    try:
        inside = [entry for entry in sorted(path.iterdir()) if entry.is_dir()]
    except OSError:
        return [path] if path.is_dir() else []
    return [entry for entry in inside if not os.access(entry, os.R_OK | os.X_OK)]


def _replaced(folder: Path) -> bool:
    """Whether a folder holds a run from before it was trained anew, and the new one is done."""
    name, before, number = folder.name.rpartition(BEFORE)
    if not before or not name.strip(".") or (number and not number.startswith("-")):
        return False
    try:
        return bool(read_status(folder.parent / name)["state"] == DONE)
    except Damaged:
        return False


def _why_not_used(run: Run) -> str:
    epoch = f"{run.curves['train'].epoch[-1]:g}" if "train" in run.curves else "0"
    why = f"{run.state} ({run.reason})"
    if run.state == RUNNING:
        owner = owner_of(run.path)
        how = f"being trained by {owner}" if owner else f"killed; {GOES_ON}"
        why = f"unfinished at epoch {epoch} ({how})"
    elif run.state == PREEMPTED:
        why = f"unfinished at epoch {epoch} ({run.reason}; {GOES_ON})"
    elif run.state == DIVERGED:
        why = str(run.reason)
    return f"{why}; not in figures and claims"


def read_run(path: Path) -> tuple[Run, list[str]]:
    """One run's folder, and what of its curves could not be read, one line each.

    Raises:
        Damaged: its configuration, data or status is missing or cannot be read; or it is done, and
            a file is not what it wrote.
    """
    status = read_status(path)
    state = str(status["state"])
    config, text = read_config(path)
    if not (path / "data.json").exists() and state not in ENDED:
        raise Damaged(
            path,
            f"failed before it had data: {status.get('reason')}"
            if state == FAILED
            else "it has only just begun",
        )
    data = read_data(path)
    if state in ENDED:
        verify(path, status)
    lines, problems = read_curves(path, classes=len(data["train_counts"]))
    by_split: dict[str, list[dict[str, Any]]] = {}
    by_probe: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        kind = by_probe if "probe" in line else by_split
        kind.setdefault(line["probe" if "probe" in line else "split"], []).append(line)
    try:
        curves = {split: stack(lines) for split, lines in by_split.items()}
        probes = {probe: stack(lines) for probe, lines in by_probe.items()}
    except ValueError as error:
        reason = "its lines do not have the same shapes"
        raise Damaged(path / "curves.jsonl", reason) from error
    return Run(path, state, config, text, data, status, curves, probes), problems


def _flatten(section: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and values of what tells settings apart."""
    for name, value in section.items():
        key = f"{before}{name}"
        if key in NOT_IN_SETTING or value is None:
            continue
        if isinstance(value, dict):
            yield from _flatten(value, f"{key}.")
        else:
            yield key, str(value)
