"""Tar shards in WebDataset's layout: one manifest from disk, HTTP and S3, read by headers; what is wrong is named."""

import json

import numpy as np
import pytest
from http_files import serve
from test_tar_members import archive

from objadapt.config import Data, Sampling
from objadapt.data import remote
from objadapt.data.clip import read_clip
from objadapt.data.decode_error import DecodeError
from objadapt.data.downloads import Downloads
from objadapt.data.local_copy import local_copy
from objadapt.data.manifest import build_manifest
from objadapt.data.shard_names import expand
from objadapt.errors import InputError

VIDEO = b"v" * 100_000


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.01,))
    remote.known_version.cache_clear()


def shard(root, name: str, contents: dict) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        archive({key: one if isinstance(one, bytes) else str(one).encode() for key, one in contents.items()})
    )


def plain(root) -> Data:
    for number in range(3):
        keys = [f"{4 * number + offset:06d}" for offset in range(4)]
        shard(
            root,
            f"train-{number:06d}.tar",
            {
                f"{key}.{kind}": one
                for key in keys
                for kind, one in (("cls", int(key) % 2), ("mp4", VIDEO + key.encode()))
            },
        )
    shard(root, "val-000000.tar", {"000000.mp4": VIDEO, "000000.cls": "1\n"})
    return Data(format="shards", root=str(root), train="train-{000000..000002}.tar", val="val-000000.tar")


def refusal(data: Data) -> str:
    with pytest.raises(InputError) as refused:
        build_manifest(data, 0)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_clips_labels_and_bytes(tmp_path):
    manifest = build_manifest(plain(tmp_path), 0)
    table = manifest.table
    assert manifest.classes == {"label": ["0", "1"]} and manifest.coverage["train"] == {"found": 12, "listed": 12}
    assert table["clip_id"].tolist()[:5] == [*(f"train-000000/{n:06d}" for n in range(4)), "train-000001/000004"]
    assert table["label"].tolist() == [0, 1] * 6 + [1] and table["split"].tolist() == ["train"] * 12 + ["val"]
    for number, path in enumerate(table["path"][:12]):
        with local_copy(path, None) as copy, open(copy.path, "rb") as file:
            assert file.read() == VIDEO + f"{number:06d}".encode() and copy.fetched == 0


def test_over_http_only_headers_are_read_and_then_only_a_clip(tmp_path):
    here = build_manifest(plain(tmp_path / "data"), 0)
    with serve(tmp_path / "data") as files:
        data = plain(tmp_path / "data").model_copy(update={"root": files.url()})
        there = build_manifest(data, 0)
        assert there.content_hash() == here.content_hash()
        size = sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
        assert sum(files.sent.values()) < size / 4
        files.sent.clear()
        kept = Downloads(tmp_path / "kept", 10**7)
        for fetched in (100_006, 0):
            with local_copy(there.table["path"][5], kept) as copy, open(copy.path, "rb") as file:
                assert file.read() == VIDEO + b"000005" and copy.fetched == fetched
        assert sum(files.sent.values()) == 100_006 + 512
        files.ranges = False
        assert "no HTTP range requests" in refusal(data)


def test_on_s3(tmp_path, s3):
    here, root = build_manifest(plain(tmp_path), 0), s3.copy(tmp_path, "data set")
    there = build_manifest(plain(tmp_path).model_copy(update={"root": root}), 0)
    assert there.content_hash() == here.content_hash()
    with local_copy(there.table["path"][7], None) as copy, open(copy.path, "rb") as file:
        assert file.read() == VIDEO + b"000007" and copy.fetched == 100_006
    s3.put("data set/val-000000.tar", (tmp_path / "val-000000.tar").read_bytes()[:50_000])
    assert "val-000000.tar: cut off at byte" in refusal(plain(tmp_path).model_copy(update={"root": root}))


def test_folders_of_shards_and_clips_held_out(tmp_path):
    for split in ("train", "val", "test"):
        shard(tmp_path, f"{split}/sub/x 1.tar", {"a/b c.mp4": VIDEO, "a/b c.cls": 7, "._d.mp4": b"left behind"})
    table = build_manifest(Data(format="shards", root=str(tmp_path)), 0).table
    assert table["clip_id"].tolist() == [f"{split}/sub/x 1/a/b c" for split in ("train", "val", "test")]
    plain(tmp_path / "own")
    data = Data(format="shards", root=str(tmp_path / "own"), train=".", holdout=0.25)
    assert build_manifest(data, 0).table["split"].value_counts().to_dict() == {"train": 9, "val": 4}


