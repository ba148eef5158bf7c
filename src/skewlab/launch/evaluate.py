"""A trained run evaluated: what `eval.py` does."""

import csv
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from skewlab.config.schema import Data, RunConfig, checked_section
from skewlab.data import sources
from skewlab.data.datamodule import SPLITS, ImbalancedDataModule
from skewlab.data.plan import plan, pool
from skewlab.data.profiles import IntArray
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset
from skewlab.errors import ConfigError
from skewlab.launch.standing import check_data
from skewlab.metrics.scores import FloatArray, binary, mean_of_present, overall
from skewlab.probes.outputs import Gathered
from skewlab.probes.probe import SplitOutputs, probabilities
from skewlab.runs.reading import read_data
from skewlab.terminal import note, quiet_lightning
from skewlab.training.evaluation import Scores
from skewlab.training.loading import load, run_config
from skewlab.training.run import trainer_arguments

PREDICTIONS = "predictions.csv"
SHOWN = ("recall", "precision", "f1", "auroc", "average_precision", "loss", "confidence")


def evaluate(config: DictConfig) -> None:
    """Print a run's scores by class and group, and write a row for each sample.

    Args:
        config: `run`, `checkpoint`, `split`, `output`; and `data`, where it is another data set
            than the run's.

    Raises:
        ConfigError: the run, the checkpoint or the data is not there, or does not fit.
    """
    if OmegaConf.is_missing(config, "run"):
        raise ConfigError("run: must be given, the folder of a run: logs/<study>/<run name>")
    if config.split not in SPLITS:
        raise ConfigError(f"split={config.split}: must be one of {', '.join(SPLITS)}")
    folder = Path(config.run)
    run = run_config(folder)
    module = load(folder, config.checkpoint)
    names = list(module.class_names)  # type: ignore[arg-type]
    source, subset = _data(config, run, module, names)
    if not len(subset_rows(source, subset, config.split)):
        raise ConfigError(f"split={config.split}: has no sample")
    data = ImbalancedDataModule(
        source,
        subset,
        batch_size=run.data.batch_size,
        evaluation_batch_size=run.curves.evaluation_batch_size,
        workers=run.data.workers,
    )
    scores, outputs = _evaluated(run, module, data, config.split)
    of_run = read_data(folder)
    shots = {name: members for name, members in of_run.get("shots", {}).items() if members}
    groups = {**of_run["groups"], **shots}
    width = shutil.get_terminal_size((0, 0)).columns or None  # of no terminal
    for line in table(scores, names, groups, width):
        print(line)
    path = Path(config.output or folder / PREDICTIONS)
    try:
        _write(path, outputs, names, subset_rows(source, subset, config.split))
    except OSError as error:
        raise ConfigError(
            f"output={path}: must be a file that can be written ({error.strerror})"
        ) from error
    print(f"predictions  {path}  ({len(outputs.labels)} samples of {config.split})")


def subset_rows(source: Source, subset: Subset, split: str) -> IntArray:
    """The place in the source of each row of a split, shape [rows]."""
    if split == "test":
        return np.arange(len(source.test_labels))
    return subset.train if split == "train" else subset.val


def _data(
    config: DictConfig, run: RunConfig, module: pl.LightningModule, names: list[str]
) -> tuple[Source, Subset]:
    """The run's own data or, where `data` is chosen, another set with as many classes."""
    if config.get("data") is None:
        source, subset = plan(run)
        if "fingerprint" in read_data(Path(config.run)):  # runs of earlier versions have none
            check_data(Path(config.run), source, subset)
        return source, subset
    chosen: Any = OmegaConf.to_container(config.data, resolve=True)
    source = sources.load(checked_section(Data, "data", chosen).source)
    wanted = getattr(module, "hparams", {}).get("input_shape", source.input_shape)
    if tuple(wanted) != source.input_shape:
        raise ConfigError(
            f"data={chosen['name']}: has inputs of {list(source.input_shape)}, and the run's "
            f"network takes {list(wanted)}"
        )
    if len(source.class_names) != len(names):
        raise ConfigError(
            f"data={chosen['name']}: has {len(source.class_names)} classes, and the run's network "
            f"has {len(names)}"
        )
    own, given = tuple(names), tuple(source.class_names)
    if own != given and set(own) == set(given):
        raise ConfigError(
            f"data={chosen['name']}: has the run's classes in another order: {', '.join(given)}, "
            f"and the run {', '.join(own)}"
        )
    _say_trained_on(run, source, config.split)
    every = np.arange(len(source.train_labels))
    counts = np.bincount(source.train_labels, minlength=len(names))
    none = np.empty(0, dtype=np.int64)
    val = none if source.val_labels is None else np.arange(len(source.val_labels))
    return source, Subset(every, val, counts, counts, (), (), {}, 1.0)


