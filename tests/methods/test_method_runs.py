"""Methods from the real command line: what they share with plain cross-entropy, and what not."""

import json
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from program import ROOT, command, composed_at, forked

from skewlab.config.schema import checked
from skewlab.data import sources
from skewlab.errors import ConfigError
from skewlab.launch.checks import check_jobs
from skewlab.runs.curve_file import read_curves
from skewlab.runs.identity import run_name

# 165 samples, of 30 and 3 a class, in batches of 33: 5 steps an epoch, each batch full.
ARGUMENTS = (
    "ratio=10",
    "imbalance.n_max=30",
    "data.val_per_class=20",
    "data.batch_size=33",
    "trainer.max_epochs=3",
    "training.checkpoint_seconds=0",
    "curves.early_points=2",
    "logger=none",
    "data.crop=1",
)
FIRST_STAGE = 15  # steps
METHODS = sorted(path.stem for path in (ROOT / "configs" / "method").glob("*.yaml"))
SHOWN = (
    *("ce", "ce_drs", "ce_drw", "vs", "ldam_drw", "class_balanced_sampling", "oversampling"),
    *("crt", "lws", "post_hoc_logit_adjustment"),
)
BOTH_RULES = ("model=mlp", "method/post_hoc=[logit_adjustment,tau_normalisation]")
# Interrupted in the middle of their second epoch, when more than the weights has to be restored.
SECOND_EPOCH = {
    # In the second stage; killed, it goes on from the end of the first.
    "crt": ("method=crt", "trainer.max_epochs=1", "method.second_stage.epochs=1"),
    # With a memory of gradients.
    "pcnsgd_r": ("method=pcnsgd_r", "trainer.max_epochs=2", "model=mlp"),
    # With weights that act from the second epoch on, and other random draws.
    "combined": (
        "method=ldam_drw",
        "method.weights.deferred_until=1",
        "method/sampler=progressively_balanced",
        "method/mixing=remix",
        "method/gradient=sam",
        "trainer.max_epochs=2",
    ),
}


INTERRUPTED = [*((name, "sigterm") for name in SECOND_EPOCH), ("crt", "between_batches")]


def assert_same(one: Path, other: Path) -> None:
    """Curves, and every number of the last checkpoint."""
    assert (one / "curves.jsonl").read_bytes() == (other / "curves.jsonl").read_bytes()
    states = [torch.load(p / "checkpoints" / "last.ckpt", weights_only=True) for p in (one, other)]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "in_second_stage"):
        assert str(states[0][key]) == str(states[1][key]), key
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][name]), name