def test_the_number_in_a_cls_is_the_class_also_where_one_has_no_clip(tmp_path, caplog):
    shard(tmp_path, "a.tar", {"a.mp4": VIDEO, "a.cls": 0, "b.mp4": VIDEO, "b.cls": "02\n"})
    shard(tmp_path, "b.tar", {"c.mp4": VIDEO, "c.cls": 2})
    data = Data(format="shards", root=str(tmp_path), train="a.tar", val="b.tar")
    manifest = build_manifest(data, 0)
    assert manifest.classes == {"label": ["0", "1", "2"]} and manifest.table["label"].tolist() == [0, 2, 2]
    assert "no clip has class 1; 1 of 3 classes stay without clips" in caplog.text
    for wrong in (10**7, -1):
        shard(tmp_path, "a.tar", {"a.mp4": VIDEO, "a.cls": wrong, "b.mp4": VIDEO, "b.cls": 0})
        assert f"a .cls holds {wrong}, which is no class number" in refusal(data)


def test_labels_in_json_and_in_words(tmp_path):
    said = [{"label": "run", "verb": 1, "noun": "dog"}, {"label": "jump", "verb": 2, "noun": "dog"}]
    shard(
        tmp_path,
        "a.tar",
        {
            f"{n}.{kind}": one
            for n in range(2)
            for kind, one in (("mp4", VIDEO), ("json", json.dumps(said[n])), ("cls", 9), ("txt", "words"))
        },
    )
    base = {"format": "shards", "root": str(tmp_path), "train": "a.tar", "holdout": 0.1}
    assert build_manifest(Data(**base), 0).classes == {"label": ["jump", "run"]}
    two = build_manifest(Data(**base, label_column=["verb", "noun"]), 0)
    assert two.classes == {"verb_label": ["1", "2"], "noun_label": ["dog"]}
    assert build_manifest(Data(**base, label_column="none of it"), 0).classes == {"label": [str(n) for n in range(10)]}
    assert build_manifest(Data(**base, label_column=""), 0).classes == {"label": []}
    assert "data.label_column: no .json" in refusal(Data(**base, label_column=["x", "y"]))


WRONG = {
    "a clip twice": ({"a.mp4": VIDEO, "a.webm": VIDEO, "a.cls": 1}, "a has two videos, 'a.mp4' and 'a.webm'"),
    "a label missing": ({"a.mp4": VIDEO, "a.cls": 1, "b.mp4": VIDEO}, "b has no label in a .cls"),
    "a label empty": ({"a.mp4": VIDEO, "a.cls": " \n"}, "a has no label in a .cls"),
    "no JSON": ({"a.mp4": VIDEO, "a.json": "{"}, "a.json is no JSON object"),
    "no text": ({"a.mp4": VIDEO, "a.txt": b"\xff\xfe\xfd"}, "'a.txt' is no UTF-8"),
    "a field missing": ({"a.mp4": VIDEO, "a.json": '{"label": 1}', "b.mp4": VIDEO, "b.json": "{}"}, "b has no 'label'"),
    "no text in a field": ({"a.mp4": VIDEO, "a.json": '{"label": [1]}'}, "a has no 'label', a text or a whole number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_a_shard_is_named(tmp_path, case):
    contents, said = WRONG[case]
    shard(tmp_path, "train.tar", contents)
    told = refusal(Data(format="shards", root=str(tmp_path), train="train.tar", holdout=0.1))
    assert f"{tmp_path}/train.tar: " in told and said in told


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({"/etc/a.mp4": VIDEO, "/etc/a.cls": 0}, "the name '/etc/a.mp4' leads out of the archive"),
        ({"x/../../a.mp4": VIDEO, "x/../../a.cls": 0}, "leads out of the archive"),
        ({"a.mp4": VIDEO, "a.json": '{"label": "0", "label": "1"}'}, "a.json: 'label' is there twice in one object"),
        ({"a.mp4": VIDEO, "a.json": '{"label": " "}'}, "a has no 'label', a text or a whole number"),
        ({"a.mp4": VIDEO, "a.cls": "0\n1"}, "a has the label '0\\n1' in a .cls; a label is one line"),
        ({"a.mp4": VIDEO, "a.cls": "0\0"}, "in a .cls; a label is one line of text"),
    ],
)
def test_names_and_labels_that_could_be_taken_for_others(tmp_path, contents, said):
    shard(tmp_path, "train.tar", contents)
    assert said in refusal(Data(format="shards", root=str(tmp_path), train="train.tar", holdout=0.1))


