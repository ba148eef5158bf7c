"""Reading large image folders: resident, streamed and cached, beside torchvision's ImageFolder.

    python benchmarks/large_sets.py --images 60000 --side 32
    python benchmarks/large_sets.py --images 2000 --side 224

Makes the folder if it is not there, then measures each way in a process of its own: seconds from
nothing to the first batch, seconds of a first and of a second epoch of batches of 128 (nothing is
trained), and the memory of the process and its workers together at the end (PSS: pages that several
processes share count once). Prints a table for docs/performance.md.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

BATCH, CLASSES, WORKERS = 128, 10, 2
WAYS = ("resident", "streamed", "cached", "cached before", "ImageFolder")


def make(root: Path, images: int, side: int) -> None:
    """A folder of JPEGs with the coarse structure of photographs: smooth colours and some noise."""
    random = np.random.default_rng(0)
    for split, count in (("train", images), ("test", CLASSES)):
        for number in range(count):
            folder = root / split / f"class {number % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
            pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
            pixels += random.integers(-12, 13, pixels.shape)
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(folder / f"{number}.jpg", quality=90)


def skewlab_batches(root: Path, way: str, cache: Path) -> Any:
    from skewlab.data.datamodule import ImbalancedDataModule
    from skewlab.data.profiles import Profile
    from skewlab.data.sources import image_folder
    from skewlab.data.subsets import draw_subset

    source = image_folder(
        str(root),
        memory_gib=100 if way == "resident" else 0,
        cache=str(cache) if way.startswith("cached") else None,
    )
    subset = draw_subset(
        source.train_labels, source.class_names, Profile("exp", 1.0), data_seed=0, val_per_class=0
    )
    data = ImbalancedDataModule(source, subset, batch_size=BATCH, workers=WORKERS)
    data.setup()
    return data.train_dataloader()


def torchvision_batches(root: Path) -> Any:
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    folder = datasets.ImageFolder(root / "train", transforms.ToTensor())
    return DataLoader(folder, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)


def memory() -> float:
    """GiB of this process and its workers."""
    here = psutil.Process()
    return float(
        sum(p.memory_full_info().pss for p in (here, *here.children(recursive=True))) / 2**30
    )


def measure(root: Path, way: str, cache: Path) -> dict[str, float]:
    # Imported by every run, and not part of reading.
    import torchvision.datasets  # noqa: F401

    import skewlab.data.datamodule  # noqa: F401

    idle, began = memory(), time.perf_counter()
    loader = (
        torchvision_batches(root) if way == "ImageFolder" else skewlab_batches(root, way, cache)
    )
    epochs = []
    first = None
    for _ in range(2):
        start = time.perf_counter()
        for _ in loader:
            first = first or time.perf_counter() - began
        epochs.append(time.perf_counter() - start)
    return {"first": first or 0.0, "one": epochs[0], "two": epochs[1], "gib": memory() - idle}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--folder", type=Path, help="where images are made; a temporary one")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    root = arguments.folder or Path(tempfile.mkdtemp(prefix="large_sets"))
    cache = root / "cache"
    if arguments.way:
        print(json.dumps(measure(root, arguments.way, cache)))
        return
    try:
        if not (root / "train").is_dir():
            make(root, arguments.images, arguments.side)
        shutil.rmtree(cache, ignore_errors=True)
        print("| | first batch, s | first epoch, s | second epoch, s | memory, GiB |")
        print("|---|---|---|---|---|")
        for way in WAYS:
            ran = subprocess.run(
                [sys.executable, __file__, "--folder", str(root), "--way", way],
                capture_output=True,
                text=True,
                check=True,
            )
            found = json.loads(ran.stdout.splitlines()[-1])
            values = " | ".join(f"{found[name]:.2f}" for name in ("first", "one", "two", "gib"))
            print(f"| {way} | {values} |", flush=True)
    finally:
        if arguments.folder is None:
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
