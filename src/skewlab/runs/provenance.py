"""What produces a run: the sources, the packages, the machine."""

import functools
import hashlib
import importlib.util
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

# Their versions are recorded, their sources are not hashed.
PACKAGES = ("skewlab", "torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "wandb")
LIBRARIES = ("torch", "torchvision", "torchmetrics", "pytorch_lightning", "lightning", "sklearn")
# Rooms of skewlab that no run's result depends on.
NO_PART_IN_RESULTS = ("report", "loggers", "dashboard", "launch")


def targets_in(config: Any) -> set[str]:
    """Every `_target_` of a configuration, nested ones too."""
    if isinstance(config, Mapping):
        own = {str(config["_target_"])} if "_target_" in config else set()
        return own.union(*map(targets_in, config.values()))
    return set().union(*map(targets_in, config)) if isinstance(config, list) else set()


def provenance(targets: Iterable[str] = ()) -> dict[str, Any]:
    """What produces a run.

    Args:
        targets: the paths of its parts. The sources of the packages that they are in are hashed,
            skewlab's always.
    """
    packages = {"skewlab", *(target.partition(".")[0] for target in targets)} - set(LIBRARIES)
    code = {package: found for package in sorted(packages) if (found := code_sha256(package))}
    return {**_surroundings(), "code": code}


@functools.cache
def _surroundings() -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed_since_commit": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "packages": versions,
        "machine": platform.machine(),
        "processors": os.cpu_count(),
    }


@functools.cache
def code_sha256(package: str) -> str | None:
    """A hash of a package's sources, or of a module's; None for what has none.

    Args:
        package: its name, such as `skewlab`; what has no part in results is left out of it.
    """
    digest = hashlib.sha256()
    files = list(_sources(package))
    for name, path in files:
        digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()[:16] if files else None


def _sources(package: str) -> Iterator[tuple[str, Path]]:
    spec = importlib.util.find_spec(package)
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        if spec.origin and spec.origin.endswith(".py"):
            yield package, Path(spec.origin)
        return
    for root in map(Path, spec.submodule_search_locations):
        for path in sorted(root.rglob("*.py")):
            inside = path.relative_to(root)
            if package != "skewlab" or inside.parts[0] not in NO_PART_IN_RESULTS:
                yield inside.as_posix(), path


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What has changed, of what can change a result, between two runs' provenance."""
    found = []
    before = then.get("code")
    sources = before if isinstance(before, Mapping) else {"skewlab": before}
    commits = [str(origin.get("commit"))[:8] for origin in (then, now)]
    moved = f" (commit {commits[0]}, now {commits[1]})" if commits[0] != commits[1] else ""
    for package, digest in sources.items():
        if now["code"].get(package) != digest:
            found.append(f"{package}'s code{moved}")
    versions = then.get("packages", {})
    found += [
        f"{package} {versions.get(package)}, now {version}"
        for package, version in now["packages"].items()
        if package in ("torch", "pytorch-lightning", "numpy") and versions.get(package) != version
    ]
    found += [
        f"{key} {then[key]}, now {now[key]}"
        for key in ("threads", "device")
        if key in then and key in now and then[key] != now[key]
    ]
    return found


def _git(*arguments: str) -> str | None:
    """git's answer about the code that runs; None where there is no repository or no git."""
    try:
        answer = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
