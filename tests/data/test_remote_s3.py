"""A data set on an S3 server reads as the same one on disk, whatever its names; what is wrong is one line."""

import pandas as pd
import pytest

from objadapt.config import Data
from objadapt.data import remote
from objadapt.data.decode_error import DecodeError
from objadapt.data.downloads import Downloads
from objadapt.data.local_copy import local_copy
from objadapt.data.manifest import Manifest, build_manifest
from objadapt.data.places import data_files
from objadapt.data.video_files import list_folder
from objadapt.errors import InputError

NAMES = ["a b.mp4", "50%.mp4", "50%25.mp4", "#1.mp4", "who?.mp4", "ä/ö ü.mp4", "日本.mp4", "a+b&c=d;e.mp4"]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.01,))


def class_folders(root):
    for split in ("train", "val"):
        for label in ("Holding [something]", "50% #1 ü"):
            for number in range(2):
                path = root / split / label / f"{label} {number}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(f"{split} {label}".encode() * (number + 1))


def test_every_name_is_listed_and_read(s3, tmp_path):
    for name in NAMES:
        s3.put(f"data/{name}", name.encode())
    s3.put("data/folder/", b"")  # the mark that S3's own pages leave for a folder
    assert [path.removeprefix(f"{s3.url}/data/") for path in list_folder(f"{s3.url}/data").videos] == sorted(NAMES)
    kept = Downloads(tmp_path / "kept", 10**6)
    for name in NAMES:
        with local_copy(f"{s3.url}/data/{name}", kept) as copy, open(copy.path, "rb") as file:
            assert file.read() == name.encode() and copy.fetched == len(name.encode())


def test_class_folders_on_s3_are_those_on_disk(s3, tmp_path):
    class_folders(tmp_path)
    here = build_manifest(Data(format="class_folders", root=str(tmp_path)), 0)
    there = build_manifest(Data(format="class_folders", root=s3.copy(tmp_path, "data")), 0)
    assert there.content_hash() == here.content_hash() and there.features_hash == here.features_hash
    assert all(path.startswith("s3://clips/data/") for path in there.table["path"])
    s3.put(there.table["path"].iloc[0].removeprefix("s3://clips/"), b"another size")
    remote.known_version.cache_clear()
    again = build_manifest(Data(format="class_folders", root=f"{s3.url}/data"), 0)
    assert again.content_hash() != here.content_hash()  # a file replaced on the server is another data set


def test_a_table_and_a_manifest_on_s3(s3, tmp_path):
    rows = [
        f"videos/{name},{'run' if number % 2 else 'jump'},{'val' if number > 5 else 'train'}"
        for number, name in enumerate(NAMES)
    ]
    s3.put("data/labels.csv", "\n".join(["path,label,split", *rows, ""]).encode())
    for name in NAMES:
        s3.put(f"data/videos/{name}", name.encode())
    manifest = build_manifest(Data(format="csv", root=f"{s3.url}/data/"), 0)
    assert manifest.table["path"].tolist() == [f"{s3.url}/data/videos/{name}" for name in NAMES]
    assert manifest.table["clip_id"].tolist() == [f"videos/{name}" for name in NAMES]
    manifest.write(f"{s3.url}/stored")
    stored = build_manifest(Data(format="manifest", root=f"{s3.url}/stored"), 0)
    pd.testing.assert_frame_equal(stored.table, manifest.table, check_dtype=False)
    assert stored.content_hash() == manifest.content_hash()
    assert Manifest.read(f"{s3.url}/stored").classes == manifest.classes


def test_what_is_not_there_is_one_line(s3):
    s3.put("data/train/run/a.mp4", b"x")
    wrong = {
        "s3://no-such-bucket/data": "data.root: no train folder",
        f"{s3.url}/data": "data.val: no val or validation folder",
        f"{s3.url}/nowhere": "data.root: no train folder",
    }
    for root, said in wrong.items():
        with pytest.raises(InputError, match=f"^{said}") as refused:
            data_files(Data(format="class_folders", root=root))
        assert "\n" not in str(refused.value)
    with pytest.raises(DecodeError, match="^fetch: no such file$"), local_copy(f"{s3.url}/data/no.mp4", None):
        pass


def test_no_credentials_and_no_rights_are_told_and_hold_no_secret(s3, monkeypatch, s3_environment):
    import s3fs

    secret = s3_environment["AWS_SECRET_ACCESS_KEY"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(InputError, match="s3://clips/train.*[Cc]redentials") as refused:
        data_files(Data(format="class_folders", root=s3.url))
    assert secret not in str(refused.value)
    s3fs.S3FileSystem.clear_instance_cache()
