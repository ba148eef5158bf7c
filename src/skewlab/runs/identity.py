"""A run's name: readable, and the same for the same scientific configuration."""

import hashlib
import json
from pathlib import Path

from skewlab.config.schema import RunConfig

# Of a million configurations two have the same hash with a probability of 0.002; such two are
# told apart by what their `config.yaml` says.
HASH_DIGITS = 12


def run_name(settings: RunConfig) -> str:
    """`<data>-<profile>-ratio<ratio>-<model>-<method>-seed<seed>-<hash>`.

    The hash depends on the scientific configuration only (`RunConfig.scientific`): another logger,
    folder or device gives the same name, and every other change gives another name.
    """
    canonical = json.dumps(settings.scientific(), sort_keys=True)
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:HASH_DIGITS]
    profile = settings.imbalance.profile
    ratio = "" if settings.ratio_label == profile else f"-{settings.ratio_label}"
    return (
        f"{settings.data.name}-{profile}{ratio}-"
        f"{settings.model.get('name', 'model')}-{settings.method.name}-seed{settings.seed}-{digest}"
    )


def run_path(settings: RunConfig) -> Path:
    """`<logs_dir>/<study>/<run name>`."""
    return Path(settings.logs_dir) / settings.study / run_name(settings)