def _say_trained_on(run: RunConfig, source: Source, split: str) -> None:
    """Warn of samples that the run was trained on, where both sets are in memory."""
    try:
        own, subset = plan(run)
    except ConfigError:  # the run's own data are gone
        return
    inputs = pool(source, split)[0]
    if own.on_disk or not isinstance(inputs, np.ndarray):
        return
    trained = {own.train_images[row].tobytes() for row in subset.train}
    if seen := sum(one.tobytes() in trained for one in inputs):
        note(
            f"{seen} of the {len(inputs)} samples of {split} are among those that the run was "
            "trained on, so the scores are better than on new samples"
        )


def _evaluated(
    run: RunConfig, module: pl.LightningModule, data: ImbalancedDataModule, split: str
) -> tuple[dict[str, FloatArray], SplitOutputs]:
    """Scores and outputs of a split, with the precision that the run was trained in."""
    with quiet_lightning():
        trainer = pl.Trainer(
            precision=trainer_arguments(run).get("precision"),
            accelerator="gpu" if torch.cuda.is_available() else "cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
        )
    module.to(trainer.strategy.root_device)
    data.setup()
    gathered = Gathered()
    scores = Scores(len(data.class_names), confusion=False, extra={})
    found = scores.over(module, data.evaluation_batches(split), trainer, gathered)
    outputs = gathered.whole()
    assert outputs is not None
    return found, outputs


def table(
    scores: Mapping[str, FloatArray],
    names: list[str],
    groups: Mapping[str, list[int]],
    width: int | None = None,
) -> Iterator[str]:
    """A line for each class, then for each group, then the numbers over all classes.

    Args:
        scores: of each class, by name.
        names: of the classes.
        groups: their classes.
        width: in characters; the last metrics are left out where they do not fit. None for all.
    """
    first = max(map(len, [*names, *groups]))
    words = {metric: metric.split("_") for metric in SHOWN}
    columns = {metric: max(6, *map(len, words[metric])) + 2 for metric in SHOWN}
    shown = list(SHOWN)
    while width and len(shown) > 1 and first + 21 + sum(columns[m] for m in shown) > width:
        shown.pop()

    def line(name: str, group: str, samples: str, of_metric: Callable[[str], str]) -> str:
        cells = "".join(f"{of_metric(metric):>{columns[metric]}}" for metric in shown)
        return f"{name:{first}}  {group:9} {samples:>8}{cells}".rstrip()

    if any(len(words[metric]) > 1 for metric in shown):
        yield line("", "", "", lambda metric: "".join(words[metric][:-1]))
    yield line("class", "group", "samples", lambda metric: words[metric][-1])
    for label, name in enumerate(names):
        group = next((g for g in ("majority", "minority") if label in groups.get(g, ())), "")
        values = {metric: f"{scores[metric][label]:.4f}" for metric in shown}
        yield line(name, group, f"{scores['n'][label]:.0f}", values.__getitem__)
    yield ""
    for group, members in groups.items():
        values = {metric: f"{mean_of_present(scores[metric][members]):.4f}" for metric in shown}
        yield line(group, "", f"{scores['n'][members].sum():.0f}", values.__getitem__)
    if len(shown) < len(SHOWN):
        left_out = ", ".join(name.replace("_", " ") for name in SHOWN[len(shown) :])
        yield f"(not shown: {left_out})"
    yield ""
    found = overall(scores)
    if len(names) == 2 and len(groups.get("minority", ())) == 1:
        yield f"positive class: {names[groups['minority'][0]]}"
        found |= binary(scores, groups["minority"][0])
    for name, value in found.items():
        yield f"{name.replace('_', ' '):{max(first, 20)}} {value:.4f}"


def _write(path: Path, outputs: SplitOutputs, names: list[str], index: IntArray) -> None:
    """A row for each sample: its row in the split, label, prediction, the probability of each
    class, and its place in the source."""
    probability = probabilities(outputs.logits)
    predicted = outputs.logits.argmax(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "label", "predicted", *(f"p_{name}" for name in names), "index"])
        for place, row in enumerate(outputs.rows.tolist()):
            shares = (f"{share:.9g}" for share in probability[place])
            label, chosen = outputs.labels[place], predicted[place]
            writer.writerow([row, label, chosen, *shares, index[row]])
    beside.replace(path)  # whatever has its name, a link too, is replaced
