"""Kinetics: which file is which clip's.

A file serves at most one clip; what is left over is missing, never another's.
"""

import pytest

from objadapt.config import Data
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError

HEADER = "label,youtube_id,time_start,time_end,split\n"
A, B = "-b_c-e_g-i_", "0123_5678_9"  # '-' and '_' are letters of an id


def found(root, train: list[str], val: list[str], files: list[str]) -> dict[str, str | None]:
    """clip_id -> its file below the root, by rows `label,id,start,end` and names of (empty) files.

    Readers open none.
    """
    (root / "train.csv").write_text(HEADER + "".join(f"{row},train\n" for row in train))
    (root / "val.csv").write_text(HEADER + "".join(f"{row},val\n" for row in val))
    for name in [*files, "videos/zzzzzzzzzzz.mp4"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    listed = build_manifest(Data(format="kinetics", root=str(root)), 0).table
    names = {
        clip: path.removeprefix(f"{root}/videos/")
        for clip, path in zip(listed["clip_id"], listed["path"], strict=False)
    }
    assert len(set(names.values())) == len(names)
    assert names.pop("zzzzzzzzzzz_000000_000010") == "zzzzzzzzzzz.mp4"
    return names


ALWAYS = "run,zzzzzzzzzzz,0,10"  # so that there is a clip in every data set


@pytest.mark.parametrize("name", [A, B])
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["{}_000064_000074.mp4"], {"64": "{}_000064_000074.mp4"}),  # exact; seconds 14 to 24 are missing
        (
            ["{}_000014_000024.webm", "a/{}_000064_000074.mp4"],
            {"14": "{}_000014_000024.webm", "64": "a/{}_000064_000074.mp4"},
        ),
        (["{}_64_74.mp4"], {"64": "{}_64_74.mp4"}),  # the times in another form
        (["{}-0064-0074.mp4", "{}_14.0_24.0.mp4"], {"64": "{}-0064-0074.mp4", "14": "{}_14.0_24.0.mp4"}),
        (["{}_14.mp4"], {"14": "{}_14.mp4"}),
        (["{}_000064_000074_320x240.mp4"], {"64": "{}_000064_000074_320x240.mp4"}),
        (["{}.mp4"], {}),  # one file, two clips: whose it is cannot be told
        (["{}_scaled.mp4"], {}),
        (["{}.mp4", "{}_000014_000024.mp4"], {"14": "{}_000014_000024.mp4", "64": "{}.mp4"}),
        (["{}_000064_000074 (1).mp4", "{}_000064_000074.mp4"], {"64": "{}_000064_000074.mp4"}),
        (["{}_000065_000075.mp4", "{}_640_740.mp4", "{}_000014_000025.mp4"], {}),  # clips that nobody lists
        (["{}X_000064_000074.mp4", "{}9.mp4", "{}0_scaled.mp4"], {}),  # longer ids, of which this is the beginning
    ],
)
def test_two_clips_of_one_video(tmp_path, name, files, expected):
    rows = [f"jump,{name},14,24", f"run,{name},64,74", ALWAYS]
    names = found(tmp_path, rows, [], [f"videos/{file.format(name)}" for file in files])
    clips = {"14": f"{name}_000014_000024", "64": f"{name}_000064_000074"}
    assert names == {clips[start]: file.format(name) for start, file in expected.items()}


@pytest.mark.parametrize(
    ("file", "is_found"),
    [
        (f"{A}.mkv", True),
        (f"run/{A}_scaled_256p.mp4", True),
        (f"{A}_7_17.mp4", True),
        (f"{A}_000064_000074.mp4", False),
        (f"{A}_0.mp4", False),
    ],
)
def test_the_only_clip_of_a_video(tmp_path, file, is_found):
    names = found(tmp_path, [f"run,{A},7,17", ALWAYS], [], [f"videos/{file}"])
    assert names == ({f"{A}_000007_000017": file} if is_found else {})


def test_a_validation_clip_does_not_read_a_training_file(tmp_path):
    rows = [f"jump,{A},14,24", f"run,{B},1,11", ALWAYS]
    files = [f"videos/train/{A}.mp4", f"videos/k400_val/{B}.mp4"]
    assert found(tmp_path, rows[1:], [f"run,{A},64,74"], files) == {}
    both = found(
        tmp_path, rows, [f"run,{A},64,74"], [*files, f"videos/val_256/{A}.mp4", f"videos/train_256/run/{B}_x.mp4"]
    )
    assert both == {
        f"{A}_000014_000024": f"train/{A}.mp4",
        f"{A}_000064_000074": f"val_256/{A}.mp4",
        f"{B}_000001_000011": f"train_256/run/{B}_x.mp4",
    }


def test_folders_of_classes_tell_bare_ids_apart(tmp_path):
    rows = [f"testifying,{A},14,24", f"training dog,{A},64,74", f"val,{A},80,90", ALWAYS]
    files = [f"videos/testifying/{A}.mp4", f"videos/training_dog/{A}.webm"]
    assert found(tmp_path, rows, [], files) == {
        f"{A}_000014_000024": f"testifying/{A}.mp4",
        f"{A}_000064_000074": f"training_dog/{A}.webm",
    }


