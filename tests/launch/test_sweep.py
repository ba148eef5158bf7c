"""The jobs of a sweep, and the configuration that each of them is checked with."""

import json
import re
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from made_up import make_run
from program import ROOT, TINY, forked

from skewlab.errors import ConfigError
from skewlab.launch.sweep import _parse, product


def jobs(*words: str) -> list[list[str]]:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return product(_parse(words))


def test_the_jobs_are_the_product_of_all_choices() -> None:
    """By hand; the last key varies fastest."""
    assert jobs("ratio=1,10", "+optimizer.foreach=true", "seed=range(2)") == [
        ["ratio=1", "+optimizer.foreach=True", "seed=0"],
        ["ratio=1", "+optimizer.foreach=True", "seed=1"],
        ["ratio=10", "+optimizer.foreach=True", "seed=0"],
        ["ratio=10", "+optimizer.foreach=True", "seed=1"],
    ]
    assert jobs("imbalance=glob(*, exclude=[step,counts,one*])") == [
        ["imbalance=exp"],
        ["imbalance=natural"],
        ["imbalance=zipf"],
    ]
    assert jobs("study='a b'") == [["study='a b'"]]


def test_the_last_word_of_a_key_counts() -> None:
    assert jobs("seed=0,1", "method=ce,focal", "seed=5") == [
        ["seed=5", "method=ce"],
        ["seed=5", "method=focal"],
    ]


def test_an_interval_is_no_sweep() -> None:
    with pytest.raises(ConfigError, match=r"^optimizer.lr=interval\(0,1\): needs a search"):
        jobs("optimizer.lr=interval(0,1)")


def test_a_value_can_come_from_hydra_and_each_job_trains_what_was_checked(tmp_path: Path) -> None:
    done = forked(
        "-m",
        "model=mlp,small_cnn",
        "study=${hydra:runtime.choices.model}",
        "ratio=1",
        "logger=none",
        f"logs_dir={tmp_path}",
        *TINY,
        fault="nothing",
    )
    assert done.returncode == 0, done.stderr
    for model in ("mlp", "small_cnn"):
        (status,) = tmp_path.glob(f"{model}/*/status.json")
        assert json.loads(status.read_text())["state"] == "done"
    assert "[2/2] model small_cnn" in done.stdout


def test_a_study_that_holds_other_data_is_named_and_the_rest_is_estimated(tmp_path: Path) -> None:
    """Runs that are done already are no part of the rest."""
    make_run(tmp_path / "default", ratio=10, seed=0)
    (tmp_path / "default" / "damaged").mkdir()
    (tmp_path / "default" / "damaged" / "config.yaml").write_text("data: [")
    said = f"{tmp_path}/default/ holds runs of madeup too; study=NAME keeps them apart"
    words = ("model=mlp", "logger=none", f"logs_dir={tmp_path}", *TINY)
    first = forked("ratio=20", *words)
    assert first.returncode == 0, first.stderr
    assert said in first.stderr.splitlines()
    assert "about" not in first.stdout.partition("\n")[0]
    sweep = forked("-m", "ratio=1,10,20", *words)
    first_of_two, last = (line for line in sweep.stdout.splitlines() if "took" in line)
    assert re.fullmatch(r"\[1/3\] .* took [\d:]+, about [\d:]+ for the last one", first_of_two)
    assert re.fullmatch(r"\[2/3\] .* took [\d:]+", last)
    apart = forked("ratio=1", "study=apart", *words)
    assert "holds runs of" not in apart.stderr
    again = forked("ratio=10", "study=apart", *words)
    assert "holds runs of" not in again.stderr
