"""The real command line, in processes of its own, and every file it leaves."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from logged_rows import check_rows
from program import ROOT, TINY, command, forked
from wandb_records import StreamedRun, read_run

from skewlab.data import sources
from skewlab.metrics.scores import scalars
from skewlab.runs.curve_file import read_curves
from skewlab.runs.folder import ENDED, RunFolder
from skewlab.runs.reading import digest_of
from skewlab.training.module import ImbalanceClassifier


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep's study folder: ratios 1 and 10, seeds 0 and 1."""
    logs = tmp_path_factory.mktemp("sweep")
    done = command("train.py", "-m", "ratio=1,10", "seed=0,1", f"logs_dir={logs}", *TINY)
    assert done.returncode == 0, done.stderr
    (logs / "said").write_text(done.stdout)
    return logs / "default"


def run_folder(study: Path, ratio: int, seed: int) -> Path:
    (folder,) = study.glob(f"*-ratio{ratio}-*-seed{seed}-*")
    return folder


def test_the_sweep_says_what_it_found(sweep: Path) -> None:
    said = (sweep.parent / "said").read_text()
    for job in range(1, 5):
        assert f"[{job}/4]" in said
    table = [line.split() for line in said.splitlines() if line.strip().startswith(("1 ", "10 "))]
    assert [row[:2] for row in table] == [["1", "2"], ["10", "2"]]
    assert str(sweep / "curves.png") in said
    assert f"W&B     wandb sync {sweep / 'wandb'}\n" in said
    assert (sweep / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_data_json(sweep: Path) -> None:
    data = json.loads((run_folder(sweep, 10, 0) / "data.json").read_text())
    assert data["class_names"] == [str(digit) for digit in range(10)]
    assert data["train_counts"] == [30] * 5 + [3] * 5
    assert data["groups"] == {"majority": [0, 1, 2, 3, 4], "minority": [5, 6, 7, 8, 9]}
    assert data["ratio"] == data["ratio_reached"] == 10
    # The hash by hand: shuffle each class, 20 are held for validation, the next are kept.
    labels = sources.mnist5k(str(ROOT / "data")).train_labels
    kept = [
        np.random.RandomState([0, label]).permutation(np.flatnonzero(labels == label))[20 : 20 + n]
        for label, n in enumerate(data["train_counts"])
    ]
    digest = hashlib.sha256(np.sort(np.concatenate(kept)).astype("<i8").tobytes()).hexdigest()
    assert data["indices_sha256"] == digest


def test_curves_and_summary(sweep: Path) -> None:
    folder = run_folder(sweep, 10, 1)
    lines, problems = read_curves(folder)
    assert not problems
    assert {line["split"] for line in lines} == {"train", "val", "test"}
    steps = [line["step"] for line in lines if line["split"] == "test"]
    assert steps[0] == 0
    assert steps == sorted(set(steps)), "each step once"
    assert steps[-1] == 2 * 3, "165 samples in batches of 64 are 3 steps an epoch"
    assert {1, 2}.issubset(steps), "the first epoch is seen step by step"
    groups = json.loads((folder / "data.json").read_text())["groups"]
    splits = {line["split"]: line for line in lines if line["step"] == steps[-1]}
    summary = json.loads((folder / "summary.json").read_text())
    for name, value in scalars(splits, groups).items():
        assert summary[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name
    score = max(
        float(np.nanmean(line["recall"]))
        for line in lines
        if line["split"] == "val" and line["epoch"] in (1.0, 2.0)
    )
    assert summary["val_best/val/balanced_accuracy"] == pytest.approx(score)


def test_config_is_complete_and_status_says_done(sweep: Path) -> None:
    folder = run_folder(sweep, 1, 1)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["ratio"], config["seed"], config["data_seed"]) == (1, 1, 1)
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "done"
    assert status["provenance"]["packages"]["torch"] == torch.__version__.split("+")[0]


@pytest.mark.parametrize("name", ["last", "val_best"])
def test_checkpoints_load_without_pickle_and_give_the_curves(sweep: Path, name: str) -> None:
    folder = run_folder(sweep, 10, 0)
    path = folder / "checkpoints" / f"{name}.ckpt"
    assert "state_dict" in torch.load(path, weights_only=True)
    classifier = ImbalanceClassifier.load_from_checkpoint(
        path, map_location="cpu", weights_only=True
    ).eval()
    source = sources.mnist5k(str(ROOT / "data"))
    with torch.inference_mode():
        predicted = classifier(torch.from_numpy(source.test_images)).argmax(1).numpy()
    summary = json.loads((folder / "summary.json").read_text())
    key = "test/accuracy" if name == "last" else "val_best/test/accuracy"
    assert (predicted == source.test_labels).mean() == pytest.approx(summary[key])


def test_wandb_holds_the_same_numbers(sweep: Path) -> None:
    runs: list[StreamedRun] = []
    for folder in sorted(path.parent for path in sweep.glob("*/status.json")):
        run = read_run(folder)
        runs.append(run)
        assert run.exit_code == 0
        assert run.group == "default"
        assert run.name == folder.name
        check_rows(run.history, folder)
    asked = {(run.config["ratio"], run.config["seed"]) for run in runs}
    assert asked == {(1, 0), (1, 1), (10, 0), (10, 1)}


@pytest.mark.slow
def test_a_run_alone_is_the_run_in_the_sweep(sweep: Path, tmp_path: Path) -> None:
    """Bit for bit: the last job of a sweep of four, alone in a process, with two loggers."""
    arguments = ["ratio=10", "seed=1", f"logs_dir={tmp_path}", "logger=[tensorboard,wandb]"]
    alone = forked(*arguments, *TINY)
    assert alone.returncode == 0, alone.stderr
    one, other = (run_folder(study, 10, 1) for study in (sweep, tmp_path / "default"))
    assert one.name == other.name
    assert (one / "curves.jsonl").read_bytes() == (other / "curves.jsonl").read_bytes()
    weights = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (one, other)
    ]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
    assert (one / "curves.jsonl").read_bytes() != (
        run_folder(sweep, 10, 0) / "curves.jsonl"
    ).read_bytes(), "seed 0 is a seed of its own"
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(other / "tensorboard"))
    events.Reload()
    streamed = [event.value for event in events.Scalars("test/recall/minority")]
    lines, _ = read_curves(other)
    recalls = [line["recall"][5:].mean() for line in lines if line["split"] == "test"]
    np.testing.assert_allclose(streamed, recalls, rtol=1e-6)
    check_rows(read_run(other).history, other)
    assert f"W&B     wandb sync {tmp_path}/default/wandb\n" in alone.stdout
    assert f"view    tensorboard --logdir {tmp_path}\n" in alone.stdout


