"""Methods against imbalance, measured, beside what is published: python benchmarks/methods.py

With a CUDA device it trains experiment=cifar10_lt, 12 runs of 200 epochs; without one the reduced
form, experiment=methods on real digits. It can be stopped and started again: runs that are done are
skipped, others go on where they stopped. In a minute, to see that it works:

    python benchmarks/methods.py --data mnist5k --methods ce,balanced_softmax --seeds 0 --epochs 2

The measured columns of the table in docs/methods.md, for an idle machine without a GPU:

    python benchmarks/methods.py --data mnist5k,fashion_mnist --ratios 100 --into docs/methods.md \\
        curves.every_n_epochs=5 curves.early_points=0 hydra/launcher=joblib

What it prints is in the study's folder as well, as methods.csv and methods.md; its report has the
curves, the differences by seed and their intervals. A published figure stands beside a measured one
only where the run was configured as the experiment is with data.val_per_class=0; the others are
listed with their protocols.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hydra import compose, initialize_config_dir

from skewlab.config.schema import checked
from skewlab.data.sources import torchvision_set
from skewlab.errors import BAD_INPUT, ConfigError
from skewlab.launch.sweep import resolved
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
PORT = "a PyTorch port of logit adjustment"
STANDARD = "200 epochs"
SECOND = "200 epochs, then 30 with drops at 10 and 20, weight decay 5e-4"


class Published(NamedTuple):
    """Published test accuracies in percent at ratio 100, ResNet-32, with all training images.

    Attributes:
        cifar10, cifar100: the figures; None where there is none.
        loss: what was minimised, as far as its name does not say it.
        protocol: how it was trained.
        source: where it stands.
    """

    cifar10: float | None
    cifar100: float | None
    loss: str = "cross-entropy"
    protocol: str = STANDARD
    source: str = GALLERY


# Keys that two runs of one protocol may differ in.
NO_PROTOCOL = ("seed", "data_seed", "init_seed", "order_seed", "curves")
# The gallery's are 100 minus its error, of one run, and of the best epoch on test.
PUBLISHED = {
    "ce": Published(70.36, 38.32),
    "weighted_inverse": Published(68.30, 32.27, "weighted, over the batch's weights"),
    "weighted_sqrt": Published(68.30, 38.36, "weighted, over the batch's weights"),
    "class_balanced": Published(70.48, 38.97, "weighted, over the batch's weights"),
    "sigmoid_focal": Published(71.56, 37.22, "sigmoid focal, gamma 2"),
    "class_balanced_focal": Published(75.20, 38.56, "sigmoid focal, weighted, over the batch size"),
    "label_smoothing": Published(72.81, 38.44, "label smoothing"),
    "label_aware_smoothing": Published(
        72.51, 37.68, "label-aware smoothing", "200 epochs; smoothing of the true class too"
    ),
    "ldam": Published(73.66, 38.88, "LDAM on a cosine head"),
    "ldam_drw": Published(77.73, 42.47, "LDAM on a cosine head"),
    "cdt": Published(77.10, 39.59, "CDT, gamma 0.2"),
    "balanced_softmax": Published(77.54, 42.99, "balanced softmax"),
    "ce_drw": Published(74.64, 39.21, "weighted by effective numbers from epoch 160 on"),
    "ce_drs": Published(75.07, 40.64),
    "class_balanced_sampling": Published(72.45, 35.24),
    "square_root_sampling": Published(71.42, 36.79),
    "progressively_balanced_sampling": Published(71.98, 39.04),
    "mixup": Published(74.06, 40.82),
    "remix": Published(73.43, 41.39),
    "tau_normalisation": Published(
        72.70, 40.96, protocol="200 epochs; it is not said how tau was chosen"
    ),
    "crt": Published(74.99, 40.26, protocol=SECOND),
    "lws": Published(72.63, 40.16, protocol=SECOND),
    "logit_adjustment": Published(
        78.57,
        None,
        "logit adjustment, tau 1",
        "1,241 epochs, Nesterov, drops at 604, 926 and 1,128, an extra L2 term",
        PORT,
    ),
    "post_hoc_logit_adjustment": Published(
        78.16,
        None,
        protocol="1,241 epochs, Nesterov, drops at 604, 926 and 1,128, an extra L2 term",
        source=PORT,
    ),
    "mislas": Published(
        82.5, 47.0, "mixup, then label-aware smoothing", "200 epochs, then 10", "its authors' code"
    ),
    "ride": Published(
        None,
        48.6,
        "RIDE with LDAM-DRW",
        "200 epochs, Nesterov, weight decay 5e-4, narrower experts, with routing",
        "its authors' code",
    ),
}


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

    if name is not None and name not in (*LONG_TAILS, *REDUCED):
        known = ", ".join([*LONG_TAILS, *REDUCED])
        raise ConfigError(f"--data={name}: must be of {known}")
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
    name = "_".join([*words, *(re.sub(r"[^\w.-]", "-", word) for word in arguments.overrides)])
    if len(name) <= 64:  # what a study's name may have
        return name
    return f"{'_'.join(words)}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def compared(study: Path) -> Comparison:
    """All finished runs of a study.

    Raises:
        ConfigError: there are not two methods to compare.
    """
    found = comparisons(by_setting(read_runs([study]).finished), [])
    if len(found) != 1:
        raise ConfigError(f"{study}: holds {len(found)} comparisons of methods, must be one")
    return found[0]


def method_of(entry: Entry) -> str:
    """The name of the method whose file in configs/method trains this; "" for a combination."""
    if not entry.rule:
        return entry.label
    rules = {"logit_adjustment": "post_hoc_logit_adjustment"}
    return rules.get(entry.rule, entry.rule) if entry.label.startswith("ce +") else ""


def published(name: str, entry: Entry) -> float | None:
    """The published figure of an entry's method on a data set, whatever its protocol."""
    found = PUBLISHED.get(method_of(entry))
    return None if found is None or name not in LONG_TAILS else getattr(found, name)


