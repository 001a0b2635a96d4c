"""Values that a table may not hold, each refused with the file and the key."""

import pytest

from objadapt.errors import InputError
from objadapt.tables.table import load_table

TABLE = "caption: c\nsource: own\nmetrics: {top1: {paper: x}}\nrows:\n  - name: a\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE + "    paper: {x: .nan}\n", "rows.a.paper.x: Input should be a finite number"),
        (TABLE + "    paper: {x: -.inf}\n", "rows.a.paper.x: Input should be a finite number"),
        (TABLE + "    paper: {x: true}\n", "rows.a.paper.x: Input should be a valid number"),
        (TABLE.replace("{top1: {paper: x}}", "{}"), "metrics: .*at least 1 item"),
        (TABLE + "    overrides: [seed=3]\n", "rows: a: seed: --seeds says which seeds every row has; leave it out"),
        (
            TABLE + "    overrides: {training.lr: 1e-3, training: {lr: 1e-2}}\n",
            "rows: a: training.lr is there twice; the last would count alone",
        ),
        (TABLE + "    overrides: [training.lr=1e-3, training.lr=1e-2]\n", "rows: a: training.lr is there twice"),
        (TABLE + "    overrides: {name: other}\n", "rows: a: name: a run is named by what its row changes; leave it"),
        (TABLE + "    overrides: ['output=elsewhere']\n", "rows: a: output: --output says where all rows are kept"),
    ],
)
def test_what_a_table_may_not_hold(tmp_path, content, message):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(InputError, match=f"^mine.yaml: {message}"):
        load_table(str(tmp_path / "mine.yaml"))
