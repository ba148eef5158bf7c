"""The command line of `report.py`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from skewlab.errors import BAD_INPUT, FAILED, INTERRUPTED, ConfigError, suggestion
from skewlab.report.build import build_report, summary_lines
from skewlab.report.claims import load_claims
from skewlab.report.drawing import PAPER_FOLDER
from skewlab.report.sections.own import load_sections
from skewlab.report.thresholds import Thresholds, read_thresholds
from skewlab.report.watch import watch
from skewlab.terminal import note

# What figures are drawn for: the page alone, or a paper too.
STYLES = ("page", "paper")
OPTIONS = ("--watch", "--claim", "--section", "--help")


class Parser(argparse.ArgumentParser):
    """Says a mistake as one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message.removeprefix("argument "))


def parser() -> Parser:
    """The arguments that `report.py` takes."""
    defaults = "".join(f"  {key}={value}\n" for key, value in Thresholds().model_dump().items())
    made = Parser(
        "python report.py",
        usage="%(prog)s [--watch] [--claim CLASS] [--section OBJECT] PATH [PATH ...] "
        "[out=FOLDER] [style=paper] [key=value ...]",
        description="Writes PATH/report/: index.html, figures as PNG and SVG, results and verdicts "
        "as CSV and LaTeX.",
        epilog=f"thresholds of the verdicts, with their defaults:\n{defaults}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "words",
        nargs="*",
        metavar="PATH or key=value",
        help="a study (logs/<study>), a run, or a folder that holds them; a sweep may still be "
        "running. Or out=FOLDER, or style=paper (figures for papers too, as PDF), or a threshold",
    )
    made.add_argument(
        "--watch",
        action="store_true",
        help="write the report again whenever the runs have something new; the page in the "
        "browser follows",
    )
    made.add_argument(
        "--claim",
        action="append",
        default=[],
        metavar="CLASS",
        help="judge a claim of your own too, such as mypaper.claims.WorstClass",
    )
    made.add_argument(
        "--section",
        action="append",
        default=[],
        metavar="OBJECT",
        help="show a section of your own too, such as mypaper.sections.WORST",
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Write the report and print its verdicts.

    Returns:
        The exit code: 0, 1 if the report cannot be written, 2 for a mistake in the arguments, or
        130 after Ctrl-C.
    """
    if not arguments or {"-h", "--help"} & set(arguments):
        print(parser().format_help(), end="")
        return 0 if arguments else BAD_INPUT
    try:
        given, unknown = parser().parse_known_intermixed_args(arguments)
        if unknown:
            allowed = ", ".join(OPTIONS)
            raise ConfigError(f"{unknown[0]}: no such option; allowed: {allowed}")
        # A folder's name may hold a "=" itself: what exists is a path.
        paths = [Path(word) for word in given.words if "=" not in word or Path(word).exists()]
        keys: dict[str, Any] = dict(
            word.split("=", 1) for word in given.words if "=" in word and not Path(word).exists()
        )
        known = [*Thresholds.model_fields, "out", "style"]
        for key in (key for key in keys if key not in known):
            raise ConfigError(f"{key}={keys[key]}: no such key{suggestion(key, known)}")
        out, style = keys.pop("out", None), keys.pop("style", STYLES[0])
        if style not in STYLES:
            raise ConfigError(f"style={style}: must be one of {', '.join(STYLES)}")
        thresholds = read_thresholds({key: yaml.safe_load(text) for key, text in keys.items()})
        claims = load_claims(given.claim, "--claim")
        sections = load_sections(given.section, "--section")
        build = watch if given.watch else build_report
        place = Path(out) if out else None
        report = build(paths, thresholds, place, claims, sections, paper=style == "paper")
    except ConfigError as error:
        for line in str(error).splitlines():
            note(f"error: {line}")
        return BAD_INPUT
    except OSError as error:  # a full disk
        note(f"error: the report cannot be written: {error}")
        return FAILED
    except KeyboardInterrupt:
        note("stopped")
        return INTERRUPTED
    for line in summary_lines(report) if report else ():
        print(line)
    if report and style == "paper":
        print(f"paper   {report.folder / PAPER_FOLDER}  (figures: PDF)")
    for what, option, named, added in (
        ("not judged", "--claim", report.own_claims if report else (), given.claim),
        ("not shown", "--section", report.own_sections if report else (), given.section),
    ):
        # Runs name them, but no code is run because a file asks for it.
        if left := [path for path in named if path not in added]:
            options = " ".join(f"{option} {path}" for path in left)
            note(f"{what}: {', '.join(left)}, as the runs were; add {options}")
    sys.stdout.flush()
    return 0
