"""Lists, tables, iNaturalist's JSON and Hugging Face's data sets, on small made files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import refused
from PIL import Image
from sklearn.preprocessing import OneHotEncoder

from skewlab.data.sources import Source, arrays, huggingface, image_list, inaturalist, table
from skewlab.data.sources.tables import held_out

COUNTS = {"train": (6, 3), "val": (2, 1), "test": (2, 2)}


def shade(split: str, label: int, number: int) -> int:
    """The brightness by which each made image is known again."""
    return 10 + 80 * list(COUNTS).index(split) + 20 * label + number


def save_listed(root: Path) -> dict[str, list[tuple[str, int]]]:
    """Small grey images, and the path and label of each by split."""
    (root / "images").mkdir(parents=True)
    found: dict[str, list[tuple[str, int]]] = {}
    for split, counts in COUNTS.items():
        found[split] = []
        for label, count in enumerate(counts):
            for number in range(count):
                name = f"images/{split} {label} {number}.png"  # spaces in names
                pixels = np.full((4, 4), shade(split, label, number), np.uint8)
                pixels[0, 0] = 0
                Image.fromarray(pixels).save(root / name)
                found[split].append((name, label))
    return found


def check_shades(source: Source) -> None:
    assert source.val_images is not None
    for split, images in (
        ("train", source.train_images),
        ("val", source.val_images),
        ("test", source.test_images),
    ):
        expected = [
            shade(split, label, number)
            for label, count in enumerate(COUNTS[split])
            for number in range(count)
        ]
        assert images[np.arange(len(images))][:, 1, 1, 0].tolist() == expected
    assert source.train_labels.tolist() == [0] * 6 + [1] * 3


# Lists.


@pytest.mark.parametrize(
    ("separator", "val"), [(" ", "val.txt"), ("\t", None), (",", None), (", ", "val.txt")]
)
def test_lists_of_paths_and_labels(separator: str, val: str | None, tmp_path: Path) -> None:
    for split, lines in save_listed(tmp_path).items():
        text = "".join(f"{path}{separator}{label}\n" for path, label in lines)
        (tmp_path / f"{split}.txt").write_text(f"# path label\n\n{text}")
    source = image_list(str(tmp_path), "train.txt", "test.txt", val, ["cat", "dog"])
    check_shades(source)
    assert source.class_names == ("cat", "dog")


def test_a_val_list_that_is_the_test_list_selects_nothing(tmp_path: Path) -> None:
    for split, lines in save_listed(tmp_path).items():
        (tmp_path / f"{split}.txt").write_text("".join(f"{p} {c}\n" for p, c in lines))
    assert image_list(str(tmp_path), "train.txt", "test.txt").val_images is not None
    assert image_list(str(tmp_path), "train.txt", "val.txt").val_images is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("alone.png", "line 1 is 'alone.png'; must be a path and a label"),
        ("images/nowhere.png 0", "images/nowhere.png of a list is not there"),
        ("../outside.png 0", "is a path out of"),
        ("images/train 0 0.png 7", "labels go up to 7"),
        ("", "holds no line"),
    ],
)
def test_lists_that_are_wrong_are_refused(line: str, said: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    save_listed(root)
    Image.new("L", (4, 4)).save(tmp_path / "outside.png")
    (root / "train.txt").write_text(line)
    (root / "test.txt").write_text("images/test 0 0.png 0\n")
    assert said in refused(lambda: image_list(str(root), "train.txt", "test.txt"))
    assert "no such file" in refused(lambda: image_list(str(root), "none.txt", "test.txt"))


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (file := tmp_path / "mine.npz").write_bytes(b"")
    for read, name in ((arrays, "arrays.npz"), (lambda path: table(path, "label"), "table.csv")):
        said = refused(lambda read=read, name=name: read(str(file / name)))
        assert f"give it as data.source.path={file}" in said


def test_the_same_file_in_two_splits_is_said(tmp_path: Path) -> None:
    for split, lines in save_listed(tmp_path).items():
        (tmp_path / f"{split}.txt").write_text("".join(f"{p} {c}\n" for p, c in lines))
    source = image_list(str(tmp_path), "train.txt", "test.txt", "test.txt")
    assert "4 files are listed more than once" in source.described()


def test_inaturalists_json(tmp_path: Path) -> None:
    for split, lines in save_listed(tmp_path).items():
        content = {
            "images": [{"id": 50 + n, "file_name": path} for n, (path, _) in enumerate(lines)],
            "annotations": [
                {"image_id": 50 + n, "category_id": 7 + 5 * label}
                for n, (_, label) in enumerate(lines)
            ],
            "categories": [{"id": 12, "name": "moth"}, {"id": 7, "name": "ant"}],
        }
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    source = inaturalist(str(tmp_path), "train.json", "test.json", "val.json")
    check_shades(source)
    assert source.class_names == ("ant", "moth")
    (tmp_path / "test.json").write_text('{"images": []}')
    message = refused(lambda: inaturalist(str(tmp_path), "train.json", "test.json"))
    assert message.startswith("data.source.test=test.json: must be JSON with images (id, file_name")


# Tables.


def frame(rows: int = 40) -> pd.DataFrame:
    random = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "age": random.normal(50, 9, rows),
            "dose": random.integers(0, 5, rows),
            "site": random.choice(["a", "b", "c"], rows),
            "smokes": random.random(rows) < 0.5,
            "outcome": ["ill" if n % 4 == 0 else "well" for n in range(rows)],
        }
    )
    made.loc[[1, 5, 9], "age"] = np.nan
    made.loc[[2, 3], "site"] = None
    return made


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_columns_become_numbers(suffix: str, tmp_path: Path) -> None:
    made, path = frame(), tmp_path / f"table.{suffix}"
    train, test = made[:30], made[30:].assign(site="d")  # a site that training lacks
    for name, part in (("table", train), ("test", test)):
        if suffix == "csv":
            part.to_csv(tmp_path / f"{name}.csv", index=False)
        else:
            part.to_parquet(tmp_path / f"{name}.parquet")
    source = table(str(path), "outcome", test_path=str(tmp_path / f"test.{suffix}"))
    assert source.class_names == ("ill", "well")
    assert source.train_labels.tolist() == [0 if n % 4 == 0 else 1 for n in range(30)]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    for part, found in ((train, source.train_images), (test, source.test_images)):
        sites = part["site"].fillna("missing").to_numpy()[:, None]
        if part is train:
            encoder.fit(sites[sites != "missing"][:, None])
        expected = np.column_stack(
            [
                *(part["age"], part["age"].isna(), part["dose"]),
                *(encoder.transform(sites), ~part["smokes"], part["smokes"]),
            ]
        )
        np.testing.assert_allclose(found, expected.astype(float), rtol=1e-6)
    assert "10 values that training lacks become 0" in source.described()


def test_a_share_of_each_class_is_held_out(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "t.csv", index=False)
    source = table(str(tmp_path / "t.csv"), "outcome", test_fraction=0.3)
    assert np.bincount(source.test_labels).tolist() == [3, 9]
    assert np.bincount(source.train_labels).tolist() == [7, 21]
    again = table(str(tmp_path / "t.csv"), "outcome", test_fraction=0.3)
    assert again.fingerprint == source.fingerprint


def test_at_least_one_of_each_class_is_held_out_and_one_is_left() -> None:
    labels = np.repeat(["a", "b", "c"], [100, 2, 3])
    for fraction in (0.01, 0.2, 0.9):
        test = held_out(labels, fraction)
        for name in "abc":
            assert 0 < test[labels == name].sum() < (labels == name).sum()
    assert "class b has 1 sample" in refused(lambda: held_out(np.array(["a", "a", "b"]), 0.5))


def test_a_column_says_the_split_and_another_the_images(tmp_path: Path) -> None:
    rows = [
        {"image": Path(path).stem, "fold": split, "diagnosis": ["nevus", "melanoma"][label]}
        for split, lines in save_listed(tmp_path).items()
        for path, label in lines
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "isic.csv", index=False, sep=";")
    source = table(
        str(tmp_path / "isic.csv"),
        "diagnosis",
        split="fold",
        separator=";",
        images="image",
        image_root=str(tmp_path / "images"),
        image_suffix=".png",
    )
    assert source.class_names == ("melanoma", "nevus")
    assert source.train_labels.tolist() == [1] * 6 + [0] * 3
    assert source.train_images[:, 1, 1, 0].tolist()[:6] == [shade("train", 0, n) for n in range(6)]
    assert source.val_labels is not None
    assert source.val_labels.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        ({}, {"label": "outcom"}, "has no column outcom; did you mean outcome?"),
        ({}, {"label": "outcome", "separator": ";"}, "data.source.separator divides columns"),
        ({"name": [f"n{n}" for n in range(40)]}, {}, "data.source.drop=[name]"),
        ({"outcome": [None] + ["ill", "well"] * 19 + ["ill"]}, {}, "1 rows have no label"),
        ({}, {"test_fraction": 1.5}, "data.source.test_fraction=1.5: must be a number between"),
        ({}, {"split": "site"}, "must be train, val or test"),
        ({}, {"drop": ["nothing"]}, "has no column nothing"),
    ],
)
def test_tables_that_are_wrong_are_refused(
    change: dict[str, Any], arguments: dict[str, Any], said: str, tmp_path: Path
) -> None:
    frame().assign(**change).to_csv(tmp_path / "t.csv", index=False)
    assert said in refused(
        lambda: table(str(tmp_path / "t.csv"), **{"label": "outcome", **arguments})
    )


def test_the_index_of_a_saved_frame_is_no_feature(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "with.csv")
    frame().to_csv(tmp_path / "without.csv", index=False)
    ours = [table(str(tmp_path / f"{name}.csv"), "outcome") for name in ("with", "without")]
    np.testing.assert_array_equal(ours[0].train_images, ours[1].train_images)


# Hugging Face.


def test_a_saved_folder_of_images(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {}
    for split, lines in save_listed(tmp_path / "made").items():
        part = datasets.Dataset.from_dict(
            {
                "image": [str(tmp_path / "made" / path) for path, _ in lines],
                "label": [label for _, label in lines],
            }
        )
        part = part.cast_column("image", datasets.Image())
        part = part.cast_column("label", datasets.ClassLabel(names=["cat", "dog"]))
        parts["validation" if split == "val" else split] = part
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    source = huggingface(str(tmp_path / "saved"))
    check_shades(source)
    assert source.class_names == ("cat", "dog")
    on_disk = huggingface(str(tmp_path / "saved"), memory_gib=0, cache=str(tmp_path / "cache"))
    assert on_disk.on_disk
    check_shades(on_disk)


def test_a_saved_folder_of_columns(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = frame()
    datasets.Dataset.from_pandas(made).save_to_disk(str(tmp_path / "saved"))
    source = huggingface(str(tmp_path / "saved"), label="outcome")
    made.to_csv(tmp_path / "t.csv", index=False)
    other = table(str(tmp_path / "t.csv"), "outcome")
    np.testing.assert_allclose(source.train_images, other.train_images)
    assert "data.source.label must say" in refused(lambda: huggingface(str(tmp_path / "saved")))
