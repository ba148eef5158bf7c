"""Every file of a run, damaged in every way: nothing wrong is taken for right, nothing is lost.

The table of damage, file and command is printed at the end, for docs/reliability.md.
"""

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import damages
import pytest
from program import forked

ARGUMENTS = (
    *("ratio=10", "imbalance.n_max=30", "data.val_per_class=20", "trainer.max_epochs=3"),
    *("training.checkpoint_seconds=0", "logger=none", "model=mlp", "model.hidden=[16]"),
    *("method=post_hoc_logit_adjustment", "curves/probes=[samples,geometry]"),
    "curves.early_points=0",
)
OF_A_DONE_RUN = (
    *("status.json", "config.yaml", "data.json", "curves.jsonl", "summary.json"),
    *("predictions.npz", "post_hoc.json", "rankings.json", "samples.npz", "samples.png"),
    *("features.npz", "checkpoints/last.ckpt", "checkpoints/val_best.ckpt"),
)
OF_AN_INTERRUPTED_RUN = (
    *("status.json", "config.yaml", "data.json", "curves.jsonl"),
    *("checkpoints/last.ckpt", "checkpoints/previous.ckpt", "checkpoints/val_best.ckpt"),
)
# What the report does not read.
NOT_OF_THE_REPORT = ("checkpoints/last.ckpt", "checkpoints/val_best.ckpt")


@dataclass
class Study:
    """Runs that nobody has touched yet.

    Attributes:
        done, other: two runs that are done, of different seeds.
        stopped: the first of them, stopped in its second epoch.
    """

    done: Path
    other: Path
    stopped: Path


def folder_of(study: Path) -> Path:
    (status,) = study.glob("*/status.json")
    return status.parent


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    logs = tmp_path_factory.mktemp("logs")
    for name, seed, fault, code in (
        ("done", 0, "nothing", 0),
        ("other", 1, "nothing", 0),
        ("stopped", 0, "sigterm", 143),
    ):
        ended = train(logs, name, f"seed={seed}", fault=fault)
        assert ended.returncode == code, ended.stderr
    return Study(*(folder_of(logs / name) for name in ("done", "other", "stopped")))


def train(logs: Path, study: str, *more: str, fault: str = "nothing"):  # type: ignore[no-untyped-def]
    return forked(*ARGUMENTS, *more, f"logs_dir={logs}", f"study={study}", fault=fault, timeout=60)


def damaged(run: Path, place: Path, file: str, damage: str, other: Path) -> Path:
    """A copy of a run, with somebody's notes in it, and one file damaged."""
    copy = place / run.name
    shutil.copytree(run, copy)
    (copy / "notes.txt").write_text("mine")
    damages.ALL[damage](copy / file, other / file)
    return copy


