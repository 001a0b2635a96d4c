"""Something-Something v2's official JSON files, a small handmade copy of them, with real videos."""

import json

import pytest

from objadapt.config import Data
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError

TEMPLATES = {"Pushing something from left to right": "1", "Holding something": "0"}


def something(root, video, labels_folder=""):
    place = root / labels_folder
    place.mkdir(parents=True, exist_ok=True)

    def entry(number, label, template):
        return {"id": number, "label": label, "template": template, "placeholders": ["a cup"]}

    (place / "labels.json").write_text(json.dumps(TEMPLATES))
    (place / "train.json").write_text(
        json.dumps(
            [
                entry("78687", "pushing a cup from left to right", "Pushing [something] from left to right"),
                entry("42326", "holding a cup", "Holding [something]"),
                entry("1", "holding a book", "Holding [something]"),
            ]
        )
    )
    (place / "validation.json").write_text(json.dumps([entry("74225", "holding a pen", "Holding [something]")]))
    (place / "test.json").write_text(json.dumps([{"id": "1420"}, {"id": "1421"}]))
    (place / "test-answers.csv").write_text("1420;Pushing something from left to right\n")
    videos = root / "20bn-something-something-v2"
    for name, source in (
        ("78687.webm", "clips/variants/vp9.webm"),
        ("42326.mp4", None),
        ("74225.mkv", None),
        ("1420.avi", None),
    ):
        video(videos / name, *([source] if source else []))
    return Data(format="something_something", root=str(root))


@pytest.mark.parametrize("number", [0.9, 0.0, True, None, [0], "0.0", " 0", "-0", "\uff10", "1_0", ""])
def test_class_ids_are_whole_numbers(tmp_path, video, number):
    data = something(tmp_path, video)
    (tmp_path / "labels.json").write_text(json.dumps(TEMPLATES | {"Holding something": number}))
    with pytest.raises(
        InputError, match="labels.json: must map templates to class ids: that of 'Holding something' is"
    ):
        build_manifest(data, 0)


@pytest.mark.parametrize("labels_folder", ["", "labels"])
def test_something_something(tmp_path, video, labels_folder):
    manifest = build_manifest(something(tmp_path, video, labels_folder), 0)
    assert manifest.classes == {"label": ["Holding something", "Pushing something from left to right"]}
    rows = manifest.table.set_index("clip_id")
    assert rows["label"].to_dict() == {"78687": 1, "42326": 0, "74225": 0, "1420": 1}
    assert rows["split"].to_dict() == {"78687": "train", "42326": "train", "74225": "val", "1420": "test"}
    assert manifest.coverage["train"] == {"found": 2, "listed": 3} and manifest.coverage["test"] == {
        "found": 1,
        "listed": 2,
    }
    assert manifest.flip is False  # left and right are part of the label


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "train.json",
            '[{"id": "1", "template": "Eating [something]"}]',
            "template 'Eating .something.' is not in labels.json",
        ),
        ("train.json", '[{"id": "1"}]', "clip 0 lacks id or template"),
        (
            "train.json",
            '[{"id": ["1"], "template": "Holding [something]"}]',
            r'clip 0 has id \["1"\], which is not text',
        ),
        ("train.json", '[{"id": "1", "template": null}]', "clip 0 has template null, which is not text"),
        ("train.json", '[[{"id": "1", "template": "Holding [something]"}]]', "clip 0 lacks id or template"),
        ("train.json", '[{"id": "1", "templ', "train.json: not valid JSON: it is cut off .*line 1 column"),
        ("test.json", '[{"id": "1420"}, {"id"', "test.json: not valid JSON: it is cut off"),
        ("test-answers.csv", "1420;Pushing something from le", r"test-answers.csv: line 1: template .* cut off there"),
        (
            "test-answers.csv",
            "1420;Holding something\n1421",
            r"test-answers.csv: line 2 \(row 2\): the file is cut off",
        ),
        (
            "test-answers.csv",
            "1420;Holding something\n1420;Holding something\n",
            "line 2 .row 2.: id '1420' is listed more than once",
        ),
        ("labels.json", '{"Holding something": "0", "Push', "labels.json: not valid JSON: it is cut off"),
        ("train.json", '{"id": "1"}', "must be a list of clips"),
        ("train.json", '[{"id": "1", ', "not valid JSON"),
        ("labels.json", '["Holding something"]', "must map templates to class ids"),
        (
            "labels.json",
            '{"Holding something": "0", "Pushing something from left to right": "2"}',
            "class ids are not 0 .. 1",
        ),
        (
            "labels.json",
            '{"Holding something": 0, "x": 1, "Holding something": 2}',
            "'Holding something' is there twice",
        ),
        ("labels.json", '{"": 0, "Holding something": 1}', "labels.json: class 0 has no name"),
        (
            "train.json",
            '[{"id": "1", "template": "Holding [something]", "id": "2"}]',
            "'id' is there twice in one object",
        ),
    ],
)
def test_something_something_wrong_files(tmp_path, video, name, content, message):
    data = something(tmp_path, video)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as error:
        build_manifest(data, 0)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_something_something_two_files_of_one_id(tmp_path, video):
    data = something(tmp_path, video)
    folder = tmp_path / "20bn-something-something-v2"
    for name in (
        "._42326.mp4",
        ".ipynb_checkpoints/42326.mp4",
        "@eaDir/42326.mp4",
        "more/99999.mp4",
        "99999.mp4",
        "42326.mp4.part",
    ):
        video(folder / name)  # hidden ones, and a name that nobody asks for
    assert build_manifest(data, 0).table.set_index("clip_id").loc["42326", "path"] == f"{folder}/42326.mp4"
    video(folder / "more/42326.WEBM")
    with pytest.raises(InputError, match=f"{folder}/42326.mp4 and {folder}/more/42326.WEBM: files of one name"):
        build_manifest(data, 0)


def test_a_listed_clip_in_no_known_container_is_named(tmp_path, video, caplog):
    data = something(tmp_path, video)
    (tmp_path / "20bn-something-something-v2/1.mxf").touch()
    assert build_manifest(data, 0).coverage["train"] == {"found": 2, "listed": 3}
    assert "1 clips are missing: their files are not videos by their suffix: 1.mxf" in caplog.text
    assert "test-answers.csv has no label for 1 of 2 test clips, such as 1421" in caplog.text