@pytest.mark.parametrize(
    "names", [(f"{A}_000014_000024.mp4", f"copy/{A}_000014_000024.mp4"), (f"{A}.mp4", f"{A}.WEBM")]
)
def test_two_files_of_one_name_are_both_named(tmp_path, names):
    with pytest.raises(InputError) as error:
        found(tmp_path, [f"run,{A},14,24", ALWAYS], [], [f"videos/{name}" for name in names])
    assert all(f"{tmp_path}/videos/{name}" in str(error.value) for name in names) and "move the other" in str(
        error.value
    )


def test_one_file_by_two_links_is_one(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"elsewhere/{A}_000014_000024.mp4").touch()
    (tmp_path / "videos").mkdir()
    for link in ("one", "two"):
        (tmp_path / "videos" / link).symlink_to(tmp_path / "elsewhere")
    assert found(tmp_path, [f"run,{A},14,24", ALWAYS], [], []) == {f"{A}_000014_000024": f"one/{A}_000014_000024.mp4"}


def test_a_clip_listed_twice_is_named_even_without_a_file(tmp_path):
    with pytest.raises(InputError, match=rf"'{A}_000014_000024' is listed more than once \(train, val\)"):
        found(tmp_path, [f"run,{A},14,24", ALWAYS], [f"run,{A},014,24.0"], [])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"run,{A},,", r"line 2 \(row 1\): time_start '' is empty"),
        (f"run,{A},1,nan", r"line 2 \(row 1\): time_end 'nan' is not a number"),
        (f"run,{A},inf,2", "time_start 'inf' is not a whole number"),
        (f"run,{A},-1,2", "time_start '-1' is not a whole number"),
        (f"run,{A},1.5,2", "time_start '1.5' is not a whole number"),
        ("run,,1,2", "youtube_id '' is empty"),
    ],
)
def test_wrong_times_are_named_with_their_row(tmp_path, row, message):
    with pytest.raises(InputError, match=message) as error:
        found(tmp_path, [row, ALWAYS], [], [])
    assert "train.csv" in str(error.value) and "\n" not in str(error.value)


def test_official_lists_and_files(shared, tmp_path):
    """K400's validation and test lists side by side, and its files under the official names."""
    place = shared / "annotations/kinetics"
    ids = [
        line.split(",")[1]
        for line in (place / "tiny_kinetics_400/annotations/tiny_train.csv").read_text().splitlines()[1:]
    ]
    data = Data(
        format="kinetics",
        root=str(tmp_path),
        train=str(place / "kinetics-400_val.csv"),
        val=str(place / "kinetics-400_test.csv"),
    )
    lines = [line.split(",") for line in (place / "kinetics-400_test.csv").read_text().splitlines()[1:]]
    for number, (name, start, end, _) in enumerate(lines):
        if number % 10 == 0 or name in ids:
            (tmp_path / f"{name}_{int(start):06d}_{int(end):06d}.mp4").touch()
    manifest = build_manifest(data, 0)
    assert manifest.heads == {"label": 400} and manifest.coverage["train"] == {"found": 0, "listed": 19906}
    assert manifest.coverage["test"]["listed"] == 38685 and manifest.coverage["test"]["found"] >= 3869
    assert (manifest.table["path"].str.rpartition("/")[2] == manifest.table["clip_id"] + ".mp4").all()


def test_spaces_beside_separators(tmp_path):
    names = found(tmp_path, [f"run, {A} , 14, 24", ALWAYS], [], [f"videos/{A}_000014_000024.mp4"])
    assert names == {f"{A}_000014_000024": f"{A}_000014_000024.mp4"}


def test_half_a_number_at_the_end_is_named(tmp_path):
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start,time_end\n" + ALWAYS + f"\nrun,{A},114,12")
    (tmp_path / "val.csv").write_text(HEADER)
    with pytest.raises(
        InputError, match=r"train.csv: line 3 \(row 2\): time_end .*12.* is not after its time_start; .* cut off\?"
    ):
        build_manifest(Data(format="kinetics", root=str(tmp_path)), 0)


@pytest.mark.parametrize(
    ("rows", "files"),
    [
        ([f"run,{A},14,24"], [f"{A}_0014_0024.mp4", f"{A}_14_24.mp4"]),
        ([f"run,{A},14,24"], [f"{A}_scaled.mp4", f"{A}_small.mp4"]),
        ([f"run,{A},14,24", f"run,{A},64,74"], [f"{A}.mp4"]),
        ([f"run,{A},14,24", f"run,{A},14,34"], [f"{A}_14.mp4"]),
    ],
)
def test_files_of_which_it_cannot_be_told_whose_they_are_are_named(tmp_path, caplog, rows, files):
    with caplog.at_level("WARNING"):
        assert not found(
            tmp_path, [*rows, ALWAYS], [], [f"videos/{file}" for file in [*files, f"{A}_000099_000109.mp4"]]
        )
    assert (
        f"{len(files)} files serve no clip, since several clips" in caplog.text
        and f": {', '.join(files)}" in caplog.text
    )
