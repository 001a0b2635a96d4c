"""A data set in a bucket, S3's or Google's, reads as on disk, whatever its names; what is wrong is one line."""

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

NAMES = ["a b.mp4", "50%.mp4", "50%25.mp4", "#1.mp4", "who?.mp4", "ä/ö ü.mp4", "日本.mp4", "a+b&c=d;e.mp4", "x::y.mp4"]


@pytest.fixture(params=["s3", "gs"])
def bucket(request):
    return request.getfixturevalue(request.param)


def names_in(bucket) -> list[str]:
    """Names to store; the emulator of Google's server cuts what is asked for at a semicolon."""
    return [name for name in NAMES if not (bucket.url.startswith("gs:") and ";" in name)]


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


def test_every_name_is_listed_and_read(bucket, tmp_path):
    names = names_in(bucket)
    for name in names:
        bucket.put(f"data/{name}", name.encode())
    bucket.put("data/x", b"another file, before the colons of a name")
    bucket.put("data/folder/", b"")  # the mark that a bucket's own pages leave for a folder
    listed = list_folder(f"{bucket.url}/data").videos
    assert [path.removeprefix(f"{bucket.url}/data/") for path in listed] == sorted(names)
    kept = Downloads(tmp_path / "kept", 10**6)
    for name in names:
        with local_copy(f"{bucket.url}/data/{name}", kept) as copy, open(copy.path, "rb") as file:
            assert file.read() == name.encode() and copy.fetched == len(name.encode())


def test_class_folders_in_a_bucket_are_those_on_disk(bucket, tmp_path):
    class_folders(tmp_path)
    here = build_manifest(Data(format="class_folders", root=str(tmp_path)), 0)
    there = build_manifest(Data(format="class_folders", root=bucket.copy(tmp_path, "data")), 0)
    assert there.content_hash() == here.content_hash() and there.features_hash == here.features_hash
    assert all(path.startswith(f"{bucket.url}/data/") for path in there.table["path"])
    bucket.put(there.table["path"].iloc[0].removeprefix(f"{bucket.url}/"), b"another size")
    remote.known_version.cache_clear()
    again = build_manifest(Data(format="class_folders", root=f"{bucket.url}/data"), 0)
    assert again.content_hash() != here.content_hash()  # a file replaced on the server is another data set


def test_a_table_and_a_manifest_in_a_bucket(bucket, tmp_path):
    names = names_in(bucket)
    rows = [
        f"videos/{name},{'run' if number % 2 else 'jump'},{'val' if number > 5 else 'train'}"
        for number, name in enumerate(names)
    ]
    bucket.put("data/labels.csv", "\n".join(["path,label,split", *rows, ""]).encode())
    for name in names:
        bucket.put(f"data/videos/{name}", name.encode())
    manifest = build_manifest(Data(format="csv", root=f"{bucket.url}/data/"), 0)
    assert manifest.table["path"].tolist() == [f"{bucket.url}/data/videos/{name}" for name in names]
    assert manifest.table["clip_id"].tolist() == [f"videos/{name}" for name in names]
    manifest.write(f"{bucket.url}/stored")
    stored = build_manifest(Data(format="manifest", root=f"{bucket.url}/stored"), 0)
    pd.testing.assert_frame_equal(stored.table, manifest.table, check_dtype=False)
    assert stored.content_hash() == manifest.content_hash()
    assert Manifest.read(f"{bucket.url}/stored").classes == manifest.classes


def test_what_is_not_there_is_one_line(bucket):
    bucket.put("data/train/run/a.mp4", b"x")
    wrong = {
        f"{bucket.url}-no-such-one/data": "data.root: no train folder",
        f"{bucket.url}/data": "data.val: no val or validation folder",
        f"{bucket.url}/nowhere": "data.root: no train folder",
    }
    for root, said in wrong.items():
        with pytest.raises(InputError, match=f"^{said}") as refused:
            data_files(Data(format="class_folders", root=root))
        assert "\n" not in str(refused.value)
    with pytest.raises(DecodeError, match="^fetch: no such file$"), local_copy(f"{bucket.url}/data/no.mp4", None):
        pass


def test_no_credentials_and_no_rights_are_told_and_hold_no_secret(s3, monkeypatch, bucket_environment):
    import s3fs

    secret = bucket_environment["AWS_SECRET_ACCESS_KEY"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(InputError, match="s3://clips/train.*[Cc]redentials") as refused:
        data_files(Data(format="class_folders", root=s3.url))
    assert secret not in str(refused.value)
    s3fs.S3FileSystem.clear_instance_cache()
