"""The manifest: checked when made, the same after a round trip, and hashed by what is learnt from."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from objadapt.config import Data
from objadapt.data.fingerprint import SAMPLE, fingerprint
from objadapt.data.manifest import FILES, Manifest, build_manifest
from objadapt.errors import InputError


def example(classes: int = 3, clips: int = 12) -> Manifest:
    table = pd.DataFrame(
        {
            "clip_id": [f"clip {i}" for i in range(clips)],
            "path": [f"/videos/{i}.mp4" for i in range(clips)],
            "start_s": [np.nan, *np.arange(1, clips) / 3],
            "end_s": np.nan,
            "label": [i % classes - (i == clips - 1) for i in range(clips)],
            "split": ["train"] * (clips - 3) + ["val"] * 2 + ["test"],
        }
    )
    names = [f"class {i}" for i in range(classes)]
    return Manifest(table, {"label": names}, {"train": {"found": clips - 3, "listed": clips}}, flip=True)


def changed(manifest: Manifest, column: str, row: int, value) -> Manifest:
    table = manifest.table.copy()
    table[column] = table[column].astype(object)
    table.loc[row, column] = value
    return replace(manifest, table=table)


@pytest.mark.parametrize("as_url", [False, True])
def test_round_trip(tmp_path, as_url):
    manifest = example()
    folder = tmp_path / "deep" / "folder"
    manifest.write(folder.as_uri() if as_url else folder)
    again = Manifest.read(folder)
    pd.testing.assert_frame_equal(again.table, manifest.table)
    assert (again.classes, again.coverage, again.flip) == (manifest.classes, manifest.coverage, manifest.flip)
    assert again.content_hash() == manifest.content_hash()
    built = build_manifest(Data(format="manifest", root=str(folder)), 0)
    pd.testing.assert_frame_equal(built.table, manifest.table)
    assert built.coverage == manifest.coverage


def test_types_and_splits():
    manifest = example()
    assert manifest.table["label"].dtype == np.int64 and manifest.table["start_s"].dtype == np.float64
    assert manifest.table["split"].tolist() == ["train"] * 9 + ["val"] * 2 + ["test"]
    assert manifest.heads == {"label": 3}


@pytest.mark.parametrize(
    ("column", "value"), [("clip_id", "other"), ("start_s", 0.25), ("end_s", 99.0), ("label", -1), ("split", "val")]
)
def test_the_hash_changes_with_what_is_learnt_from(column, value):
    assert changed(example(), column, 1, value).content_hash() != example().content_hash()


def test_the_hash_changes_with_class_names_but_not_with_the_place_of_the_files():
    manifest = example()
    assert len(manifest.content_hash()) == 12 and int(manifest.content_hash(), 16) >= 0
    assert replace(manifest, classes={"label": ["a", "b", "c"]}).content_hash() != manifest.content_hash()
    assert replace(manifest, flip=False).content_hash() != manifest.content_hash()
    assert changed(manifest, "path", 1, "s3://bucket/1.mp4").content_hash() == manifest.content_hash()


def folder_of_videos(root, sizes: list[int]) -> Data:
    """Class folders of one class whose files have these sizes; build_manifest opens none of them."""
    for split in ("train", "val"):
        (root / split / "run").mkdir(parents=True)
    for i, size in enumerate(sizes):
        (root / "val" / "run" / f"{i:04d}.mp4" if i == 0 else root / "train" / "run" / f"{i:04d}.mp4").write_bytes(
            b"x" * size
        )
    return Data(format="class_folders", root=str(root))


def test_other_files_under_the_same_ids_are_another_data_set_wherever_they_lie(tmp_path):
    one = build_manifest(folder_of_videos(tmp_path / "one", [5, 6, 7, 8]), 0)
    other = build_manifest(folder_of_videos(tmp_path / "other", [5, 6, 7, 9]), 0)
    assert one.table.drop(columns="path").equals(other.table.drop(columns="path"))
    assert one.content_hash() != other.content_hash() and one.table.attrs[FILES] != other.table.attrs[FILES]
    moved = Data(format="class_folders", root=str(shutil.move(tmp_path / "one", tmp_path / "elsewhere")))
    assert build_manifest(moved, 0).content_hash() == one.content_hash()
    one.write(tmp_path / "stored")
    assert Manifest.read(tmp_path / "stored").content_hash() == one.content_hash()
    gone = build_manifest(Data(format="manifest", root=str(tmp_path / "stored")), 0)  # its files are looked at now
    assert gone.content_hash() != one.content_hash() and len(gone.table) == 4


@pytest.mark.parametrize("part", [{"fraction": 0.5}, {"holdout": 0.5}])
def test_parts_of_a_data_set_have_the_files_of_the_whole(tmp_path, part):
    data = folder_of_videos(tmp_path, [5, 6, 7, 8])
    whole, some = build_manifest(data, 0), build_manifest(data.model_copy(update=part), 0)
    assert len(some.table) < len(whole.table) and some.table.attrs == whole.table.attrs


def test_the_fingerprint_reads_an_even_sample(tmp_path):
    paths = [str(tmp_path / f"{i}.mp4") for i in range(10 * SAMPLE)]
    for i, path in enumerate(paths):
        (tmp_path / path).write_bytes(b"x" * (i % 50))
    before = fingerprint(paths)
    assert fingerprint([path for path in paths for _ in range(3)]) == before  # clips of one file
    seen = []
    for i in (0, 1, len(paths) - 1):
        content = (tmp_path / paths[i]).read_bytes()
        (tmp_path / paths[i]).write_bytes(content + b"x")
        seen.append(fingerprint(paths) != before)
        (tmp_path / paths[i]).write_bytes(content)
    assert seen == [True, False, True]
    for i in range(0, len(paths), 2):
        (tmp_path / paths[i]).unlink()
    assert fingerprint(paths) != before
    assert fingerprint([f"file://{path}" for path in paths]) == fingerprint(paths)


def test_a_manifest_of_before_fingerprints_is_read(tmp_path):
    example().write(tmp_path)
    manifest = Manifest.read(tmp_path)
    assert FILES not in manifest.table.attrs and len(manifest.content_hash()) == 12
    assert len(build_manifest(Data(format="manifest", root=str(tmp_path)), 0).table) == 12


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("clip_id", "clip 0", "'clip 0' is listed more than once"),
        ("label", 3, "'clip 1' has label 3, beyond the 3 classes"),
        ("label", -2, "'clip 1' has label -2"),
        ("split", "holdout", "split 'holdout' is not one of train, val, test"),
    ],
)
def test_wrong_rows_are_refused(column, value, message):
    with pytest.raises(InputError, match=message):
        changed(example(), column, 1, value)


def test_labels_are_whole_numbers_and_no_cell_is_empty(tmp_path):
    manifest, wrong = example(), {"clip_id": [None, ""], "path": [None, np.nan, ""], "split": [None, ""]}
    wrong["label"] = [0.7, 1.0, True, "1", np.nan, None, 2**64 - 1]
    for column, values in wrong.items():
        for value in values:
            table = manifest.table.astype({column: object})
            table.loc[1, column] = value
            said = f"manifest: (row 2 has no {column}|column label holds|clip 'clip 1' has label 18446744073709551615)"
            with pytest.raises(InputError, match=said):
                replace(manifest, table=table)
    manifest.table.assign(label=manifest.table["label"] + 0.5).to_parquet(tmp_path / "manifest.parquet")
    beside = {"classes": manifest.classes, "coverage": manifest.coverage, "flip": True}
    (tmp_path / "classes.json").write_text(json.dumps(beside))
    with pytest.raises(InputError, match="column label holds floating, no whole numbers"):
        Manifest.read(tmp_path)
    for change in ({"coverage": {"train": {"found": "1", "listed": "1"}}}, {"classes": {"path": ["a"]}}):
        (tmp_path / "classes.json").write_text(json.dumps(beside | change))
        with pytest.raises(InputError, match="classes.json: must hold classes, coverage and flip"):
            Manifest.read(tmp_path)


def test_a_span_without_a_frame_refuses_no_data_set():
    """Reading the clip quarantines it; see test_cases.py."""
    manifest = changed(changed(example(), "end_s", 1, 0.1), "end_s", 2, -np.inf)
    assert len(manifest.table) == 12 and manifest.table["end_s"].tolist()[1:3] == [0.1, -np.inf]


def test_missing_columns_are_named():
    manifest = example()
    with pytest.raises(InputError, match="no column verb_label, noun_label"):
        replace(manifest, classes={"verb_label": ["open"], "noun_label": ["door"]})


@pytest.mark.parametrize("damage", ["parquet", "json", "key", "rows"])
def test_damaged_folders_are_refused(tmp_path, damage):
    example().write(tmp_path)
    if damage == "parquet":
        whole = (tmp_path / "manifest.parquet").read_bytes()
        (tmp_path / "manifest.parquet").write_bytes(whole[: len(whole) // 2])
    elif damage == "json":
        (tmp_path / "classes.json").write_text("{")
    elif damage == "key":
        (tmp_path / "classes.json").write_text("{}")
    else:
        beside = json.loads((tmp_path / "classes.json").read_text())
        (tmp_path / "classes.json").write_text(json.dumps(beside | {"classes": {"label": ["only one"]}}))
    with pytest.raises(InputError) as error:
        Manifest.read(tmp_path)
    assert "\n" not in str(error.value)


def test_a_fraction_is_drawn_from_every_class_under_the_seed(tmp_path):
    example(classes=4, clips=83).write(tmp_path)  # 80 training clips, 20 a class
    data = Data(format="manifest", root=str(tmp_path), fraction=0.25)
    one, same, other = (build_manifest(data, seed) for seed in (0, 0, 1))
    training = one.table["split"] == "train"
    assert one.table.loc[training, "label"].value_counts().to_dict() == {0: 5, 1: 5, 2: 5, 3: 5}
    assert one.table.loc[~training, "split"].tolist() == ["val", "val", "test"]
    assert one.content_hash() == same.content_hash() != other.content_hash()
    least = build_manifest(data.model_copy(update={"fraction": 0.001}), 0)
    assert least.table["split"].value_counts()["train"] == 4  # no class is lost


@pytest.mark.parametrize(
    "format", ["something_something", "kinetics", "epic_kitchens", "class_folders", "csv", "manifest"]
)
def test_missing_root_or_annotations_name_the_field(tmp_path, format):
    for root, message in (
        ("", "data.root: not set"),
        ("/no/such/folder", "data.root: no folder"),
        (str(tmp_path), "no |give"),
    ):
        with pytest.raises(InputError, match=message):
            build_manifest(Data(format=format, root=root), 0)
