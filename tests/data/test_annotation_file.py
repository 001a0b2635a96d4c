"""CSV, TSV and JSON as they come: rows of the wrong length, quotes, line breaks, and files that are cut off,
wherever that is.
"""

import json
import logging

import pytest

from objadapt.data.annotation_file import numbers, read_table, require_columns, whole_numbers
from objadapt.data.strict_json import read_json
from objadapt.errors import InputError


def table(tmp_path, content: str | bytes, **options):
    path = tmp_path / "list.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(str(path), **options)


@pytest.mark.parametrize(
    "content",
    [
        "path,label\na.mp4,run\nb.mp4,walk\n",
        "path,label\na.mp4,run\nb.mp4,walk",  # no line break at the end of a whole row
        "\ufeffpath,label\r\na.mp4,run\r\nb.mp4,walk\r\n",
        "path,label\ra.mp4,run\rb.mp4,walk\r",
        "path;label\na.mp4;run\nb.mp4;walk\n",
        "path\tlabel\na.mp4\trun\nb.mp4\twalk\n",
        "\n\r\npath;label\na.mp4;run\nb.mp4;walk\n",
        "\n path , label \n\na.mp4,run\n   \n,\nb.mp4,walk\n\n\n",
        "path,label,,\na.mp4,run,,\nb.mp4,walk,,\n",  # an empty end of the header, as spreadsheets write it
        "path,label,,\na.mp4,run\nb.mp4,walk,\n",
        '"path","label"\n"a.mp4","run"\n"b.mp4","walk"\n',
        'path, label\na.mp4, "run"\n"b.mp4", walk\n',
    ],
)
def test_forms_of_one_table(tmp_path, content):
    read = table(tmp_path, content)
    assert read.columns.tolist() == ["path", "label"]
    assert read["path"].tolist() == ["a.mp4", "b.mp4"] and read["label"].tolist() == ["run", "walk"]


def test_cells_of_several_lines_and_the_lines_of_rows(tmp_path):
    read = table(tmp_path, 'note,label\n"one\n\ntwo ""x"", y",run\n\n,walk\n"a\r\nb",None\n')
    assert read["note"].tolist() == ['one\n\ntwo "x", y', "", "a\r\nb"] and read["label"].tolist() == [
        "run",
        "walk",
        "None",
    ]
    assert read.index.tolist() == [2, 6, 7]  # the lines in which they begin
    with pytest.raises(InputError, match=r"list.csv: line 6 \(row 2\): label 'walk' is not a number"):
        numbers(read["label"].replace("run", "3"), str(tmp_path / "list.csv"))
    with pytest.raises(InputError, match=r"line 2 \(row 1\): note 'one.*holds a line break; correct its quotes"):
        require_columns(read, ["note"], "list.csv")  # as a name or a label it has swallowed rows


def test_an_index_that_pandas_wrote_has_no_name(tmp_path):
    assert table(tmp_path, ",path\n0,a.mp4\n1,b.mp4\n")["path"].tolist() == ["a.mp4", "b.mp4"]


