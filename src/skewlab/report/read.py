"""Runs as they lie on disk, finished or not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from skewlab.config.schema import NO_RESULT
from skewlab.errors import ConfigError
from skewlab.metrics.scores import FloatArray, mean_of_present
from skewlab.report.series import ProbeCurves, SplitCurves, stack_probe, stack_split
from skewlab.runs import json_file as json_file
from skewlab.runs.curve_file import read_curves
from skewlab.runs.folder import DIVERGED, DONE, FAILED, PREEMPTED, QUEUED, RUNNING
from skewlab.runs.lock import owner_of

# The fast loader where libyaml is there: a study of a thousand runs reads a thousand files.
YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

BASE = "none"
SWAPPED = "swapped_roles"
CONTROLS = ("same_total", "same_minority", "equal_updates", SWAPPED)
# Keys that do not make two runs different settings: they vary within one (ratio, seeds, controls)
# or change no result.
NOT_A_SETTING = frozenset(
    {"ratio", "seed", "data_seed", "init_seed", "order_seed", "study", "logs_dir", "data_dir"}
    | {"overwrite", "logger", "control", "objective"}
)
NOT_A_SETTING_NESTED = frozenset(
    {"imbalance.control", "imbalance.class_order", "trainer.updates"}
    | {"data.workers", "data.source.data_dir", *(f"trainer.{key}" for key in NO_RESULT)}
)
# Neither do probes, nor rules on top of the trained network, whatever their arguments.
NOT_A_SETTING_BELOW = ("curves.probes", "method.post_hoc")
# Plain cross-entropy: its name, and what of its configuration has a say in training.
PLAIN_NAME, NAME = "ce", "method.name"
PLAIN = {"method.loss._target_": "skewlab.methods.losses.CrossEntropy"}
GOES_ON = "the same command goes on from there"
# A folder with one of these is meant to be a run.
RUN_FILES = ("config.yaml", "status.json", "curves.jsonl")


@dataclass(frozen=True)
class Run:
    """One run's folder, read.

    Attributes:
        path: the folder.
        state: of `status.json`, see `runs.folder`.
        config: `config.yaml`; `config_text` as it is written.
        data: `data.json`; empty where the run has not come so far.
        status: `status.json`.
        curves: by split; empty where nothing was evaluated yet.
        probes: what probes have found, by their names; of those that were switched on.
    """

    path: Path
    state: str
    config: dict[str, Any]
    config_text: str
    data: dict[str, Any]
    status: dict[str, Any]
    curves: dict[str, SplitCurves]
    probes: dict[str, ProbeCurves]

    @property
    def reason(self) -> str | None:
        """Why it failed or diverged."""
        reason = self.status.get("reason")
        return None if reason is None else str(reason)

    @property
    def ratio(self) -> float:
        """The ratio of the setting; a control's own counts are balanced, but it stands for this
        ratio."""
        asked = self.config.get("ratio")
        return float(self.data["ratio"] if asked is None else asked)

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def seed_key(self) -> tuple[int, ...]:
        """All seeds: two runs with the same ones can be paired."""
        return tuple(
            int(self.config[key]) for key in ("seed", "data_seed", "init_seed", "order_seed")
        )

    @property
    def data_name(self) -> str:
        return str(self.config["data"]["name"])

    @property
    def counts(self) -> list[int]:
        """Training samples of each class, in label order."""
        return [int(count) for count in self.data["train_counts"]]

    @cached_property
    def post_hoc(self) -> dict[str, Any]:
        """`post_hoc.json`, see `skewlab.training.post_hoc_rules`; empty for a run without
        post-hoc rules, or where it cannot be read. Read on demand: most reports do not need it."""
        try:
            return dict(json_file.read(self.path / "post_hoc.json"))
        except (OSError, ValueError, TypeError):
            return {}

    @cached_property
    def control(self) -> str:
        """Which control the run is, `none` for the study itself."""
        imbalance = self.config["imbalance"]
        if imbalance.get("control", BASE) != BASE:
            return str(imbalance["control"])
        if self.config["trainer"].get("updates") == "balanced":
            return "equal_updates"
        return SWAPPED if imbalance.get("class_order") == "reversed" else BASE

    def group(self, split: str, metric: str, group: str) -> tuple[FloatArray, FloatArray]:
        """(epochs, values) of a group's curve."""
        curves = self.curves[split]
        return curves.epoch, curves.group(metric, self.data["groups"][group])

    def final(self, split: str, metric: str, group: str) -> float:
        """A group's value at the last evaluation."""
        members = self.data["groups"][group]
        return mean_of_present(self.curves[split].values[metric][-1, members])

    @property
    def has_rules(self) -> bool:
        """Whether post-hoc rules are applied to the trained network."""
        return bool(self.config["method"].get("post_hoc"))

    @property
    def plain(self) -> bool:
        """Whether it is trained with cross-entropy and nothing else against imbalance."""
        flat = dict(_flatten(self.config["method"], "method"))
        return {
            key: value
            for key, value in flat.items()
            if key != NAME and not key.startswith(NOT_A_SETTING_BELOW) and value != "None"
        } == PLAIN

    @cached_property
    def setting(self) -> dict[str, str]:
        """All that may differ between settings of a study, flat.

        Post-hoc rules change no training: cross-entropy with a rule is cross-entropy, whatever the
        whole is named.
        """
        kept = {key: value for key, value in self.config.items() if key not in NOT_A_SETTING}
        flat = dict(_flatten(kept))
        if self.has_rules and self.plain:
            flat[NAME] = PLAIN_NAME
        return {
            key: value
            for key, value in flat.items()
            if key not in NOT_A_SETTING_NESTED and not key.startswith(NOT_A_SETTING_BELOW)
        }


