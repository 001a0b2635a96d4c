"""Diving48 V2's JSON lists."""

import json

import pytest

from objadapt.config import Data
from objadapt.data.manifest import READERS, build_manifest
from objadapt.errors import InputError

TRAIN = [{"vid_name": "-mmq0PT-u8k_00155", "label": 0, "start_frame": 0, "end_frame": 48}]
TEST = [{"vid_name": "a_00001", "label": 2, "start_frame": 0, "end_frame": 70}]
VOCABULARY = [
    ["Back", "15som", "05Twis", "FREE"],
    ["Back", "15som", "15Twis", "FREE"],
    ["Reverse", "Dive", "X", "TUCK"],
]


def write(root, train=TRAIN, test=TEST, vocabulary=VOCABULARY) -> Data:
    for name, content in (("V2_train", train), ("V2_test", test), ("vocab", vocabulary)):
        if content is not None:
            (root / f"Diving48_{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return Data(format="diving48", root=str(root))


def test_the_first_labels_are_not_judged_by_the_second(tmp_path):
    data = write(tmp_path)
    (tmp_path / "Diving48_V2_test.json").rename(tmp_path / "Diving48_test.json")
    with pytest.raises(InputError, match="data.val: .*Diving48_test.json lies beside .*Diving48_V2_train.json"):
        READERS["diving48"](data)
    assert len(READERS["diving48"](data.model_copy(update={"val": "Diving48_test.json"})).rows) == 2


def test_labels_that_count_from_1_are_told(tmp_path, caplog):
    READERS["diving48"](write(tmp_path, [TRAIN[0] | {"label": 1}]))
    assert "no clip has label 0; Diving48's labels count from 0" in caplog.text


@pytest.mark.parametrize("label", [2, "2"])  # copies hold text
def test_diving48(tmp_path, label):
    data = write(tmp_path, test=[TEST[0] | {"label": label}])
    (tmp_path / "rgb").mkdir()
    (tmp_path / "rgb/-mmq0PT-u8k_00155.mp4").touch()
    manifest = build_manifest(data, 0)
    assert manifest.classes["label"] == ["Back+15som+05Twis+FREE", "Back+15som+15Twis+FREE", "Reverse+Dive+X+TUCK"]
    assert manifest.coverage == {"train": {"found": 1, "listed": 1}, "val": {"found": 0, "listed": 1}}
    assert READERS["diving48"](data).rows["label"].tolist() == [0, 2]
    (tmp_path / "Diving48_vocab.json").unlink()
    assert READERS["diving48"](data).classes["label"] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"train": {"a": 1}}, "V2_train.json: must be a list of clips"),
        ({"train": [{"label": 1}]}, "clip 0 lacks vid_name or label"),
        ({"train": [TRAIN[0] | {"label": None}]}, "clip 0 has label null, which is not"),
        ({"train": [TRAIN[0] | {"label": True}]}, "clip 0 has label true, which is not"),
        ({"train": [TRAIN[0] | {"label": -1}]}, "clip 0 has label '-1', which is no class number"),
        ({"train": [TRAIN[0] | {"label": "2.0"}]}, "clip 0 has label '2.0', which is no class number"),
        ({"train": [TRAIN[0] | {"label": 3}]}, "vocab.json: 3 classes, but clip -mmq0PT-u8k_00155 has class 3"),
        (
            {"train": [TRAIN[0] | {"label": 48}], "vocabulary": None},
            "there are 48 classes, but clip -mmq0PT-u8k_00155 has",
        ),
        ({"train": [TRAIN[0] | {"vid_name": "../x"}]}, "vid_name '../x' is a path"),
        ({"train": json.dumps(TRAIN)[:-3]}, "V2_train.json: not valid JSON: it is cut off"),
        ({"vocabulary": [["a"], ["b"], ["a"]]}, "vocab.json: class 2 has the name 'a' of class 0"),
        ({"vocabulary": [["a"], [""], ["c"]]}, "vocab.json: class 1 has no name"),
        ({"train": '[{"vid_name": "a", "label": 0, "label": 1}]'}, "V2_train.json: 'label' is there twice"),
        ({"vocabulary": {"a": 1}}, "vocab.json: must be a list of lists of words"),
        ({"test": [TRAIN[0], TRAIN[0]]}, "'-mmq0PT-u8k_00155' is listed more than once"),
    ],
)
def test_diving48_damaged(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message) as error:
        build_manifest(write(tmp_path, **wrong), 0)
    assert "\n" not in str(error.value)
