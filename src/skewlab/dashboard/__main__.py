"""The command line: `python -m skewlab.dashboard --entity ENTITY --project PROJECT`."""

from skewlab import startup  # noqa: F401 - first: it answers Ctrl-C

# isort: split
import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence

from skewlab.errors import BAD_INPUT, FAILED, installed_by
from skewlab.terminal import note


def main(arguments: Sequence[str]) -> int:
    """Save the workspace on W&B, or print it.

    Returns:
        The exit code: 0; 1 if W&B did not take it; 2 for a mistake.
    """
    parser = argparse.ArgumentParser(
        "python -m skewlab.dashboard", description="Make a workspace for skewlab's runs on W&B."
    )
    parser.add_argument("--entity", required=True, help="user or team on W&B")
    parser.add_argument("--project", default="skewlab", help="default: skewlab")
    studies = parser.add_mutually_exclusive_group()
    studies.add_argument("--study", default="default", help="whose runs it shows; default: default")
    studies.add_argument("--all-studies", action="store_true", help="show the whole project")
    parser.add_argument("--dry-run", action="store_true", help="print it as JSON; needs no key")
    given = parser.parse_args(arguments)
    if importlib.util.find_spec("wandb_workspaces") is None:
        note(
            "error: the package wandb-workspaces is not installed; install it with: "
            + installed_by("dashboard")
        )
        return BAD_INPUT
    from skewlab.dashboard.workspace import specification, workspace

    study = None if given.all_studies else given.study
    made = workspace(given.entity, given.project, study)
    if given.dry_run:
        print(json.dumps(specification(made), indent=1))
        return 0
    try:
        made.save()
    except Exception as error:  # of its many kinds each says in one line what is wrong
        note(f"error: the workspace was not saved: {' '.join(str(error).split())}")
        return FAILED
    print(made.url)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
