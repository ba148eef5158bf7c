"""The schema: what passes, what is refused, and that every mistake is one line that helps."""

from collections.abc import Callable
from typing import Any

import pytest

from skewlab.config.schema import check
from skewlab.errors import ConfigError
from skewlab.launch.checks import check_jobs
from skewlab.runs.identity import run_name

Composed = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("ratio=0", "ratio=0: must be a number of at least 1"),
        ("ratio=abc", "ratio=abc: must be a number of at least 1"),
        ("ratio=0.01", "ratio=0.01: must be a number of at least 1"),
        ("ratio=nan", "ratio=nan: must be"),
        ("ratio=null", "ratio=null: must be a number of at least 1"),
        ("+data.batch_sze=3", "data.batch_sze=3: no such key; did you mean batch_size?"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0: must be a whole number of at least 1"),
        ("trainer.precision=16", "trainer.precision=16: must be one of 32, bf16"),
        ("seed=-1", "seed=-1: must be a whole number of at least 0"),
        ("seed=1.5", "seed=1.5: must be a whole number"),
        ("study=a/b", "study=a/b: must be letters, digits"),
        ("imbalance.class_order=sorted", "imbalance.class_order=sorted: must be identity"),
        ("imbalance.counts=[1,2]", "imbalance.counts=[1, 2]: must be null"),
        ("imbalance=counts", "imbalance.counts=null: must be a list"),
        ("imbalance.minority_fraction=1", "imbalance.minority_fraction=1: must be a number betw"),
        ("debug=profile trainer.max_epochs=2", "trainer.max_epochs=2: must be at least 3 with"),
        ("debug=profile trainer=ddp", "trainer.profile=true: is of one process"),
    ],
)
def test_mistakes_of_value(composed: Composed, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(composed(*override.split()))
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["ratio=301"], "ratio=301: the smallest class would have less than one sample"),
        (["imbalance.class_order=[9,8]"], "imbalance.class_order=[9, 8]: must hold each"),
        (["imbalance.class_order=[ten,1]"], "imbalance.class_order=['ten', 1]: unknown class"),
        (["+model.depth=3"], "model.depth=3: no such key; allowed: widths"),
        (["model=resnet20", "model.depth=21"], "model.depth=21: must be 6 n + 2"),
        (["optimizer.lr=fast"], "optimizer.lr=fast: must be of type float"),
        (["method=focal", "method.loss.gamma=no"], "method.loss.gamma=no: must be of type float"),
        (["model.widths=[8,wide]"], "model.widths=[8, 'wide']: must be of type Sequence[int]"),
        (
            ["curves/probes=[geometry]", "curves.probes.geometry.projected=few"],
            "curves.probes.geometry.projected=few: must be of type int",
        ),
        (["model._target_=no.such.thing"], "model._target_=no.such.thing: must be the path"),
        (["logger.wandb.mode=live"], "logger.wandb.mode=live: must be one of offline, online"),
        (["data.val_per_class=400"], "data.val_per_class=400: must leave samples"),
        (["imbalance.n_max=301"], "imbalance.n_max=301: asks for 301 samples"),
        (["data=image_folder", "data_dir=/nowhere"], "data_dir=/nowhere: cannot read"),
        (["data=arrays", "data.source.path=/no.npz"], "data.source.path=/no.npz: no such file"),
    ],
)
def test_mistakes_that_only_data_and_parts_show(
    composed: Composed, overrides: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_jobs([composed(), composed(*overrides)])
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_identity_is_the_science_alone(composed: Composed) -> None:
    name = run_name(check(composed("ratio=10")))
    for same in ("ratio=10.0", "logger=none", "study=other", "trainer.accelerator=cpu"):
        assert run_name(check(composed("ratio=10", same))) == name, same
    for other in ("seed=1", "data_seed=1", "optimizer.lr=0.1", "trainer.precision=bf16"):
        assert run_name(check(composed("ratio=10", other))) != name, other


@pytest.mark.parametrize(
    "group", ["data", "imbalance", "model", "method", "optimizer", "scheduler", "logger"]
)
def test_every_choice_of_every_group_is_whole(composed: Composed, group: str) -> None:
    from program import ROOT

    for path in sorted((ROOT / "configs" / group).glob("*.yaml")):
        extra = ["imbalance.counts=[3,2,1]"] if path.stem == "counts" else []
        check(composed(f"{group}={path.stem}", *extra))