ROWS = "path,split,label\na.mp4,train,run\nb.mp4,train,walk\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "path,label\na, b.mp4,run\nc.mp4,run\n",
            r"line 2 \(row 1\) has 3 cells, the header has 2; put a cell that holds",
        ),
        (
            "path,label\n\nc.mp4,run\na.mp4,run,\n",
            r"line 4 \(row 2\) has 3 cells, the header has 2; remove the separator at its end",
        ),
        # hidden by an empty end
        (
            "path,label,\na, b.mp4,run\n",
            r"line 2 \(row 1\) has 3 cells, the header has 2; put",
        ),
        ("path,label\nc.mp4\na.mp4,run\n", r"line 2 \(row 1\) has 1 cells, the header has 2: a cell is missing"),
        (ROWS + "path,split,label\nc.mp4,val,run\n", r"line 4 \(row 3\) is the header again"),
        # two files of a spreadsheet, joined
        (ROWS + "\ufeffpath,split,label\nc.mp4,val,run\n", r"line 4 \(row 3\) is the header again"),
        (ROWS + "path , split, label\nc.mp4,val,run\n", r"line 4 \(row 3\) is the header again"),
        ("path,label,label\na.mp4,run,walk\n", "two columns are called 'label'"),
        (ROWS + 'c.mp4,val,"run" x\n', r"not a readable CSV file: line 4 \(row 3\)"),
        (ROWS.replace("run", '"run') + "c.mp4,val,run\n", "a quote that opens in the row of line 2 does not close"),
        # cut off
        (ROWS + "c.mp4,val\n", r"line 4 \(row 3\): the file is cut off in this row: 2 of 3 cells are there"),
        (ROWS + "c.mp4,val", r"line 4 \(row 3\): the file is cut off"),
        (ROWS + "c", "cut off in this row: 1 of 3 cells"),
        (ROWS + 'c.mp4,val,"ru', "in the row of line 4 does not close: the file is cut off there"),
        (ROWS + "c.mp4,val,", r"line 4 \(row 3\).* cut off in label ''"),
        (ROWS + "c.mp4,val,wal", r"cut off in label 'wal'"),
        ("path,spl", "cut off in its first line, the header"),
        (ROWS + "c.mp4,val,\0\0\0\0", r"line 4 \(row 3\): .* holds NUL bytes: the file is damaged or cut off"),
        (ROWS + "\0" * 4096, "cut off"),
        ((ROWS + "c.mp4,val,d\u00e9").encode()[:-1], "cut off"),  # within a letter
        ("label,path\nrun,a.mp4\nrun,b.mp4\nrun,c.m", "cut off in path 'c.m'"),
        ("path,end_s\na.mp4,2.50\nb.mp4,13.25\nc.mp4,1", "cut off in end_s '1'"),
        ("path,end_s\na.mp4,2.50\nb.mp4,13.25\nc.mp4,1.", "cut off in end_s '1.'"),
        ("id,nouns\n1,['door']\n2,['door'", r"cut off in nouns \"\['door'\""),
        ("id,nouns\n1,['door']\n2,\"['door', 'ta", "does not close: the file is cut off there"),
        ("path,split\na.mp4,train\nb.mp4,train\nc.mp4,tr", "cut off in split 'tr'"),
    ],
)
def test_what_is_refused_names_line_and_row(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as error:
        table(tmp_path, content, labels=["label"])
    assert str(error.value).startswith(f"{tmp_path}/list.csv: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("place", range(len(ROWS) + 1, len(ROWS + "c.mp4,val,walk")))
def test_no_file_that_ends_within_a_row_gives_half_a_row(tmp_path, place):
    whole = ROWS + "c.mp4,val,walk"
    with pytest.raises(InputError, match="cut off"):
        table(tmp_path, whole[:place], labels=["label"])
    assert len(table(tmp_path, whole, labels=["label"])) == 3


@pytest.mark.parametrize(
    "content",
    [
        "id,n\n10,1\n11,10\n1,1",
        "id\n10\n12\n1",
        "path,end\na.mp4,10\nb.mp4,10\nc.mp4,1",
        "path,label\na.mp4,run\nb.mp4,walk",
        "id\n1",
    ],
)
def test_a_whole_last_row_without_a_line_break_is_read(tmp_path, content):
    assert len(table(tmp_path, content, labels=["label"])) == content.count("\n")


def test_what_may_be_half_a_label_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(table(tmp_path, "path,label\na,run\nb,running\nc,run", labels=["label"])) == 3
    assert "label 'run' may be the beginning of 'running'" in caplog.text


def test_numbers(tmp_path):
    column = table(tmp_path, "id,n\n1,0.5\n2,\n3,2\n")["n"]
    assert numbers(column, "x").tolist()[::2] == [0.5, 2] and whole_numbers(
        column.replace("0.5", "7"), "x"
    ).tolist() == [7, -1, 2]
    for wrong in ("0.5", "-1", "inf", "1e12"):
        with pytest.raises(InputError, match=rf"x: line 2 \(row 1\): n '{wrong}' is not a whole number"):
            whole_numbers(column.replace("0.5", wrong), "x")


# --- JSON -------------------------------------------------------------------------------------------------------------

CLIPS = json.dumps(
    [{"id": "1", "template": "Holding [a]", "placeholders": ["d\u00e9"]}, {"id": 2, "n": [1.5, True]}],
    ensure_ascii=False,
)


@pytest.mark.parametrize("place", range(len(CLIPS.encode())))
def test_json_that_is_cut_off_is_called_so_wherever_it_ends(tmp_path, place):
    (tmp_path / "train.json").write_bytes(CLIPS.encode()[:place])
    with pytest.raises(InputError, match="cut off") as error:
        read_json(str(tmp_path / "train.json"))
    assert str(error.value).startswith(f"{tmp_path}/train.json: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"id": 1} {"id": 2}]', r"not valid JSON \(.* line 1 column 12"),
        ('{"id": 1}\n{"id": 2}\n', r"not valid JSON \(Extra data: line 2 column 1"),
        ("[" * 10**5, "nested without end"),
        (CLIPS[:40] + "\0" * 100, "cut off"),
    ],
)
def test_json_that_is_damaged(tmp_path, content, message):
    (tmp_path / "train.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_json(str(tmp_path / "train.json"))


def test_official_tables_are_read(shared):
    read = 0
    for path in sorted((shared / "annotations").rglob("*.csv")):
        rows = read_table(str(path))
        assert len(rows) and not any(rows[column].str.contains("\n").any() for column in rows), path
        read += 1
    assert read >= 17 and len(read_table(str(shared / "annotations/epic-kitchens-100/EPIC_100_validation.csv"))) == 9668
    assert all(read_json(str(path)) for path in (shared / "annotations").rglob("*.json"))


STRAY = 'path,note,split,label\na.mp4,"on top,train,run\nb.mp4,,train,walk\nc.mp4,below",val,run\n'


@pytest.mark.parametrize("content", [STRAY, STRAY.replace("b.mp4,,train,walk\n", ""), STRAY.replace("\n", "\r\n")])
def test_a_pair_of_stray_quotes_takes_in_no_row(tmp_path, content):
    with pytest.raises(
        InputError, match=r"list.csv: line 2 \(row 1\): a quote opens at 'on top,train,.*correct its quotes"
    ):
        table(tmp_path, content)


def test_prose_of_several_lines_takes_in_no_row(tmp_path):
    read = table(
        tmp_path,
        STRAY.replace("on top,train,run\nb.mp4,,train,walk\nc.mp4,below", "first, a cup,\nthen, on top, a box"),
    )
    assert read["note"].tolist() == ["first, a cup,\nthen, on top, a box"] and read["label"].tolist() == ["run"]


def test_an_empty_file_without_header_is_named(tmp_path):
    with pytest.raises(InputError, match=r"list.csv: not a readable CSV file \(it is empty\)"):
        table(tmp_path, "", separator=";", columns=["id", "template"])


def test_a_row_alone_that_ends_in_a_separator_is_cut_off(tmp_path):
    with pytest.raises(InputError, match=r"line 2 \(row 1\), the last: .* seems cut off in label ''"):
        table(tmp_path, "path,split,label\na.mp4,train,")
    assert table(tmp_path, "path,split,label\na.mp4,train,\n")["label"].tolist() == [""]


def test_what_may_be_cut_off_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        table(tmp_path, "path,label\na.mp4,run\nb.mp4,wal", labels=["label"])
        table(tmp_path, "path,label\n")
    assert "line 3 (row 2), the last, ends without a line break, and no other row has label 'wal'" in caplog.text
    assert "list.csv: no row below the header" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        table(tmp_path, "path,label\na.mp4,run\nb.mp4,walk\n", labels=["label"])
        table(tmp_path, "path,label\na.mp4,run\nb.mp4,run", labels=["label"])
    assert not caplog.text
