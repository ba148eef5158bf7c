"""Methods against imbalance, measured, beside what is published: python benchmarks/methods.py

With a CUDA device it trains experiment=cifar10_lt, 12 runs of 200 epochs; without one the reduced
form, experiment=methods on real digits. It can be stopped and started again: runs that are done are
skipped, others go on where they stopped. In a minute, to see that it works:

    python benchmarks/methods.py --data mnist5k --methods ce,balanced_softmax --seeds 0 --epochs 2

What it prints is in the study's folder as well, as methods.csv and methods.md; its report has the
curves, the differences by seed and their intervals.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from skewlab.data.sources import torchvision_set
from skewlab.errors import BAD_INPUT, ConfigError
from skewlab.report import table
from skewlab.report.comparison import (
    BALANCED_ACCURACY,
    MINORITY,
    Comparison,
    Entry,
    comparisons,
    difference,
)
from skewlab.report.read import read_runs
from skewlab.report.settings import by_setting
from skewlab.report.statistics import Estimate

ROOT = Path(__file__).parents[1]
RATIO = 100
# What torchvision calls the sets that have published figures.
LONG_TAILS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}
REDUCED = ("mnist5k", "fashion_mnist")
GALLERY = "BagofTricks-LT gallery (Zhang et al., AAAI 2021)"
PORT = "a public PyTorch port of logit adjustment"
# Test accuracy in percent at ratio 100, ResNet-32: the gallery's, 100 minus its error.
IN_GALLERY = {
    "ce": (70.36, 38.32),
    "weighted_inverse": (68.30, 32.27),
    "class_balanced": (70.48, 38.97),
    "focal": (71.56, 37.22),
    "class_balanced_sampling": (72.45, 35.24),
    "ldam": (73.66, 38.88),
    "ldam_drw": (77.73, 42.47),
    "balanced_softmax": (77.54, 42.99),
    "tau_normalisation": (72.70, 40.96),
    "crt": (74.99, 40.26),
    "mixup": (74.06, 40.82),
}
IN_PORT = {"logit_adjustment": 78.57, "post_hoc_logit_adjustment": 78.16}


class Data(NamedTuple):
    """What is trained on.

    Attributes:
        name: as asked for.
        experiment: that is run on it.
        overrides: that choose it.
        words: what it is, for the table.
    """

    name: str
    experiment: str
    overrides: list[str]
    words: str


def chosen_data(name: str | None, data_dir: str, images: Path | None) -> Data:
    """The data set that was asked for, or the one that suits this machine.

    Raises:
        ConfigError: CIFAR is neither there nor to be downloaded, and no folder of images is given.
    """
    import torch

    if name is None:
        name = "cifar10" if torch.cuda.is_available() else "mnist5k"
    if name in REDUCED:
        size = ["imbalance.n_max=300"] if name != "mnist5k" else []
        words = f"{name}, 300 images in the largest class"
        return Data(name, "methods", [f"data={name}", f"data_dir={data_dir}", *size], words)
    experiment = f"{name}_lt"
    if images is None:
        try:
            torchvision_set(LONG_TAILS[name], data_dir)
        except ConfigError as error:
            raise ConfigError(f"{error}; or give --images FOLDER, with train/ and test/") from error
        overrides = [f"data={name}", f"data_dir={data_dir}"]
        return Data(name, experiment, overrides, f"{name}, torchvision's own files")
    overrides = ["data=image_folder", f"data_dir={images.resolve()}"]
    words = f"images of the folder {images.name}, not torchvision's {name}"
    return Data(name, experiment, overrides, words)


def train(data: Data, study: str, arguments: argparse.Namespace) -> int:
    """Run the experiment through the real command line; its exit code."""
    words = [f"experiment={data.experiment}", *data.overrides, f"study={study}"]
    words.append(f"logs_dir={arguments.logs.resolve()}")
    for key, given in (
        ("method", arguments.methods),
        ("seed", arguments.seeds),
        ("ratio", arguments.ratios),
        ("trainer.max_epochs", arguments.epochs),
    ):
        if given is not None:
            words.append(f"{key}={given}")
    command = ["train.py", "-m", *words, *arguments.overrides]
    print("python", *command, flush=True)
    return subprocess.run([sys.executable, *command], cwd=ROOT).returncode


def study_name(data: Data, arguments: argparse.Namespace) -> str:
    """A study for each way to train: runs that do not compare lie apart."""
    words = [data.experiment] if data.name in data.experiment else [data.experiment, data.name]
    if "data=image_folder" in data.overrides:
        words.append("images")
    if arguments.epochs is not None:
        words.append(f"{arguments.epochs}epochs")
    return "_".join([*words, *(re.sub(r"[^\w.-]", "-", word) for word in arguments.overrides)])


def compared(study: Path) -> Comparison:
    """All finished runs of a study.

    Raises:
        ConfigError: there are not two methods to compare.
    """
    found = comparisons(by_setting(read_runs([study]).finished), [])
    if len(found) != 1:
        raise ConfigError(f"{study}: holds {len(found)} comparisons of methods, must be one")
    return found[0]


def published(name: str, entry: Entry) -> tuple[float, str] | None:
    """The published figure of an entry and its source."""
    key = entry.label
    if entry.rule:
        on_ce = entry.label.startswith("ce +")
        rules = {"logit_adjustment": "post_hoc_logit_adjustment"}
        key = rules.get(entry.rule, entry.rule) if on_ce else ""
    if key in IN_GALLERY:
        return IN_GALLERY[key][list(LONG_TAILS).index(name)], GALLERY
    return (IN_PORT[key], PORT) if name == "cifar10" and key in IN_PORT else None


def percent(found: Estimate) -> Estimate | str:
    if not found.n:
        return ""
    least, most = found.within
    ends = (100 * least, 100 * most)
    return replace(found, mean=100 * found.mean, error=100 * found.error, within=ends)


def rows_of(data: Data, comparison: Comparison) -> list[table.Row]:
    """One row a method: test accuracy in percent, balanced, at the last epoch."""
    base = comparison.base(RATIO)
    rows: list[table.Row] = []
    for entry in comparison.entries(RATIO):
        row: table.Row = {"method": entry.label, "seeds": len(entry.outcomes)}
        row["measured, %"] = percent(entry.mean(BALANCED_ACCURACY))
        if data.name in LONG_TAILS:
            figure = published(data.name, entry)
            row["published, %"] = f"{figure[0]:.2f}" if figure else ""
            row["source"] = figure[1] if figure else ""
        if base is not None:
            apart = difference(entry, base, BALANCED_ACCURACY)
            row["minus ce"] = percent(apart) if entry.label != base.label else ""
        row["minority, %"] = percent(entry.mean(MINORITY))
        rows.append(row)
    return rows


def markdown(data: Data, comparison: Comparison, rows: Sequence[table.Row]) -> str:
    """The table, and what a reader has to know of it."""
    run = comparison.entries(RATIO)[0].runs[0]
    config, counts = run.config, run.counts
    trained = (
        f"Trained on {data.words}: {max(counts)} to {min(counts)} images a class, {sum(counts)} in "
        f"all; {config['model']['name']}, {config['trainer']['max_epochs']} epochs."
    )
    beside = (
        "Published: as named, ResNet-32, 200 epochs, 5000 (CIFAR-100: 500) images in the largest "
        "class; often the best epoch on test."
        if data.name in LONG_TAILS
        else "Published: there is none."
    )
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([_cell(row[head]) for head in heads] for row in rows)]
    return "\n".join(
        [
            *("| " + " | ".join(line) + " |" for line in lines),
            "",
            f"Accuracy on test at ratio {RATIO}, every class of equal weight, at the last epoch: "
            "mean over seeds, and its 95% interval.",
            trained,
            beside,
        ]
    )


def _cell(value: object) -> str:
    if isinstance(value, Estimate):
        interval = f" ({value.low:.2f} to {value.high:.2f})" if value.n > 1 else ""
        return f"{value.mean:.2f}{interval}"
    return str(value)


def main(arguments: argparse.Namespace) -> int:
    # The experiment runs in the repository's root, wherever this was started.
    data = chosen_data(arguments.data, str(arguments.data_dir.resolve()), arguments.images)
    print(f"data: {data.words}", flush=True)
    study = study_name(data, arguments)
    code = train(data, study, arguments)
    if code == BAD_INPUT:
        return code
    folder = arguments.logs.resolve() / study
    comparison = compared(folder)
    rows = rows_of(data, comparison)
    text = markdown(data, comparison, rows)
    table.write_csv(rows, folder / "methods.csv")
    (folder / "methods.md").write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}\n\n{folder / 'methods.md'}  {folder / 'methods.csv'}")
    return code


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Methods, measured, beside published figures.")
    option = parser.add_argument
    data_dir = Path(os.environ.get("SKEWLAB_DATA_DIR", ROOT / "data"))
    option("--data", choices=[*LONG_TAILS, *REDUCED], help="default: cifar10 on CUDA, else mnist5k")
    option("--images", type=Path, help="train/<class>/*, test/<class>/* in the place of CIFAR")
    option("--data-dir", type=Path, default=data_dir, help="of torchvision's files")
    option("--methods", help="such as ce,ldam_drw; default: the experiment's")
    option("--seeds", help="such as 0,1,2; default: the experiment's")
    option("--ratios", help=f"default: the experiment's; the table is of ratio {RATIO}")
    option("--epochs", type=int, help="default: the experiment's")
    option("--logs", type=Path, default=ROOT / "logs", help="where studies go to")
    option("overrides", nargs="*", help="more keys, such as data.val_per_class=0")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main(parsed()))
    except ConfigError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(BAD_INPUT)
