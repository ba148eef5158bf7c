"""The schema: what passes, what is refused, and that every mistake is one line that helps."""

import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from skewlab.config.schema import checked
from skewlab.errors import ConfigError
from skewlab.launch.checks import check_jobs
from skewlab.runs.identity import run_name

Composed = Callable[..., dict[str, Any]]
# Groups whose choices take seconds to compose, one after the other.
MANY_CHOICES = ("data", "logger", "method", "model")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("ratio=0", "ratio=0: must be a number of at least 1"),
        ("ratio=abc", "ratio=abc: must be a number of at least 1"),
        ("ratio=0.01", "ratio=0.01: must be a number of at least 1"),
        ("ratio=nan", "ratio=nan: must be"),
        ("ratio=null", "ratio=null: must be a number of at least 1"),
        ("ratio=natural", "ratio=natural: must be a number of at least 1, but for imbalance=natur"),
        ("imbalance=natural ratio=null", "ratio=null: must be a number"),
        ("imbalance=natural imbalance.n_max=9", "imbalance.n_max=9: has no meaning with imbalanc"),
        ("imbalance=natural control=swapped_roles", "control=swapped_roles: has no meaning with"),
        ("imbalance=counts imbalance.counts=[4,3] imbalance.total=9", "imbalance.total=9: has no"),
        ("imbalance.minority=[9] control=swapped_roles", "imbalance.minority=[9]: must be null"),
        ("imbalance.few_below=200", "imbalance.few_below=200: must be at most imbalance.many_ab"),
        ("imbalance=counts imbalance.counts={a:0}", "imbalance.counts={'a': 0}: must be whole num"),
        ("data.val_fraction=1", "data.val_fraction=1: must be a number between 0 and 1, or null"),
        ("+data.batch_sze=3", "data.batch_sze=3: no such key; did you mean batch_size?"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0: must be a whole number of at least 1"),
        ("trainer.strategy=fsdp", "trainer.strategy=fsdp: must be one of auto, ddp; other"),
        ("trainer.accelerator=tpu", "trainer.accelerator=tpu: must be one of auto, cpu, gpu"),
        ("training.updates=all", "training.updates=all: must be one of own, imbalanced, balanced"),
        ("training.threads=0", "training.threads=0: must be a whole number of at least 1, or null"),
        ("training.checkpoint_seconds=-1", "training.checkpoint_seconds=-1: must be a number of"),
        ("+training.precision=32", "training.precision=32: no such key; allowed: checkpoint_sec"),
        ("seed=-1", "seed=-1: must be a whole number of at least 0"),
        ("seed=1.5", "seed=1.5: must be a whole number"),
        ("study=a/b", "study=a/b: must be letters, digits"),
        ("study=..", "study=..: must be letters, digits"),
        (
            f"study={'s' * 300}",
            f"study={'s' * 77}...: must be letters, digits, '.', '_' and '-', at",
        ),
        ("model.name=../../..", "model.name=../../..: must be letters, digits"),
        (f"model.name={'m' * 65}", f"model.name={'m' * 65}: must be letters, digits"),
        ("logger=csv logger.csv.version=../x", "logger.csv.version=../x: must be a name, not a"),
        ("logger=csv logger.csv.name=/x", "logger.csv.name=/x: must be a name, not a path"),
        (
            "callbacks=model_checkpoint callbacks.model_checkpoint.filename=../../x",
            "callbacks.model_checkpoint.filename=../../x: must be a name",
        ),
        ("imbalance.class_order=sorted", "imbalance.class_order=sorted: must be identity"),
        ("imbalance.counts=[1,2]", "imbalance.counts=[1, 2]: must be null"),
        ("imbalance=counts", "imbalance.counts=null: must be a list"),
        ("imbalance.minority_fraction=1", "imbalance.minority_fraction=1: must be a number betw"),
    ],
)
def test_mistakes_of_value(composed: Composed, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(composed(*override.split()))
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["ratio=301"], "ratio=301: the smallest class would have less than one sample"),
        (["imbalance=natural", "ratio=2"], "ratio=2: must be natural, or at most 1"),
        (["imbalance.minority=[ten]"], "imbalance.minority=['ten']: unknown class 'ten'"),
        (
            ["imbalance=counts", "imbalance.counts={1: 3, 2: 4}"],
            "imbalance.counts={'1': 3, '2': 4}: must hold each of the 10 classes once",
        ),
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
        (["+trainer.max_epoch=3"], "trainer.max_epoch=3: no such key; did you mean max_epochs?"),
        (["+trainer.checkpoint_seconds=3"], "trainer.checkpoint_seconds=3: no such key"),
        (["trainer.gradient_clip_val=much"], "trainer.gradient_clip_val=much: must be of type"),
        (["trainer.precision=17"], "trainer.precision=17: must be "),
        (["trainer.overfit_batches=-1"], "trainer: Lightning refuses its arguments: "),
        (["+trainer.logger=true"], "trainer.logger=True: set elsewhere; loggers are chosen as"),
        (["trainer.barebones=true"], "trainer.barebones=true: leaves out the callbacks"),
        (["trainer.enable_checkpointing=false"], "trainer.enable_checkpointing=false: an inter"),
        (["trainer.devices=2"], "trainer.devices=2: must be auto, 1, or the number of one GPU"),
        (
            ["callbacks=early_stopping", "+callbacks.early_stopping.patiense=3"],
            "callbacks.early_stopping.patiense=3: no such key; did you mean patience?",
        ),
        (["model._target_=no.such.thing"], "model._target_=no.such.thing: must be the path"),
        (["logger.wandb.mode=live"], "logger.wandb.mode=live: must be one of offline, online"),
        (["data.val_per_class=400"], "data.val_per_class=400: must leave samples"),
        (["imbalance.n_max=301"], "imbalance.n_max=301: asks for 301 samples"),
        (["data=image_folder", "data_dir=/nowhere"], "data_dir=/nowhere: cannot read"),
        (["data=arrays", "data.source.path=/no.npz"], "data.source.path=/no.npz: no such file"),
        (["data=breast_cancer", "imbalance.n_max=100"], "model=small_cnn: needs images, [height"),
        (["model=embedding_bag"], "model=embedding_bag: takes tokens, and this data has none"),
        (["model=cnn_1d"], "model=cnn_1d: needs series, [time, channels]"),
        (
            ["data=breast_cancer", "model=mlp", "data.crop=2"],
            "data.crop=2: must be 0, as this data is table, no images",
        ),
        (
            ["data=breast_cancer", "model=mlp", "method=cutmix", "imbalance.n_max=100"],
            "method/mixing=cutmix: has no meaning for this data, which is table",
        ),
        (
            ["data=breast_cancer", "model=mlp", "data/recipe=imagenet", "imbalance.n_max=100"],
            "data.transform._target_=skewlab.data.recipes.imagenet: must be null, as this data is",
        ),
        (["data.normalise=imagenet"], "data.normalise=imagenet: must be pool, or a mean and a"),
        (["data.normalise=[[1,2],[1,2]]"], "data.normalise=[[1.0, 2.0], [1.0, 2.0]]: must be pool"),
        (["data.cache=/tmp/x"], "data.cache=/tmp/x: must be null with data=mnist5k"),
        (
            [
                "+data.transform._target_=torchvision.transforms.v2.CenterCrop",
                "+data.transform.size=20",
            ],
            "data.transform._target_=torchvision.transforms.v2.CenterCrop: gives images of uint8",
        ),
        (
            ["data/recipe=imagenet", "+data.transform.jiter=1"],
            "data.transform.jiter=1: no such key; did you mean jitter?",
        ),
    ],
)
def test_mistakes_that_only_data_and_parts_show(
    composed: Composed, overrides: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_jobs([composed(), composed(*overrides)])
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def with_value(config: dict[str, Any], key_and_value: str) -> dict[str, Any]:
    """The configuration with another value of one key: composing it anew takes far longer."""
    key, _, value = key_and_value.partition("=")
    changed = section = copy.deepcopy(config)
    *above, last = key.split(".")
    for part in above:
        section = section[part]
    section[last] = yaml.safe_load(value)
    return changed


def test_a_name_that_becomes_part_of_a_path_stays_in_its_folder(composed: Composed) -> None:
    config = composed()
    names = ["../up", "/root", "a/b", "a\\b", ".hidden", "", "n" * 65, "a\n"]
    keys = ["data.name", "method.name", "method.post_hoc", "curves.metrics", "curves.probes"]
    for key, name in itertools.product([*keys, "logger", "callbacks"], names):
        value = name if key.endswith(".name") else {name: {"_target_": "any.thing"}}
        with pytest.raises(ConfigError, match=f"^{key}[.=].*letters, digits"):
            checked(with_value(config, f"{key}={json.dumps(value)}"))


def test_the_longest_names_give_a_folder_that_file_systems_take(
    composed: Composed, tmp_path: Path
) -> None:
    config = composed("imbalance=one_minority", "ratio=1.23456e+300", "seed=2147483647")
    for part in ("data", "model", "method"):
        config[part]["name"] = "n" * 64
    (tmp_path / run_name(checked(config))).mkdir()
    config["method"]["name"] += "n"
    with pytest.raises(ConfigError):
        checked(config)


def test_what_does_not_change_the_science_does_not_change_the_name(composed: Composed) -> None:
    base = composed("ratio=10")
    values = [
        "study=other",
        "logs_dir=/elsewhere",
        "data_dir=/elsewhere",
        "overwrite=true",
        "report_claims=[my.Claim]",
        "report_sections=[my.SECTION]",
        "objective=val/worst_class",
        "data.workers=3",
        "training.threads=1",
        "training.checkpoint_seconds=7",
        "trainer.accelerator=cpu",
        "trainer.devices=1",
        "trainer.log_every_n_steps=1",
        "trainer.enable_progress_bar=true",
        "trainer.enable_model_summary=true",
        "trainer.profiler=simple",
    ]
    choices = [
        "ratio=10.0",
        "logger=none",
        "trainer=cpu",
        "callbacks=learning_rate_monitor",
        "callbacks=model_checkpoint",
        "callbacks=[model_summary,learning_rate_monitor]",
    ]
    names = {value: run_name(checked(with_value(base, value))) for value in values}
    names |= {choice: run_name(checked(composed("ratio=10", choice))) for choice in choices}
    assert {change: name for change, name in names.items() if name != run_name(checked(base))} == {}


def test_what_changes_the_science_changes_the_name(composed: Composed) -> None:
    """And each change in its own way: no two names are the same."""
    base, averaged = composed("ratio=10"), composed("ratio=10", "callbacks=ema")
    values = [
        "ratio=11",
        "seed=1",
        "data_seed=1",
        "init_seed=1",
        "order_seed=1",
        "data.batch_size=32",
        "data.flip=true",
        "optimizer.lr=0.1",
        "training.updates=balanced",
        "trainer.max_epochs=29",
        "trainer.max_steps=100",
        "trainer.max_time=00:01:00:00",
        "trainer.gradient_clip_val=1.0",
        "trainer.accumulate_grad_batches=2",
        "trainer.precision=bf16-mixed",
        "trainer.deterministic=false",
        "trainer.limit_train_batches=0.5",
        "trainer.overfit_batches=2",
        "from_run=logs/default/one",
        "from_run=logs/default/two",
        "from_run=logs/other/one",
        "curves.metrics.own={_target_: torchmetrics.Accuracy}",
        "curves.every_n_epochs=2",
        "module._target_=my.Module",
        "datamodule._target_=my.DataModule",
    ]
    choices = ["imbalance=exp", "model=mlp", "method=focal", "scheduler=constant"]
    choices += ["callbacks=early_stopping", "callbacks=[ema,early_stopping]"]
    configs = {"nothing": base, "ema": averaged}
    configs["another ema"] = with_value(averaged, "callbacks.ema.decay=0.9")
    configs |= {value: with_value(base, value) for value in values}
    configs |= {choice: composed("ratio=10", choice) for choice in choices}
    names = {change: run_name(checked(config)) for change, config in configs.items()}
    hashes = [name.rpartition("-")[2] for name in names.values()]
    assert [c for c, own in zip(names, hashes, strict=True) if hashes.count(own) > 1] == []


def test_what_only_watches_leaves_the_name_of_what_acts(composed: Composed) -> None:
    both = checked(composed("callbacks=[ema,learning_rate_monitor]"))
    assert run_name(both) == run_name(checked(composed("callbacks=ema")))
    assert set(both.scientific()["callbacks"]) == {"ema"}


def test_the_run_that_is_started_from_is_the_same_wherever_studies_lie(composed: Composed) -> None:
    base = composed()
    one, other = (
        run_name(checked(with_value(base, f"from_run={logs}/study/run")))
        for logs in ("logs", "/somewhere/else")
    )
    assert one == other


def test_a_control_that_leaves_a_balanced_run_as_it_is_leaves_its_name(composed: Composed) -> None:
    base = composed("ratio=1")
    for control in ("equal_updates", "same_total", "same_minority"):
        controlled = composed("ratio=1", f"control={control}")
        assert run_name(checked(controlled)) == run_name(checked(base))
        one, other = (run_name(checked(with_value(c, "ratio=2"))) for c in (controlled, base))
        assert one != other


@pytest.mark.parametrize(
    "group",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in MANY_CHOICES),
        *("imbalance", "optimizer", "scheduler"),
    ],
)
def test_every_choice_of_every_group_is_whole(composed: Composed, group: str) -> None:
    from program import ROOT

    for path in sorted((ROOT / "configs" / group).glob("*.yaml")):
        extra = ["imbalance.counts=[3,2,1]"] if path.stem == "counts" else []
        checked(composed(f"{group}={path.stem}", *extra))