def content(folder: Path) -> dict[str, bytes | str]:
    """Every file, by its path in the folder; of links and pipes, what they are."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes()
        elif not path.is_dir():
            found[name] = "special"
    return found


def changes_something(run: Path, file: str, damage: str, place: Path, other: Path) -> bool:
    """Some files have one line, no digit, or the same content in two runs."""
    copy = damaged(run, place, file, damage, other)
    path = copy / file
    same = (
        path.is_file() and not path.is_symlink() and path.read_bytes() == (run / file).read_bytes()
    )
    shutil.rmtree(place)
    return not same


@pytest.mark.slow
@pytest.mark.parametrize("file", OF_A_DONE_RUN)
def test_what_is_done_is_named_and_left_as_it_is(
    study: Study, tmp_path: Path, file: str, row: Callable[..., None]
) -> None:
    happened: dict[str, list[str]] = {}
    for number, damage in enumerate(damages.ALL):
        if not changes_something(study.done, file, damage, tmp_path / "try", study.other):
            continue
        run = damaged(study.done, tmp_path / f"study{number}", file, damage, study.other)
        before = content(run)
        ended = train(tmp_path, f"study{number}")
        said = ended.stdout + ended.stderr
        assert ended.returncode == 1, (damage, said)
        assert "Traceback" not in said, (damage, said)
        assert str(run / file) in said, (damage, said)
        after = content(run)
        assert after == before, (damage, sorted(set(before) ^ set(after)))
        happened.setdefault("named; nothing changed; exit code 1", []).append(damage)
    add_rows(row, "skip", file, happened)


@pytest.mark.slow
@pytest.mark.parametrize("file", OF_AN_INTERRUPTED_RUN)
def test_what_is_interrupted_ends_as_if_never_damaged_or_is_left_as_it_is(
    study: Study, tmp_path: Path, file: str, row: Callable[..., None]
) -> None:
    happened: dict[str, list[str]] = {}
    for number, damage in enumerate(damages.ALL):
        if not changes_something(study.stopped, file, damage, tmp_path / "try", study.other):
            continue
        run = damaged(study.stopped, tmp_path / f"study{number}", file, damage, study.other)
        before = content(run)
        ended = train(tmp_path, f"study{number}")
        said = ended.stdout + ended.stderr
        assert "Traceback" not in said, (damage, said)
        assert (run / "notes.txt").read_text() == "mine", damage
        if ended.returncode == 0:
            for name in ("curves.jsonl", "summary.json", "data.json", "post_hoc.json"):
                assert (run / name).read_bytes() == (study.done / name).read_bytes(), damage
            goes_on = {"checkpoints/previous.ckpt": 8, "checkpoints/last.ckpt": 6}.get(file)
            assert goes_on is None or f"goes on from step {goes_on}" in said, (damage, said)
            what = "goes on" if "goes on from step" in said else "set aside, trained from the start"
            happened.setdefault(f"{what}; ends as if never damaged", []).append(damage)
        else:
            assert ended.returncode == 1, (damage, said)
            assert str(run / file) in said, (damage, said)
            assert content(run) == before, damage
            happened.setdefault("named; nothing changed; exit code 1", []).append(damage)
    add_rows(row, "resume", file, happened)


@pytest.mark.slow
def test_the_report_names_what_it_leaves_out(
    study: Study, tmp_path: Path, row: Callable[..., None]
) -> None:
    """Each damage to each file is done to a run of its own in one study, beside two whole runs."""
    shutil.copytree(study.done, tmp_path / "whole" / study.done.name)
    shutil.copytree(study.other, tmp_path / "whole" / study.other.name)
    expected = results(tmp_path / "whole")
    logs = tmp_path / "damaged"
    logs.mkdir()
    shutil.copytree(study.other, logs / study.other.name)
    shutil.copytree(study.done, logs / study.done.name)
    bad: dict[Path, tuple[str, str]] = {}
    for file in OF_A_DONE_RUN:
        if file in NOT_OF_THE_REPORT:
            continue
        for damage in damages.ALL:
            if changes_something(study.done, file, damage, tmp_path / "try", study.other):
                run = damaged(study.done, tmp_path / "one", file, damage, study.other)
                place = logs / f"{file.replace('.', '_')}-{damage.replace(' ', '_')}"
                run.replace(place)
                bad[place] = (file, damage)
    before = {path: content(path) for path in bad}
    ended = forked(str(logs), program="report.py", timeout=120)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    assert "Traceback" not in said, said
    for path, (file, damage) in bad.items():
        # Beside the status of another run, every other file is not what that one wrote.
        named = path if (file, damage) == ("status.json", "of another run") else path / file
        assert f"left out: {named}" in said, (file, damage, said)
        assert content(path) == before[path], (file, damage)
    assert read_results(logs) == expected
    for file in dict.fromkeys(file for file, _ in bad.values()):
        those = [damage for name, damage in bad.values() if name == file]
        add_rows(row, "report", file, {"named, left out; the rest is reported": those})


def results(study: Path) -> list[dict[str, str]]:
    ended = forked(str(study), program="report.py", timeout=120)
    assert ended.returncode == 0, ended.stderr
    return read_results(study)


def read_results(study: Path) -> list[dict[str, str]]:
    with (study / "report" / "results.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def add_rows(
    row: Callable[..., None], command: str, file: str, happened: dict[str, list[str]]
) -> None:
    for what, those in happened.items():
        which = "every damage" if len(happened) == 1 else ", ".join(those)
        row(f"{command}: {file}: {which}", "named or mended, nothing lost", what, "nothing")
