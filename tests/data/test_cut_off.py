"""An annotation file that ends anywhere: refused, or every row that is read is one of the whole file's.

Never half a row.
"""

import json

import pytest

from objadapt.config import Data
from objadapt.data.manifest import READERS, Manifest, build_manifest
from objadapt.errors import InputError

CLIP = {"label": "x", "placeholders": ["a cup"]}
EPIC = "narration_id,video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,noun_class,all_nouns\n"
FILES = {  # format: (the file that is cut, its content, the others)
    "kinetics": (
        "train.csv",
        'label,youtube_id,time_start,time_end,split\nrun,aaaaaaaaaaa,1,11,train\n"walk,'
        ' slowly",bbbbbbbbbbb,10,20,train\n'
        "run,ccccccccccc,100,110,train",
        {"val.csv": "label,youtube_id,time_start,time_end,split,is_cc\nrun,ddddddddddd,1,11,val,0\n"},
    ),
    "epic_kitchens": (
        "EPIC_100_train.csv",
        f"{EPIC}P01_01_0,P01_01,00:00:00.14,00:00:02.50,open,3,door,8,['door']\n"
        "P01_01_1,P01_01,00:00:01.00,00:00:04.00,turn-on,6,light,114,\"['light', 'lamp']\"\n"
        "P01_01_10,P01_01,00:00:10.00,00:00:14.25,close,14,door,8,['door']",
        {"EPIC_100_validation.csv": EPIC},
    ),
    "csv": (
        "labels.csv",
        "path,split,clip_id,label,start_s,end_s\na.mp4,train,one,run,0.0,2.5\na.mp4,val,two,run,2.5,12.25\na.mp4,train,three,walk,2.5,10.0",
        {},
    ),
    "something_something": (
        "train.json",
        json.dumps([{"id": str(number), "template": "Holding [something]"} | CLIP for number in (1, 10, 2)]),
        {
            "labels.json": '{"Holding something": "0"}',
            "validation.json": '[{"id": "3", "template": "Holding [something]"}]',
        },
    ),
}


@pytest.mark.parametrize("form", FILES)
def test_no_half_row(tmp_path, form):
    """Two whole rows tell what the last cell of a third looks like; of a first row's last cell nobody can tell."""
    name, whole, others = FILES[form]
    for file, content in {**others, "a.mp4": "", "P01_01.mp4": ""}.items():
        (tmp_path / file).write_text(content)
    data = Data(format=form, root=str(tmp_path))

    def rows(content: str) -> set[tuple]:
        (tmp_path / name).write_bytes(content.encode())
        listing = READERS[form](data)
        names = {head: dict(enumerate(classes)) for head, classes in listing.classes.items()}
        table = listing.rows.assign(**{head: listing.rows[head].map(named) for head, named in names.items()})
        return set(table.drop(columns=["path"]).itertuples(index=False, name=None))

    all_of_them, accepted = rows(whole), []
    assert len(all_of_them) >= 3
    two = "".join(whole.splitlines(keepends=True)[:3]) if form != "something_something" else ""
    for place in range(len(two), len(whole)):
        try:
            found = rows(whole[:place])
        except InputError as error:
            assert "\n" not in str(error) and f"{tmp_path}/" in str(error)
            continue
        assert found <= all_of_them, (place, whole[:place][-60:], found - all_of_them)
        accepted.append(place)
    assert accepted == ([len(two)] if two else [])


@pytest.mark.parametrize("size", [0, 2, 6, 100, -9, -4, -1])
def test_a_stored_manifest_that_is_cut_off(tmp_path, size):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "labels.csv").write_text("path,label,split\na.mp4,run,train\n")
    build_manifest(Data(format="csv", root=str(tmp_path)), 0).write(tmp_path / "kept")
    path = tmp_path / "kept/manifest.parquet"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(
        InputError, match="manifest.parquet: cut off" if size not in (0, 2) else "manifest.parquet: not a manifest"
    ) as error:
        Manifest.read(tmp_path / "kept")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "beside",
    [
        "[]",
        "{}",
        '{"classes": ["run"], "coverage": {}, "flip": true}',
        "null",
        '{"classes": {"label": {"run": 0}}, "coverage": {}, "flip": true}',
        '{"classes": {"label": ["run"]}, "coverage": [], "flip": true}',
        '{"classes": {"label": ["run"]}, "coverage": {"train": 3}, "flip": true}',
        '{"classes": {"label": ["run"]}, "coverage": {}, "flip": "yes"}',
    ],
)
def test_what_stands_beside_a_manifest_in_another_form(tmp_path, beside):
    (tmp_path / "classes.json").write_text(beside)
    with pytest.raises(InputError, match="classes.json: must hold classes, coverage and flip"):
        Manifest.read(tmp_path)