def test_a_finished_run_is_skipped_and_says_how_to_train_again(sweep: Path) -> None:
    before = (run_folder(sweep, 1, 0) / "curves.jsonl").stat().st_mtime_ns
    again = forked("ratio=1", f"logs_dir={sweep.parent}", *TINY)
    assert again.returncode == 0, again.stderr
    assert "overwrite=true" in again.stderr
    assert (run_folder(sweep, 1, 0) / "curves.jsonl").stat().st_mtime_ns == before


@pytest.mark.slow
def test_other_code_is_pointed_out(sweep: Path) -> None:
    """A finished run that another version of the code has trained."""
    path = run_folder(sweep, 1, 1) / "status.json"
    status = json.loads(path.read_text())
    status["provenance"]["code"] = "0" * 16
    status["provenance"]["packages"]["torch"] = "1.0"
    path.write_text(json.dumps({**status, "digest": digest_of(status)}))
    again = forked("-m", "ratio=1", "seed=0,1", f"logs_dir={sweep.parent}", *TINY)
    assert again.returncode == 0, again.stderr
    assert "2 of 2 runs are done already and skipped; overwrite=true trains again" in again.stderr
    assert "1 trained with another version: skewlab's code; torch 1.0, now" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "ratio=1,0"], "ratio=0: must be a number of at least 1"),
        (["ratio=1,10"], "ratio=1,10: several values are a sweep; add -m"),
        (["ratoi=10"], "ratoi=10: no such key; did you mean ratio?"),
        (
            ["-m", "method=focal,ldam", "method.loss.gama=1"],
            "method.loss.gama=1: no such key; did you mean method.loss.gamma?",
        ),
        (
            ["curves/probes=geometry,samples"],
            "curves/probes=geometry,samples: several together are chosen as 'curves/probes=[g",
        ),
        (["data.batch_sze=3"], "data.batch_sze=3: no such key; did you mean data.batch_size?"),
        (["-m", "model=mlp,resnet33"], "model=resnet33: no such choice; did you mean resnet32?"),
        (["-m", "ratio=10,301"], "ratio=301: the smallest class"),
        (["study=my study/ä"], "study=my study/ä: must be letters, digits, '.', '_' and '-'"),
        (["seed=[1"], "seed=[1: must be a whole number of at least 0"),
        (
            ["data.source.path=/my ä"],
            "data.source.path=/my ä: spaces and special characters need quotes that the shell "
            "leaves: \"data.source.path='/my ä'\"",
        ),
        (["ratio"], "ratio: no key=value"),
        (["callbacks=[ema,emma]"], "callbacks=emma: no such choice; did you mean ema?"),
        (["data=null"], "a group cannot be null on the command line; leave it out"),
        (["-m", "optimizer.lr=interval(0,1)"], "optimizer.lr=interval(0,1): needs a search"),
        (["-m", "--cfg", "job"], "Only one of --run, --multirun, --cfg, --info and --shell"),
        (["--resolve"], "The --resolve flag can only be used in conjunction with --cfg or --help"),
        (["hydra.run.dir=elsewhere"], "hydra.run.dir=elsewhere: must be left out; each run names"),
        (
            ["-m", "hydra.sweep.dir=elsewhere"],
            "hydra.sweep.dir=elsewhere: must be left out; each run names its own folder, "
            "<logs_dir>/<study>/<run name>; set logs_dir and study",
        ),
        (
            ["-m", "hydra.sweep.subdir=${hydra.job.num}"],
            "hydra.sweep.subdir=${hydra.job.num}: must be left out",
        ),
        (["data.name=foo"], "data.name=foo: only names the data in run names, and chooses none"),
        (["hydra.job.chdir=true"], "hydra.job.chdir=true: must be false; each run names its own"),
        (["-m", "seed=0,1", "hydra.job.chdir=true"], "hydra.job.chdir=true: must be false"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_written(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    refused = forked(*arguments, f"logs_dir={tmp_path}/logs")
    assert refused.returncode == 2
    (line,) = refused.stderr.strip().splitlines()
    assert line.startswith(f"error: {said}")
    assert not refused.stdout
    assert not (tmp_path / "logs").exists()


@pytest.mark.slow
def test_a_mistake_in_a_process_of_its_own(tmp_path: Path) -> None:
    refused = command("train.py", "-m", "ratio=1,0", f"logs_dir={tmp_path}/logs")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: ratio=0: must be a number of at least 1")


def test_a_traceback_on_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    refused = forked("ratoi=10", f"logs_dir={tmp_path}/logs")
    assert refused.returncode == 1
    assert refused.stderr.startswith("Traceback")
    assert "ratoi" in refused.stderr


def test_hydra_shows_the_configuration_of_one_job(tmp_path: Path) -> None:
    shown = forked("--cfg", "job", "--resolve", "ratio=10", "seed=3", f"logs_dir={tmp_path}/logs")
    assert shown.returncode == 0, shown.stderr
    config = yaml.safe_load(shown.stdout)
    assert (config["ratio"], config["order_seed"]) == (10, 3)
    assert "hydra" not in config
    assert not (tmp_path / "logs").exists()


def test_a_failing_job_leaves_the_others_and_fails_the_sweep(tmp_path: Path) -> None:
    """A broken image is found in the middle of training one of two data sets."""
    from PIL import Image

    for data in ("whole", "broken"):
        for split in ("train", "test"):
            for label in ("a", "b"):
                folder = tmp_path / data / split / label
                folder.mkdir(parents=True)
                for number in range(210 if split == "train" else 6):
                    pixels = np.full((8, 8), number % 100 + 100 * (label == "b"), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number:03}.png")
    # Its header is whole, and it is none of the 200 images that are looked at before training.
    damaged = tmp_path / "broken" / "train" / "a" / "003.png"
    damaged.write_bytes(damaged.read_bytes()[:45])
    ended = forked(
        "-m",
        f"data_dir={tmp_path}/broken,{tmp_path}/whole",
        "data=image_folder",
        "data.source.memory_gib=0",
        "data.val_per_class=1",
        "data.normalise=[0.5,0.25]",
        "data.workers=0",
        "model=mlp",
        "logger=none",
        "ratio=1",
        "trainer.max_epochs=1",
        f"logs_dir={tmp_path}/logs",
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "1 of 2 runs failed" in ended.stdout
    states = {
        json.loads(path.read_text())["state"]: json.loads(path.read_text()).get("reason")
        for path in (tmp_path / "logs" / "default").glob("*/status.json")
    }
    assert set(states) == {"done", "failed"}
    assert "003.png" in str(states["failed"])


def test_a_loss_that_is_no_number_is_a_result(tmp_path: Path) -> None:
    arguments = ["optimizer.lr=1e30", "ratio=10", "logger=none", f"logs_dir={tmp_path}"]
    ended = forked(*arguments, *TINY)
    assert ended.returncode == 0, ended.stderr
    assert "diverged at step" in ended.stdout
    (path,) = (tmp_path / "default").glob("*/status.json")
    assert json.loads(path.read_text())["state"] == "diverged"
    assert "NaN" not in (path.parent / "curves.jsonl").read_text()
    assert RunFolder(path.parent).state() in ENDED, "the same command would not skip it"


@pytest.mark.slow
def test_a_terminated_run_is_not_done(tmp_path: Path) -> None:
    """SIGTERM in the middle of training: the status says so and the exit code is not zero."""
    arguments = ["train.py", "ratio=1", "logger=none", f"logs_dir={tmp_path}", "model=mlp"]
    process = subprocess.Popen(
        [sys.executable, *arguments, "trainer.max_epochs=500"], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    for _ in range(600):
        (curves,) = list(tmp_path.glob("default/*/curves.jsonl")) or (None,)
        if curves is not None and curves.read_text().count("\n") > 10:
            break
        time.sleep(0.2)
    process.terminate()
    assert process.wait(timeout=60) == 143
    (status,) = tmp_path.glob("default/*/status.json")
    found = json.loads(status.read_text())
    assert found["state"] == "preempted"
    assert found["reason"].startswith("stopped by SIGTERM at step")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra.searchpath=[file://nowhere/configs]"], "hydra.searchpath: there is no folder now"),
        (
            ["method=crt", "scheduler@method.second_stage.schedulr=multistep"],
            "scheduler@method.second_stage.schedulr=multistep: no such key",
        ),
        (["method/loss.gamma=2"], "method/loss.gamma=2: no such key; did you mean method.loss."),
        (
            ["callbacks=early_stopping", "callbacks.early_stopping.monitor=val/recall/minoriti"],
            "callbacks.early_stopping.monitor=val/recall/minoriti: no such number; did you mean",
        ),
        (
            ["+logger.own._target_=pytorch_lightning.loggers.CSVLogger", "+logger.own.nme=3"],
            "logger.own.nme=3: no such key",
        ),
        (
            ["+curves.metrics.one._target_=torchmetrics.classification.MulticlassAccuracy"],
            "curves.metrics.one: must compute a number for each class, shape [10], not []",
        ),
    ],
)
def test_more_mistakes_are_found_before_the_first_job(
    tmp_path: Path, words: list[str], said: str
) -> None:
    ended = forked(*words, "logger=none", "model=mlp", f"logs_dir={tmp_path}")
    assert ended.returncode == 2, ended.stdout
    assert ended.stderr.startswith(f"error: {said}")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_shorter_run_is_named_as_a_start_and_one_of_an_earlier_version_is_not(
    tmp_path: Path,
) -> None:
    words = (*TINY, "model=mlp", "logger=none", "ratio=5", f"logs_dir={tmp_path}")
    assert forked(*words).returncode == 0
    (shorter,) = (path.parent for path in tmp_path.glob("default/*/status.json"))
    longer = forked(*words, "trainer.max_epochs=3")
    assert f"from_run={shorter} would start" in longer.stderr
    # As if another version had given the same experiment another hash.
    shorter.rename(shorter.with_name(f"{shorter.name[:-12]}{'0' * 12}"))
    again = forked(*words)
    assert again.returncode == 0
    assert "another length" not in again.stderr


def test_an_experiment_without_its_first_line_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "# Mine.\n# @package _global_\ndefaults:\n  - override /logger: none\n"
    )
    ended = forked("--config-dir", str(folder.parent), "experiment=mine", f"logs_dir={tmp_path}")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "its first line is not `# @package _global_`" in line


def test_a_key_that_a_file_of_ones_own_lacks_can_be_added(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text(
        "name: mine\nsource:\n  _target_: skewlab.data.sources.mnist5k\n"
    )
    ended = forked("--config-dir", str(tmp_path), "data=mine", "data.val_per_class=5")
    assert ended.returncode == 2
    assert ended.stderr == (
        "error: data.val_per_class=5: not in the configuration yet; add it as "
        "+data.val_per_class=5\n"
    )


def test_a_run_that_ends_early_says_so(tmp_path: Path) -> None:
    ended = forked(
        *TINY, "model=mlp", "logger=none", "trainer.max_steps=2", "ratio=5", f"logs_dir={tmp_path}"
    )
    assert ended.returncode == 0, ended.stderr
    assert "ended after epoch 1 of 2" in ended.stderr