@dataclass(frozen=True)
class Collection:
    """What was found.

    Attributes:
        runs: every run that has a configuration and data, whatever its state.
        left_out: what was not used, or not whole, and why; one line each.
    """

    runs: list[Run]
    left_out: list[str]

    @property
    def finished(self) -> list[Run]:
        """Runs trained to their end: what figures and claims stand on."""
        return [run for run in self.runs if run.state == DONE and "train" in run.curves]

    @property
    def unfinished(self) -> dict[str, list[Run]]:
        """Runs with curves so far, by whether somebody is at them."""
        found: dict[str, list[Run]] = {"still training": [], "stopped": []}
        for run in self.runs:
            if run.state in (RUNNING, PREEMPTED) and {"train", "test"} <= set(run.curves):
                trains = run.state == RUNNING and owner_of(run.path) is not None
                found["still training" if trains else "stopped"].append(run)
        return found


def read_runs(paths: Sequence[Path]) -> Collection:
    """Read the runs at and below some paths; what cannot be read is said and left out.

    Raises:
        ConfigError: there is no run at all.
    """
    runs: list[Run] = []
    left_out: list[str] = []
    for path in paths:
        folders = list(run_folders(path)) if path.is_dir() else []
        if not folders:
            what = "holds no run" if path.is_dir() else "is no folder of a run or a study"
            left_out.append(f"{path}: {what}")
        for folder in folders:
            try:
                run, problems = read_run(folder)
            except ValueError as error:
                left_out.append(str(error))
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
            {file.parent for known in RUN_FILES for file in path.glob(f"{pattern}/{known}")}
        )


def _why_not_used(run: Run) -> str:
    epoch = f"{run.curves['train'].epoch[-1]:g}" if "train" in run.curves else "0"
    if run.state == RUNNING:
        owner = owner_of(run.path)
        how = (
            f"being trained by {owner}" if owner else "killed; the same command goes on from there"
        )
        why = f"unfinished at epoch {epoch} ({how})"
    elif run.state == PREEMPTED:
        why = f"unfinished at epoch {epoch} ({run.reason}; the same command goes on from there)"
    elif run.state == QUEUED:
        why = "to be trained again"
    else:
        why = str(run.reason) if run.state == DIVERGED else f"{run.state} ({run.reason})"
    return f"{why}; not in figures and claims"


def read_run(path: Path) -> tuple[Run, list[str]]:
    """One run's folder, and what of it could not be read.

    Raises:
        ValueError: it is no run: it lacks a configuration, data or status that can be read.
    """
    try:
        text = (path / "config.yaml").read_text(encoding="utf-8")
        config = yaml.load(text, Loader=YamlLoader)
        status = json_file.read(path / "status.json")
        state = str(status["state"])
        int(config["seed"]), config["data"]["name"], config["imbalance"], config["trainer"]
        if not (path / "data.json").exists():
            raise ValueError(
                f"failed before it had data: {status.get('reason')}"
                if state == FAILED
                else "it has only just begun"
            )
        data = json_file.read(path / "data.json")
        sum(data["train_counts"]), data["groups"]["minority"], data["ratio"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path}: not a readable run ({type(error).__name__}: {reason})"
        ) from error
    lines, problems = read_curves(path)
    by_split: dict[str, list[dict[str, Any]]] = {}
    classes = len(data["train_counts"])
    by_probe: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        if "probe" in line:
            by_probe.setdefault(line["probe"], []).append(line)
        elif len(line["recall"]) == classes:
            by_split.setdefault(line["split"], []).append(line)
        else:
            problems.append(f"{path}: a line of curves.jsonl has {len(line['recall'])} classes")
    curves = {split: stack_split(lines) for split, lines in by_split.items()}
    probes = {probe: stack_probe(lines) for probe, lines in by_probe.items()}
    return Run(path, state, config, text, data, status, curves, probes), problems


def _flatten(value: Any, key: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _flatten(entry, f"{key}.{name}" if key else str(name))
    else:
        yield key, str(value)
