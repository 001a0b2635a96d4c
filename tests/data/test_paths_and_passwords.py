"""Annotation files from strangers: no name in them leads out of the data, and no URL with a password is taken in."""

import json
import secrets
from pathlib import Path

import pytest

from objadapt.config import Data
from objadapt.data.davis import davis_sequences
from objadapt.data.manifest import build_manifest
from objadapt.data.video_files import list_videos
from objadapt.errors import InputError

# --- no name leads out of the data ------------------------------------------------------------------------------------

OUTSIDE = ["../outside", "../../etc/passwd", "/etc/passwd", "a/../../outside", "~/outside", "..", "..\\outside", "a\0b"]
KINETICS = "label,youtube_id,time_start,time_end,split\n"
EPIC = "narration_id,video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,noun_class\n"


@pytest.fixture
def root(tmp_path) -> Path:
    """A data folder with one video in it and one beside it (readers go by names; neither is opened)."""
    (tmp_path / "data/videos").mkdir(parents=True)
    for path in ("outside.mp4", "data/videos/inside.mp4"):
        (tmp_path / path).touch()
    return tmp_path / "data"


def something_something(root: Path, name: str) -> Data:
    (root / "labels.json").write_text('{"Holding something": "0"}')
    (root / "train.json").write_text(json.dumps([{"id": name, "template": "Holding [something]"}]))
    (root / "validation.json").write_text('[{"id": "inside", "template": "Holding [something]"}]')
    return Data(format="something_something", root=str(root))


def kinetics(root: Path, name: str) -> Data:
    (root / "train.csv").write_text(f'{KINETICS}run,"{name}",0,10,train\n')
    (root / "val.csv").write_text(f"{KINETICS}run,inside,0,10,val\n")
    return Data(format="kinetics", root=str(root))


def epic_video(root: Path, name: str) -> Data:
    (root / "EPIC_100_train.csv").write_text(f'{EPIC}P01_01_0,"{name}",00:00:00.0,00:00:02.0,open,3,door,8\n')
    (root / "EPIC_100_validation.csv").write_text(f"{EPIC}P01_01_1,inside,00:00:00.0,00:00:02.0,open,3,door,8\n")
    return Data(format="epic_kitchens", root=str(root))


def epic_narration(root: Path, name: str) -> Data:
    data = epic_video(root, "inside")
    (root / "EPIC_100_train.csv").write_text(f'{EPIC}"{name}",inside,00:00:00.0,00:00:02.0,open,3,door,8\n')
    return data


@pytest.mark.parametrize("name", OUTSIDE, ids=repr)
@pytest.mark.parametrize("write", [something_something, kinetics, epic_video, epic_narration])
def test_a_publishers_ids_name_no_folder(root, write, name):
    with pytest.raises(InputError, match="is a path") as refused:
        build_manifest(write(root, name), 0)
    message = str(refused.value)
    assert str(root) in message and repr(name) in message and "\n" not in message


@pytest.mark.parametrize("write", [something_something, kinetics, epic_video, epic_narration])
def test_ids_that_merely_look_odd_are_read(root, write):
    for name in ("--Qu_C4vJs.", "...", "P01~1", "%2e%2e%2f", "a b"):
        assert build_manifest(write(root, name), 0).coverage["train"]["listed"] == 1


@pytest.mark.parametrize("name", ["../outside", "/etc", "a/../../outside", ".."])
def test_sequence_names_lead_nowhere_else(root, name):
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text(f"{name}\n")
    with pytest.raises(InputError, match="leads out of the data folder|is a path"):
        davis_sequences(root)


def test_a_table_of_ones_own_may_say_where_videos_are_but_not_climb(root, tmp_path):
    data = Data(format="csv", root=str(root))
    (root / "labels.csv").write_text(f"path,label,split\n{tmp_path}/outside.mp4,run,train\nvideos/inside.mp4,run,val\n")
    assert build_manifest(data, 0).table["path"].tolist() == [f"{tmp_path}/outside.mp4", f"{root}/videos/inside.mp4"]
    for name in ("../outside.mp4", "videos/../../outside.mp4", "..\\outside.mp4"):
        (root / "labels.csv").write_text(f"path,label,split\n{name},run,train\n")
        with pytest.raises(InputError, match="leads out of the data folder"):
            build_manifest(data, 0)
    (root / "labels.csv").write_text("path,label,split\n~/outside.mp4,run,train\nvideos/inside.mp4,run,val\n")
    # a folder named ~, not somebody's home
    assert build_manifest(data, 0).coverage["train"] == {
        "found": 0,
        "listed": 1,
    }


def test_links_are_followed_but_never_in_circles(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/linked.mp4").touch()
    (root / "videos/link").symlink_to(tmp_path / "elsewhere")
    (root / "videos/twin").symlink_to(tmp_path / "elsewhere")
    for number in range(3):  # each alone would double what is found with every level
        (root / f"videos/up{number}").symlink_to(root)
        (tmp_path / f"elsewhere/back{number}").symlink_to(root / "videos")
    names = ["inside.mp4", "link/linked.mp4", "twin/linked.mp4"]
    assert list_videos(str(root / "videos")) == [f"{root}/videos/{name}" for name in names]


# --- no password is kept ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["s3://AKIA123:{}@bucket/k400", "http://ann:1{}@host:80", "ftp://:{}@host/k", "s3://AK:{}/+B@b/k"]
)
def test_urls_with_a_password_are_refused_before_anything_is_written(run_job, tmp_path, url):
    secret, output = secrets.token_hex(8), tmp_path / "outputs"
    listed = tmp_path / "labels.csv"
    listed.write_text(f"path,label,split\n{url.format(secret)}/a.mp4,run,train\n")
    for settings in (
        [f"data.root={url.format(secret)}"],
        [f"data.root={tmp_path}", f"data.train={url.format(secret)}/train.csv"],
        [f"data.root={tmp_path}"],
    ):
        backbone = ["backbone.library=small_clip"]
        done = run_job("train", "data.format=csv", f"output={output}", *backbone, *settings)
        assert done.code == 2 and secret not in done.out + done.err, done.err
        assert "holds a password" in done.err
        assert not output.exists()


def test_a_user_name_alone_and_an_at_sign_in_a_path_are_no_password(tmp_path):
    for url in ("sftp://ann@host/k400", "s3://bucket/a@b:c@d", "memory://host:80/a@b"):
        with pytest.raises(InputError) as refused:
            build_manifest(Data(format="csv", root=str(tmp_path), train=url), 0)
        assert "password" not in str(refused.value)