def trained_as_published(data: Data, entry: Entry) -> bool:
    """Whether the protocol is the published one: the experiment's own, with all training images."""
    found = PUBLISHED.get(method_of(entry))
    if found is None or found.protocol != STANDARD:
        return False
    words = [f"experiment={data.experiment}", f"method={method_of(entry)}", "data.val_per_class=0"]
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        expected = checked(resolved(compose("train", words))).scientific()
    for run in entry.runs:
        own = checked(run.config).scientific()
        if any(own[key] != expected[key] for key in expected if key not in NO_PROTOCOL):
            return False
    return True


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
            same = figure is not None and trained_as_published(data, entry)
            row["published, same protocol, %"] = f"{figure:.2f}" if same else ""
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
    beside = ["Published: there is none."]
    if data.name in LONG_TAILS:
        beside = ["Published with all training images (data.val_per_class=0), ResNet-32:", ""]
        beside += ["| method | published, % | loss | protocol | source |", "|---|---|---|---|---|"]
        for entry in comparison.entries(RATIO):
            if (figure := published(data.name, entry)) is not None:
                about = PUBLISHED[method_of(entry)]
                cells = (entry.label, f"{figure:.2f}", about.loss, about.protocol, about.source)
                beside.append("| " + " | ".join(cells) + " |")
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([_cell(row[head]) for head in heads] for row in rows)]
    return "\n".join(
        [
            *("| " + " | ".join(line) + " |" for line in lines),
            "",
            f"Accuracy on test at ratio {RATIO}, every class of equal weight, at the last epoch: "
            "mean over seeds, and its 95% interval.",
            trained,
            *beside,
        ]
    )


def filled(text: str, column: str, measured: Mapping[str, str]) -> str:
    """A page whose table of methods has new values in one column.

    Args:
        text: Markdown. The table's first column is `method`, and its cells are names in backticks.
        column: its heading.
        measured: the new cells, by method; the cells of other methods stay.

    Raises:
        ConfigError: there is no such table.
    """
    lines, place = text.splitlines(), None
    found = False
    for number, line in enumerate(lines):
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("|"):
            place = None
        elif cells[0] == "method" and column in cells:
            place, found = cells.index(column), True
        elif place is not None and (value := measured.get(cells[0].strip("`"))) is not None:
            cells[place] = value
            lines[number] = "| " + " | ".join(cells) + " |"
    if not found:
        raise ConfigError(f"--into: has no table of methods with a column {column!r}")
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, Estimate):
        interval = f" ({value.low:.2f} to {value.high:.2f})" if value.n > 1 else ""
        return f"{value.mean:.2f}{interval}"
    return str(value)


def main(arguments: argparse.Namespace) -> int:
    codes = [measure(name, arguments) for name in (arguments.data or "").split(",")]
    return next((code for code in codes if code), 0)


def measure(name: str, arguments: argparse.Namespace) -> int:
    """Train on one data set, and write its table; the exit code."""
    # The experiment runs in the repository's root, wherever this was started.
    data = chosen_data(name or None, str(arguments.data_dir.resolve()), arguments.images)
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
    if arguments.into is not None:
        names = [method_of(entry) for entry in comparison.entries(RATIO)]
        cells = [_cell(row["measured, %"]) for row in rows]
        page = arguments.into.read_text(encoding="utf-8")
        into = filled(page, f"{data.name}, %", dict(zip(names, cells, strict=True)))
        arguments.into.write_text(into, encoding="utf-8")
    return code


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Methods, measured, beside published figures.")
    option = parser.add_argument
    data_dir = Path(os.environ.get("SKEWLAB_DATA_DIR", ROOT / "data"))
    known = ", ".join([*LONG_TAILS, *REDUCED])
    option("--data", help=f"of {known}, or several; default: cifar10 on CUDA, else mnist5k")
    option("--into", type=Path, help="a page whose table of methods gets what was measured")
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
