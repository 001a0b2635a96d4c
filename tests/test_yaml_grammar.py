"""What YAML would take without a word: a key twice, octal numbers, numbers to the base 60, a value as a whole file."""

import pytest

from objadapt.config_file import load_config, parse_override, read_yaml
from objadapt.errors import InputError
from objadapt.sweeps.space_file import load_space
from objadapt.tables.table import load_table

SPACE = "parameters:\n  training.lr: {uniform: [0.1, 0.2]}\n"
TABLE = "caption: c\nsource: own\nmetrics: {top1: {}}\nrows: [{name: a}]\n"


@pytest.mark.parametrize(
    ("read", "content", "key"),
    [
        (load_config, "seed: 1\nname: x\nseed: 2\n", "'seed' is there twice, in lines 1 and 3"),
        (load_config, "training:\n  epochs: 3\n  lr: 1\n  epochs: 9\n", "'epochs' is there twice, in lines 2 and 4"),
        (load_config, "training: {epochs: 3}\ntraining: {lr: 0.5}\n", "'training' is there twice"),
        (load_config, "base: a.yaml\nbase: b.yaml\n", "'base' is there twice"),
        (
            load_space,
            SPACE + "  training.lr: {uniform: [0.3, 0.4]}\n",
            "'training.lr' is there twice, in lines 2 and 3",
        ),
        (load_table, TABLE + "rows: [{name: b}]\n", "'rows' is there twice"),
        (load_table, TABLE.replace("name: a", "name: a, overrides: [seed=1], overrides: []"), "'overrides' is there"),
    ],
)
def test_a_key_that_is_there_twice(tmp_path, read, content, key):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(InputError, match=f"mine.yaml: not valid YAML .key {key}.*; keep one"):
        read(str(tmp_path / "mine.yaml"))
    with pytest.raises(InputError, match="override 'training={epochs: 3, epochs: 4}'"):
        parse_override("training={epochs: 3, epochs: 4}")


def test_anchors_and_merges_repeat_no_key(tmp_path):
    (tmp_path / "mine.yaml").write_text("a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, x: 4}\nd: *b\n")
    read = read_yaml(tmp_path / "mine.yaml", "mine")
    assert isinstance(read, dict) and read["c"] == {"x": 4, "y": 2} and read["d"] == {"x": 3, "y": 2}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        *(
            (word, word)
            for word in ("010", "-007", "00", "1:30", "1:30:00", "0:0.5", "08", "1.2.3", "2020-01-01", ".e1")
        ),
        *(("0", 0), ("-12", -12), ("1_000", 1000), ("0x1F", 31), ("0b101", 5), ("+3", 3)),
        *(("0.5", 0.5), (".5", 0.5), ("5.", 5.0), ("1e-4", 1e-4), ("1E5", 1e5), ("1.5e3", 1500.0), ("-.5e-1", -0.05)),
        *(("01.5", 1.5), ("-.inf", float("-inf")), (".INF", float("inf"))),
    ],
)
def test_numbers_are_those_that_everybody_reads_as_such(written, read):
    value = parse_override(f"x={written}")[1]
    assert value == read and type(value) is type(read)


@pytest.mark.parametrize("override", ["seed=010", "training.epochs=1:30", "data.split=01", "training.lr=0:0.5"])
def test_other_numbers_are_refused(override):
    with pytest.raises(InputError, match=rf"{override.partition('=')[0]}: .*(valid (integer|number)|whole number)"):
        load_config(None, [override])


@pytest.mark.parametrize("content", ["0\n", "false\n", "''\n", "[]\n", "0.0\n"])
def test_a_value_in_place_of_a_mapping(tmp_path, content):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(InputError, match="mine.yaml: must be a mapping of keys, not"):
        load_config(tmp_path / "mine.yaml")
    (tmp_path / "over.yaml").write_text("base: mine.yaml\n")
    with pytest.raises(InputError, match="base mine.yaml: must be a mapping of keys, not"):
        load_config(tmp_path / "over.yaml")


@pytest.mark.parametrize("override", [".seed=3", "seed.=3", "training..epochs=3", "training. .epochs=3", " =3"])
def test_a_key_with_an_empty_part(override):
    with pytest.raises(InputError, match="not of the form key.sub=value"):
        load_config(None, [override])


@pytest.mark.parametrize("key", ["training.lr", "training.weight_decay", "method.losses.temporal.weight"])
@pytest.mark.parametrize("value", [".inf", "1e400", ".nan"])
def test_numbers_are_finite(key, value):
    with pytest.raises(InputError, match=f"{key}: Input should be a finite number"):
        load_config(None, [f"{key}={value}"])


def test_a_seed_is_one_that_generators_take():
    assert load_config(None, [f"seed={2**63 - 1}"]).seed == 2**63 - 1
    with pytest.raises(InputError, match="seed: Input should be less than"):
        load_config(None, [f"seed={2**64}"])
