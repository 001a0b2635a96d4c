"""Names of data sets in a table that are no data set's."""

import yaml

from objadapt.tables.selection import unknown_datasets
from objadapt.tables.table import load_table, table_names


def test_a_misspelt_data_set_is_named(tmp_path):
    tree = {
        "caption": "mine",
        "source": "own",
        "metrics": {"top1": {}},
        "settings": {"kinetics40": {"sampling.frames": 16}, "my_clips": {}},
        "rows": [{"name": "a", "missing": {"toys": "too long"}}],
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(tree))
    rows_line, settings_line = unknown_datasets([load_table(str(tmp_path / "mine.yaml"))], "my_clips")
    assert settings_line == (
        "mine.yaml: settings: kinetics40 is neither --dataset nor declared; did you mean kinetics400?"
    )
    assert rows_line == "mine.yaml: rows: a: missing: toys is neither --dataset nor declared; did you mean toy?"
    assert not unknown_datasets([load_table(name) for name in table_names()], "toy")
