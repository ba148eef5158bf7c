"""What produces a run, and what two runs' provenance differs in."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from skewlab.runs import provenance as module
from skewlab.runs.provenance import changes, code_sha256, provenance, targets_in

THEN: dict[str, Any] = {
    "code": {"skewlab": "a1", "mypaper": "c"},
    "commit": "1234567890",
    "packages": {"torch": "2.11", "numpy": "2.0", "wandb": "0.31"},
    "threads": 2,
    "device": "cpu",
}


def test_only_what_can_change_a_result_is_a_change() -> None:
    assert changes(THEN, THEN) == []
    assert (
        changes(THEN, {**THEN, "commit": "9", "packages": {"wandb": "1", **THEN["packages"]}}) == []
    )
    assert changes(
        THEN, {**THEN, "code": {**THEN["code"], "skewlab": "b2"}, "commit": "abcdefghij"}
    ) == ["skewlab's code (commit 12345678, now abcdefgh)"]
    assert changes(THEN, {**THEN, "code": {"skewlab": "a1", "mypaper": "d"}}) == ["mypaper's code"]
    more = {**THEN["code"], "other": "e"}
    assert changes(THEN, {**THEN, "code": more}) == [], "a package that only the other run has"
    assert changes({**THEN, "code": "a1"}, THEN) == [], "as earlier versions wrote it"
    newer = {**THEN, "packages": {**THEN["packages"], "torch": "2.12", "wandb": "0.32"}}
    assert changes(THEN, newer) == ["torch 2.11, now 2.12"]
    assert changes(THEN, {**THEN, "threads": 4, "device": "cuda"}) == [
        "threads 2, now 4",
        "device cpu, now cuda",
    ]
    bare = {key: value for key, value in THEN.items() if key not in ("threads", "device")}
    assert changes(bare, THEN) == changes(THEN, bare) == [], "what one of them does not say"


def test_targets_are_found_however_deep() -> None:
    config = {
        "model": {"_target_": "mypaper.models.net", "stem": {"_target_": "other.stem"}},
        "list": [{"_target_": "third.thing"}, 3],
        "none": None,
    }
    assert targets_in(config) == {"mypaper.models.net", "other.stem", "third.thing"}


def test_the_sources_of_a_forks_package_are_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "forkedpaper"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "inner" / "net.py").write_text("one")
    (tmp_path / "lonely.py").write_text("one")
    monkeypatch.syspath_prepend(tmp_path)
    targets = {"forkedpaper.inner.net.Net", "lonely.thing", "torch.optim.SGD"}
    before = provenance(targets)["code"]
    assert set(before) == {"skewlab", "forkedpaper", "lonely"}, "PyTorch is known by its version"
    for file, package_name in (
        (package / "inner" / "net.py", "forkedpaper"),
        (tmp_path / "lonely.py", "lonely"),
    ):
        file.write_text("two")
        code_sha256.cache_clear()
        after = provenance(targets)["code"]
        assert [name for name in before if before[name] != after[name]] == [package_name]
        before = after


def test_rooms_without_a_part_in_results_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    own = dict(module._sources("skewlab"))
    assert "methods/losses.py" in own
    assert not [name for name in own if name.startswith(("report/", "loggers/", "launch/"))]


def test_provenance_names_the_commit_and_whether_the_code_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "folder.py"
    file.write_text("one\n")

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", *identity, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    git("add", "folder.py")
    git("commit", "-qm", "one")
    monkeypatch.setattr(module, "__file__", str(file))
    for text, changed in (("one\n", False), ("two\n", True)):
        file.write_text(text)
        module._surroundings.cache_clear()
        found = provenance()
        assert found["commit"] == git("rev-parse", "HEAD")
        assert found["changed_since_commit"] is changed
    module._surroundings.cache_clear()