class Trained:
    """A run's folder, read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text())

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        read, problems = read_curves(self.path)
        assert not problems
        return read

    def values(self, split: str, key: str = "loss") -> dict[int, list[float]]:
        """A metric of each class, by step."""
        return {line["step"]: line[key].tolist() for line in self.lines if line["split"] == split}

    @cached_property
    def weights(self) -> dict[str, torch.Tensor]:
        path = self.path / "checkpoints" / "last.ckpt"
        state = torch.load(path, weights_only=True)["state_dict"]
        return {str(name): value for name, value in state.items()}


def trained(logs: Path, study: str) -> Trained:
    (status,) = logs.glob(f"{study}/*/status.json")
    return Trained(status.parent)


def command_lines(logs: Path) -> list[list[str]]:
    """What is run, and what is done to it."""
    lines = [
        ["nothing", name, *ARGUMENTS, "model.widths=[8,8,16]", f"method={name}"] for name in SHOWN
    ]
    digits = sources.mnist5k(str(ROOT / "data"))
    for name, labels in (("right", digits.test_labels), ("wrong", 9 - digits.test_labels)):
        np.savez(
            logs / f"{name}.npz",
            x_train=digits.train_images,
            y_train=digits.train_labels,
            x_test=digits.test_images,
            y_test=labels,
        )
        data = ("data=arrays", f"data.source.path={logs}/{name}.npz")
        lines.append(["nothing", name, *ARGUMENTS, *data, *BOTH_RULES])
    return lines


def interruptions() -> list[list[str]]:
    """Runs that are whole, and such as are interrupted and go on."""
    lines = []
    for name, arguments in SECOND_EPOCH.items():
        given = [*ARGUMENTS, *arguments]
        lines.append(["nothing", f"{name}-whole", *given])
        for fault in [fault for one, fault in INTERRUPTED if one == name]:
            lines += [[what, f"{name}-{fault}", *given] for what in (fault, "nothing")]
    return lines


def run_all(logs: Path, lines: list[list[str]]) -> str:
    """Run command lines one after the other, and hold how they ended against what was done."""
    expected = {"nothing": 0, "sigterm": 143, "between_batches": -9}
    printed = ""
    for fault, study, *arguments in lines:
        done = forked(*arguments, f"logs_dir={logs}", f"study={study}", fault=fault)
        assert done.returncode == expected[fault], done.stderr
        printed += done.stdout + done.stderr
    return printed


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("logs")
    run_all(logs, command_lines(logs))
    return logs


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("interrupted")
    printed = run_all(logs, interruptions())
    assert printed.count("goes on from step 8") == len(SECOND_EPOCH)
    assert printed.count("goes on from step 5") == 1
    return logs


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fault"), INTERRUPTED)
def test_an_interrupted_run_ends_as_one_that_was_not(
    interrupted: Path, name: str, fault: str
) -> None:
    whole, resumed = (trained(interrupted, f"{name}-{how}").path for how in ("whole", fault))
    assert_same(whole, resumed)


@pytest.mark.slow
def test_every_method_begins_at_the_same_clean_loss(logs: Path) -> None:
    """Before the first step the networks are one: a curve that had a method's margins, weights or
    prior in it would differ."""
    ce = trained(logs, "ce")
    for method in set(SHOWN) - {"ce", "ldam_drw"}:  # LDAM's head is another one
        for split in ("train", "val", "test"):
            assert trained(logs, method).values(split)[0] == ce.values(split)[0], method
    assert trained(logs, "vs").values("test")[15] != ce.values("test")[15]


@pytest.mark.slow
def test_curves_are_the_plain_cross_entropy_of_the_trained_network(logs: Path) -> None:
    """Recomputed from the checkpoint, for methods that change logits or weights in their loss."""
    from skewlab.training.module import ImbalanceClassifier

    digits = sources.mnist5k(str(ROOT / "data"))
    labels = digits.test_labels
    for method in ("vs", "ldam_drw", "oversampling", "lws"):
        run = trained(logs, method)
        path = run.path / "checkpoints" / "last.ckpt"
        network = ImbalanceClassifier.load_from_checkpoint(path, map_location="cpu").eval()
        with torch.inference_mode():
            z = network(torch.from_numpy(digits.test_images)).double().numpy()
        z = z - z.max(axis=1, keepdims=True)
        loss = np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), labels]
        expected = [loss[labels == label].mean() for label in range(10)]
        found = list(run.values("test").values())[-1]
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ce_drw", "ce_drs"])
def test_what_is_deferred_is_plain_until_then(logs: Path, method: str) -> None:
    """0.8 of 3 epochs is the beginning of the third, after step 10."""
    ours, ce = trained(logs, method).values("train"), trained(logs, "ce").values("train")
    assert {step for step in ce if ours[step] == ce[step]} == {step for step in ce if step <= 10}
    assert max(ce) == FIRST_STAGE


@pytest.mark.slow
def test_resampling_is_not_plain_training(logs: Path) -> None:
    ce = trained(logs, "ce").values("train")
    for method, steps in (("class_balanced_sampling", 15), ("oversampling", 3 * 10)):
        ours = trained(logs, method).values("train")
        assert max(ours) == steps, "oversampled epochs have 300 rows"
        assert ours[1] != ce[1]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["crt", "lws"])
def test_a_second_stage_leaves_the_first_as_it_was(logs: Path, method: str) -> None:
    """The first stage is the run without it, bit for bit; the second trains the head alone, on the
    same samples."""
    ours, ce = trained(logs, method), trained(logs, "ce")
    for split in ("train", "val", "test"):
        curve = ours.values(split)
        assert max(curve) == FIRST_STAGE + 5
        assert {s: v for s, v in curve.items() if s <= FIRST_STAGE} == ce.values(split)
    assert ours.json("data.json") == ce.json("data.json"), "no new samples"
    linear = "network.head.linear." if method == "lws" else "network.head."
    frozen = {
        name: name.replace("network.head.linear.", "network.head.")
        for name in ours.weights
        if "body" in name or (method == "lws" and name.startswith(linear))
    }
    assert any("running_var" in name for name in frozen)
    for name, plain in frozen.items():
        assert torch.equal(ours.weights[name], ce.weights[plain]), name
    if method == "lws":
        assert (ours.weights["network.head.scales"] != 1).all()
    else:
        head = "network.head.weight"
        assert not torch.equal(ours.weights[head], ce.weights[head])
    loss = ours.values("train")  # of the minority, whose share has grown
    assert np.mean(loss[FIRST_STAGE + 5][5:]) < np.mean(loss[FIRST_STAGE][5:])


@pytest.mark.slow
def test_post_hoc_rules_begin_at_the_networks_own_recall(logs: Path) -> None:
    run = trained(logs, "post_hoc_logit_adjustment")
    found = run.json("post_hoc.json")
    assert found["samples"] == {"val": 200, "test": 1000}
    rule = found["rules"]["logit_adjustment"]
    assert (rule["tuned_on"], rule["criterion"]) == ("val", "balanced_accuracy")
    for split in ("val", "test"):
        own = run.values(split, "recall")[FIRST_STAGE]
        assert rule["grid"][0] == 0
        np.testing.assert_allclose(rule["by_tau"][split][0], own)
        np.testing.assert_allclose(found["own"][split], own)
    scores = [np.mean(one) for one in rule["by_tau"]["val"]]
    assert rule["grid"].index(rule["tau"]) == int(np.argmax(scores))
    ce = trained(logs, "ce")
    assert (run.path / "curves.jsonl").read_bytes() == (ce.path / "curves.jsonl").read_bytes()


def test_a_rule_with_a_given_tau_needs_no_val(tmp_path: Path) -> None:
    """Held against the network's own logits, from its checkpoint."""
    from skewlab.training.module import ImbalanceClassifier

    rules = ("method/post_hoc=logit_adjustment", "method.post_hoc.logit_adjustment.tau=0.7")
    small = (*ARGUMENTS, "model=mlp", "trainer.max_epochs=1", "data.val_per_class=0")
    done = forked(*small, *rules, f"logs_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    run = trained(tmp_path, "default")
    found = run.json("post_hoc.json")
    rule = found["rules"]["logit_adjustment"]
    assert found["samples"] == {"test": 1000}
    assert (rule["tuned_on"], rule["tau"], rule["grid"]) == (None, 0.7, [0.7])
    digits = sources.mnist5k(str(ROOT / "data"))
    path = run.path / "checkpoints" / "last.ckpt"
    network = ImbalanceClassifier.load_from_checkpoint(path, map_location="cpu").eval()
    with torch.inference_mode():
        z = network(torch.from_numpy(digits.test_images)).double().numpy()
    prior = np.array([30.0] * 5 + [3.0] * 5) / 165
    said = (z - 0.7 * np.log(prior)).argmax(axis=1)
    hit = said == digits.test_labels
    expected = [hit[digits.test_labels == label].mean() for label in range(10)]
    np.testing.assert_allclose(rule["recall"]["test"], expected)


@pytest.mark.slow
def test_wrong_test_labels_choose_the_same_tau(logs: Path) -> None:
    right, wrong = (trained(logs, name).json("post_hoc.json") for name in ("right", "wrong"))
    assert set(right["rules"]) == {"logit_adjustment", "tau_normalisation"}
    assert right["own"]["test"] != wrong["own"]["test"]
    for name, rule in right["rules"].items():
        other = wrong["rules"][name]
        assert rule["tau"] == other["tau"]
        assert rule["by_tau"]["val"] == other["by_tau"]["val"]


def said_of(tmp_path: Path, *words: str, timeout: int = 300) -> tuple[list[str], str]:
    """The methods that a sweep has trained, and what it said."""
    done = command("train.py", "-m", *words, f"logs_dir={tmp_path}", timeout=timeout)
    assert done.returncode == 0, done.stderr
    statuses = sorted(tmp_path.glob("*/*/status.json"))
    assert {json.loads(path.read_text())["state"] for path in statuses} == {"done"}
    configs = [yaml.safe_load((path.parent / "config.yaml").read_text()) for path in statuses]
    return sorted(config["method"]["name"] for config in configs), done.stderr


@pytest.mark.slow
def test_every_method_that_fits_trains_and_the_others_are_left_out_with_a_reason(
    tmp_path: Path,
) -> None:
    asked = ("method=glob(*)", "ratio=100", "debug=fast")
    trained, said = said_of(tmp_path, *asked, timeout=2400)
    assert trained == [name for name in METHODS if name != "pcngd"]
    assert "is left out: data.batch_size=64: must be at least the 505 training samples" in said


@pytest.mark.slow
def test_pcngd_trains_on_the_whole_set_at_once(tmp_path: Path) -> None:
    whole = (*ARGUMENTS, "method=ce,pcngd", "data.batch_size=165")
    assert said_of(tmp_path, *whole)[0] == ["ce", "pcngd"]


def test_a_pattern_asks_for_whatever_fits_and_a_list_for_just_that(
    composed: Callable[..., dict[str, Any]],
) -> None:
    jobs = [composed("method=ce"), composed("method=pcngd")]
    paths, _, unfit = check_jobs(jobs, whichever_fit=True)
    assert list(unfit) == [paths[1]]
    assert unfit[paths[1]].startswith("data.batch_size=64: must be at least the 1515 training")
    with pytest.raises(ConfigError, match=r"data\.batch_size=64"):
        check_jobs(jobs)
    with pytest.raises(ConfigError, match=r"data\.batch_size=64"):
        check_jobs(jobs[1:], whichever_fit=True)


@pytest.mark.slow
def test_methods_have_names_of_their_own(tmp_path: Path) -> None:
    """And a part that is left out has no say: a run without any keeps the name it had."""
    jobs = {name: checked(composed_at(tmp_path, f"method={name}")) for name in METHODS}
    assert all(job.method.name == name for name, job in jobs.items())
    combined = composed_at(tmp_path, "method=ldam_drw", "method/sampler=square_root")
    names = {run_name(job) for job in [*jobs.values(), checked(combined)]}
    assert len(names) == len(METHODS) + 1
    without = composed_at(tmp_path, "method=class_balanced_sampling", "method/sampler=none")
    without["method"]["name"] = "ce"
    assert run_name(checked(without)) == run_name(jobs["ce"])
    plain = checked(
        {**composed_at(tmp_path), "method": {"name": "ce", "loss": jobs["ce"].method.loss}}
    )
    assert run_name(plain) == run_name(jobs["ce"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["method=pcngd"], "data.batch_size=64: must be at least the 1515 training samples"),
        (
            ["method=pcngd", "data.batch_size=2000", "method/sampler=oversampling"],
            "method.gradient._target_=skewlab.methods.gradient_rules.WholePerClassNormalised: "
            "takes every training sample once a step",
        ),
        (
            ["method=pcnsgd", "method/mixing=mixup"],
            "method.gradient._target_=skewlab.methods.gradient_rules.PerClassNormalised: "
            "takes each class's gradient apart, and a mixed image belongs to no single class",
        ),
        (
            ["method=pcnsgd", "method/weights=inverse"],
            "method.gradient._target_=skewlab.methods.gradient_rules.PerClassNormalised: "
            "gives each class's gradient the same length",
        ),
        (["method=pcnsgd_o", "data.batch_size=8"], "method.sampler={'equal': True}: cannot be "),
        (
            ["method=ldam", "method/post_hoc=tau_normalisation"],
            "method.post_hoc.tau_normalisation: divides by the lengths of the head's weights",
        ),
        (
            ["method=lws", "method/post_hoc=tau_normalisation"],
            "method.post_hoc.tau_normalisation: sets the lengths of the head's weights",
        ),
        (
            ["method=tau_normalisation", "data.val_per_class=0"],
            "data.val_per_class=0: must be at least 1 for method.post_hoc=['tau_normalisation'],",
        ),
        (
            ["method=ldam_drw", "method.weights.deferred_until=160"],
            "method.weights.deferred_until=160: epoch 160 is after the last epoch, 29 (counted "
            "from 0); use an epoch of at most 29, as in method.weights.deferred_until=29, or train "
            "for at least 161 epochs (trainer.max_epochs)",
        ),
        (
            ["method=ce_drs", "method.sampler.deferred_until=30"],
            "method.sampler.deferred_until=30: epoch 30 is after the last epoch, 29 ",
        ),
        (["method=class_balanced", "method.weights.beta=1"], "method.weights={'beta': 1, "),
        (
            ["method=class_balanced", "method.weights.normalise=batch"],
            "method.weights.normalise=batch: must be one of batch_weights, batch_size",
        ),
        (["method=focal", "+method.loss.gama=1"], "method.loss.gama=1: no such key; did you mean"),
        (["method=crt", "method.second_stage.epochs=0"], "method.second_stage={"),
        (
            ["method=crt", "method.second_stage.batch_norm=maybe"],
            "method.second_stage.batch_norm=maybe: must be one of frozen, moving",
        ),
        (
            ["method=mislas", "+method.second_stage.loss.hed=0.1"],
            "method.second_stage.loss.hed=0.1: no such key; did you mean head?",
        ),
        (
            ["method=crt", "method.second_stage.sampler.deferred_until=5"],
            "method.second_stage.sampler.deferred_until=5: epoch 5 is after the last epoch, 2 ",
        ),
        (
            ["method=weighted_inverse", "method.loss._target_=torch.nn.CrossEntropyLoss"],
            "method.weights._target_=skewlab.methods.weights.InverseFrequency: needs a loss that",
        ),
        (
            ["method=ride", "method/mixing=mixup"],
            "method.algorithm._target_=skewlab.methods.algorithms.RIDE: owns its network and its "
            "step; leave out method.mixing",
        ),
        (
            ["method=ride", "method/post_hoc=tau_normalisation"],
            "method.algorithm._target_=skewlab.methods.algorithms.RIDE: owns its network and has "
            "no one linear head; leave out method.post_hoc.tau_normalisation",
        ),
        (
            ["method=ride", "curves/probes=representation"],
            "curves/probes=representation: needs a network with `features` and `head`",
        ),
        (
            ["method=balanced_contrastive", "method.algorithm.image_views.area=0"],
            "method.algorithm",
        ),
        (["+method.samplr=1"], "method.samplr=1: no such key; did you mean sampler?"),
    ],
)
def test_what_has_no_meaning_is_refused(
    composed: Callable[..., dict[str, Any]], overrides: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_jobs([composed(), composed(*overrides)])
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def said_of_weights(
    composed: Callable[..., dict[str, Any]], log: pytest.LogCaptureFixture, *overrides: str
) -> list[str]:
    log.clear()
    with log.at_level("INFO", logger="skewlab"):
        check_jobs([composed("imbalance.n_max=300", *overrides)])
    return [record.getMessage() for record in log.records if "hold no" in record.getMessage()]


def test_batches_that_lack_a_class_are_said(
    composed: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    """300 : 3 in batches of 64: against batches drawn anew, many of them."""
    (line,) = said_of_weights(composed, caplog, "method=weighted_inverse")
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), [300] * 5 + [3] * 5)
    shares, lacking = [], []
    for _ in range(400):
        order = random.permutation(labels)
        for first in range(0, 1515, 64):
            of_class = np.bincount(order[first : first + 64], minlength=10)
            weight = of_class / np.repeat([300, 3], 5)
            shares.append(weight[5:].sum() / weight.sum())
            lacking.append(of_class[9] == 0)
    found = [float(word) for word in re.findall(r" (0\.\d\d) ", line)]
    assert found == pytest.approx([np.mean(shares), 0.5], abs=0.08), "of the 24 batches of an epoch"
    assert "hold no sample of 5 of the 10 classes" in line
    assert np.mean(lacking) == pytest.approx(0.88, abs=0.01)
    by_size = ("method=weighted_inverse", "method.weights.normalise=batch_size")
    assert not said_of_weights(composed, caplog, *by_size)
    sampled = ("method=weighted_inverse", "method/sampler=class_balanced")
    assert not said_of_weights(composed, caplog, *sampled)
    assert not said_of_weights(composed, caplog, "method=weighted_inverse", "ratio=2")


@pytest.mark.slow
@pytest.mark.parametrize(
    "group", sorted(p.name for p in (ROOT / "configs" / "method").iterdir() if p.is_dir())
)
def test_every_part_can_be_chosen(composed: Callable[..., dict[str, Any]], group: str) -> None:
    for path in sorted((ROOT / "configs" / "method" / group).glob("*.yaml")):
        job = composed(f"method/{group}={path.stem}", "data.batch_size=2000")
        check_jobs([job])
        chosen = getattr(checked(job).method, group)
        assert bool(chosen) == (path.stem != "none")
