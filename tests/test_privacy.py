"""Home folders are left out of what is shared, and nothing else."""

from pathlib import Path

import pytest

from skewlab.privacy import shareable


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that is a link, as on many clusters."""
    (tmp_path / "disk 3").mkdir()
    (tmp_path / "me").symlink_to("disk 3")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    return tmp_path / "me"


def test_ones_own_home_by_either_name(home: Path) -> None:
    config = {
        "data_dir": f"{home}/data",
        "deep": [{"uri": f"sqlite:///{home.resolve()}/db"}, (f"logs_dir={home}",)],
        f"{home}/key": 1,
        "text": f"ratio: 1\npath: {home}/x # {home}\n",
    }
    assert shareable(config) == {
        "data_dir": "~/data",
        "deep": [{"uri": "sqlite:///~/db"}, ["logs_dir=~"]],
        "~/key": 1,
        "text": "ratio: 1\npath: ~/x # ~\n",
    }


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("/home/ann/runs", "~/runs"),
        ("python train.py data_dir=/home/ann", "python train.py data_dir=~"),
        ("/mnt/home/ann/runs", "~/runs"),
        ("/Users/ann/runs", "~/runs"),
        ("/root/runs, '/root'", "~/runs, '~'"),
        (r"C:\Users\ann\runs", r"~\runs"),
        ("file:///home/ann/x", "file://~/x"),
    ],
)
def test_usual_homes_of_others(text: str, shared: str) -> None:
    assert shareable(text) == shared


@pytest.mark.parametrize(
    "text", ["/scratch/data", "logs/default", "/rooted/x", "a/root/x", "~/home/x", "", "1e-3"]
)
def test_what_is_no_home_stays(text: str, home: Path) -> None:
    assert shareable(text) == text
    assert shareable(f"{home}2/x") == f"{home}2/x"


@pytest.mark.parametrize("value", [1, 0.5, None, True, float("inf")])
def test_what_is_no_text_stays(value: object) -> None:
    assert shareable({"key": [value]}) == {"key": [value]}


@pytest.mark.parametrize("none", ["/", "", "/dev/null/x"])
def test_a_home_that_is_none_changes_nothing(none: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", none)
    assert shareable("/scratch/data") == "/scratch/data"