def test_spaces_around_a_label_make_no_class_of_their_own(tmp_path):
    shard(
        tmp_path, "a.tar", {"a.mp4": VIDEO, "a.json": '{"label": " run"}', "b.mp4": VIDEO, "b.json": '{"label": "run"}'}
    )
    manifest = build_manifest(Data(format="shards", root=str(tmp_path), train="a.tar", holdout=0.5), 0)
    assert manifest.classes == {"label": ["run"]}


def test_other_files_among_the_shards_are_named(tmp_path, caplog):
    for name in ("train/a.tar", "train/b.tar.gz", "train/c.mp4"):
        shard(tmp_path, name, {"a.mp4": VIDEO, "a.cls": 0})
    build_manifest(Data(format="shards", root=str(tmp_path), holdout=0.5), 0)
    assert "train: 2 files are no .tar and are not read: c.mp4, b.tar.gz" in caplog.text


def test_keys_used_twice_damage_and_unknown_classes(tmp_path):
    data = plain(tmp_path)
    for again in (".mp4", ".cls"):
        twice = archive({"a.mp4": VIDEO, "a.cls": b"1"})[: -10240 % 512 or None]
        first = archive({"a" + again: b"1"})[:1024]
        (tmp_path / "val-000000.tar").write_bytes(first + twice)
        assert "twice" in refusal(data) or "two videos" in refusal(data)
    whole = archive({"a.mp4": VIDEO, "a.cls": b"1"})
    for damaged in (whole[:50_000], whole[:101_000], b"", b"<html>not found</html>" * 50):
        (tmp_path / "val-000000.tar").write_bytes(damaged)
        assert f"{tmp_path}/val-000000.tar: " in refusal(data)
    shard(tmp_path, "val-000000.tar", {"a.mp4": VIDEO, "a.cls": 5})
    assert "class '5' is not among the 2 training classes" in refusal(data)
    (tmp_path / "train-000001.tar").unlink()
    assert f"{tmp_path}/train-000001.tar: cannot be read (No such file or directory)" in refusal(data)
    assert "data.train: no a.tar in" in refusal(data.model_copy(update={"train": "a.tar"}))


def test_a_label_without_a_video_is_listed_and_not_found(tmp_path):
    shard(tmp_path, "a.tar", {"a.mp4": VIDEO, "a.cls": 1, "b.cls": 1})
    manifest = build_manifest(Data(format="shards", root=str(tmp_path), train="a.tar", holdout=0.1), 0)
    assert manifest.coverage["train"] == {"found": 1, "listed": 2}


def test_a_shard_written_anew_is_never_read_for_another(tmp_path):
    path = build_manifest(plain(tmp_path), 0).table["path"][1]
    shard(tmp_path, "train-000000.tar", {f"{n:06d}.mp4": VIDEO + b"abcdef" for n in range(4)})
    with pytest.raises(DecodeError, match="^fetch: .*manifest"), local_copy(path, None):
        pass
    (tmp_path / "train-000000.tar").write_bytes(b"")
    with pytest.raises(DecodeError, match="^fetch: the archive is cut off"), local_copy(path, None):
        pass


def test_frames_of_a_clip_in_a_shard_are_those_of_its_file(tmp_path, shared):
    video = shared / "clips/variants/h264_1fps_5frames.mp4"
    shard(tmp_path, "a.tar", {"a.cls": 1, "a.mp4": video.read_bytes()})
    path = build_manifest(Data(format="shards", root=str(tmp_path), train="a.tar", holdout=0.1), 0).table["path"][0]
    sampling = Sampling(frames=4)
    np.testing.assert_array_equal(
        read_clip(path, None, None, sampling).frames, read_clip(str(video), None, None, sampling).frames
    )


def test_patterns():
    assert expand("x-{008..011}.tar", "f") == [f"x-{n}.tar" for n in ("008", "009", "010", "011")]
    assert expand("{a,b}/{1..2}.tar", "f") == ["a/1.tar", "a/2.tar", "b/1.tar", "b/2.tar"]
    assert expand("plain.tar", "f") == ["plain.tar"]
    for wrong in ("{3..1}.tar", "{a}.tar", "{0..99999999}.tar", "x{.tar", "x}.tar", "{}.tar", "{0..999}{0..999}.tar"):
        with pytest.raises(InputError, match="^data.train: ") as refused:
            expand(wrong, "data.train")
        assert "\n" not in str(refused.value)
