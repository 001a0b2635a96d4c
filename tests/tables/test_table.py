"""Declared tables: the shipped ones say what the paper says, and a wrong file is refused with file and key."""

import csv
from pathlib import Path

import pytest
import yaml
from formulas import formula_parameters

from objadapt.config_file import load_config
from objadapt.errors import InputError
from objadapt.tables.formats import markdown
from objadapt.tables.outcome import RowResult, outcome
from objadapt.tables.selection import check_dataset, tables_of
from objadapt.tables.table import load_table, row_config, table_names

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "jobs" / "configs"
DATASETS = ("toy", "kinetics400", "something_something_v2")
TABLES = {
    *"losses temporal_sampling num_slots time_interval interaction temperature_margin".split(),
    *"data_efficiency backbones state_change_norm davis initialisation regularisation pruning".split(),
    *"methods methods_tuned discovery kinetics400 something_something_v2 epic_kitchens_100".split(),
}

# Row of ours -> row of the paper's file, which lists them in the paper's order; None: own rows without paper's numbers.
CSV_ROWS = {
    "losses": ["none", "distillation", "temporal", "both"],
    "temporal_sampling": ["T4-dt1", "T8-dt2", "T8-dt4", "T16-dt2", "T16-dt4"],
    "num_slots": ["K1", "K4", "K8", "K16", "none"],
    "time_interval": ["dt1", "dt2", "dt3", "dt4", "dt5", "dt6", "dt7", "all"],
    "interaction": ["none", "object", "state_change", "attention", "object-state_change", "object-attention"],
}
PROBE = "linear-probe"  # our baseline in three tables; the paper has no such row
SWITCHES = {  # (table, column of the paper's file that is a setting) -> the setting of ours
    "losses": {
        "object_distillation": lambda c: str(int(c.method.losses.distillation.weight > 0)),
        "temporal_reasoning": lambda c: str(int(c.method.losses.temporal.weight > 0)),
    },
    "temporal_sampling": {
        "frames": lambda c: str(c.sampling.frames),
        "interval": lambda c: str(c.method.dt(c.sampling.frames)),
    },
    "num_slots": {"num_slots": lambda c: str(c.method.slots.number)},
    "time_interval": {"interval": lambda c: str(c.method.dt(c.sampling.frames))},
    "interaction": {
        "object_interaction": lambda c: str(int(c.method.object_interaction)),
        "temporal_state_change": lambda c: str(int(c.method.temporal == "state_change")),
        "temporal_attention": lambda c: str(int(c.method.temporal == "attention")),
    },
}


def papers(name: str) -> list[dict]:
    folder = REPOSITORY.parent / "shared" / "paper" / "tables"
    if not folder.is_dir():
        pytest.skip("no ../shared/paper beside the checkout: the paper's tables are not in the repository")
    with open(folder / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def configs(table, dataset: str, seed: int = 0) -> dict:
    base = load_config(CONFIGS / f"{dataset}.yaml", ["stream.cache=features", "stream.hold=false"])  # as tables train
    return {
        row.name: row_config(table, row, base, [], dataset, seed)
        for row in table.rows
        if dataset not in row.missing and not row.published
    }


def written(tmp_path, **changes) -> str:
    """A valid table with changes; a value of None takes the key away."""
    tree = {
        "caption": "a table",
        "source": "own",
        "metrics": {"top1": {"paper": "their_top1"}},
        "rows": [
            {"name": "one", "paper": {"their_top1": 50.0}},
            {"name": "two", "overrides": {"method.slots.number": 4}},
        ],
        "claims": [{"text": "one beats two", "kind": "better", "rows": ["one", "two"]}],
    } | changes
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in tree.items() if value is not None}))
    return str(path)


def test_the_tables_of_the_issue_are_there():
    assert set(table_names()) == TABLES


@pytest.mark.parametrize("name", sorted(TABLES))
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_row_is_a_valid_config_and_no_two_rows_are_the_same(name, dataset):
    table = load_table(name)
    if table.datasets:
        with pytest.raises(InputError, match=f"--table: {name} is not of mine; use --dataset {table.datasets[0]}, or"):
            check_dataset(table, "mine")
        dataset = table.datasets[0]
    check_dataset(table, dataset)
    assert (table in tables_of("toy")) == (not table.datasets)
    found = configs(table, dataset)
    assert found
    said = [(config.content_hash(), config.data) for config in found.values()]
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("name", sorted(CSV_ROWS))
def test_numbers_and_settings_are_the_papers(name):
    table, theirs = load_table(name), papers(name)
    assert [row.name for row in table.rows if row.name != PROBE] == CSV_ROWS[name]
    shown = set().union(*(metric.columns() for metric in table.metrics.values()))
    ours = configs(table, "something_something_v2")
    for row, line in zip((row for row in table.rows if row.name != PROBE), theirs, strict=True):
        assert row.paper == {column: float(line[column]) for column in shown if line[column]}
        for column, setting in SWITCHES[name].items():
            assert setting(ours[row.name]) == line[column], (row.name, column)
    reported = {column for column in theirs[0] if column.endswith(("top1", "gflops", "davis_jf", "tunable_params_m"))}
    assert shown == reported, "a column of the paper's table that nothing stands beside"


def test_the_backbones_numbers_are_those_of_the_papers_main_tables():
    titles = {
        "ViT-B16-T8": "Ours ViT-B/16 (8 frames)",
        "ViT-B16-T16": "Ours ViT-B/16 (16 frames)",
        "ViT-B16-T32": "Ours ViT-B/16 (32 frames)",
        "ViT-L14-T32": "Ours ViT-L/14 (32 frames)",
    }
    table = load_table("backbones")
    for short, name in (("k400", "kinetics400"), ("ssv2", "something_something_v2")):
        lines, found = {line["method"]: line for line in papers(name)}, configs(table, name)
        assert found.keys() == titles.keys()
        for row in table.rows:
            if row.name in titles:
                line = lines[titles[row.name]]
                assert row.paper[f"{short}_top1"] == float(line["top1"]) and row.paper[f"{short}_top5"] == float(
                    line["top5"]
                )
                for column in ("gflops", "tunable_params_m"):
                    assert row.paper[column] == float(line[column])
                assert f"({found[row.name].sampling.frames} frames)" in line["method"]
    assert list(configs(table, "toy")) == ["small-CLIP-T8"]


@pytest.mark.parametrize("name", ["kinetics400", "something_something_v2", "epic_kitchens_100"])
def test_the_main_comparisons_have_every_row_of_the_paper(name):
    table = load_table(name)
    shown = set().union(*(metric.columns() for metric in table.metrics.values()))
    told = [row for row in table.rows if row.paper]
    for row, line in zip(told, papers(name), strict=True):
        assert row.name.split("-")[0] == line["method"].split()[0].split("-")[0].split("/")[0]
        assert row.paper == {column: float(line[column]) for column in shown if line[column]}, row.name
        assert row.published != line["method"].startswith("Ours")
    trained = configs(table, name)
    assert {"st-adapter", "aim", "evl", "timesformer", "linear-probe"} < trained.keys()
    assert {config.method.name for config in trained.values()} >= {"object_centric", "st_adapter", "aim", "evl"}
    frames = [config.sampling.frames for row, config in trained.items() if row.startswith("Ours")]
    assert frames == ([8, 16, 32, 32] if "epic" not in name else [8, 8])


def test_a_published_row_is_shown_and_never_run(tmp_path):
    rows = [{"name": "theirs", "published": True, "paper": {"their_top1": 60.0}}, {"name": "one"}, {"name": "two"}]
    table = load_table(written(tmp_path, rows=rows))
    found = outcome(table, "toy", {row.name: RowResult() for row in table.rows}, [0], toy=True)
    assert [row["status"] for row in found["rows"]] == ["published", "missing: not run yet", "missing: not run yet"]
    assert "60.0" in markdown(found)
    for wrong in ({"overrides": {"seed": 1}}, {"paper": {}}):
        with pytest.raises(InputError, match="theirs: a published row has numbers of the paper, and nothing to train"):
            load_table(written(tmp_path, rows=[rows[0] | wrong, *rows[1:]]))


def test_the_norms_are_those_of_the_paper():
    """Its rows are training sets, ours are data sets."""
    theirs = {"k400": papers("state_change_norm")[0], "ssv2": papers("state_change_norm")[1]}
    (row,) = load_table("state_change_norm").rows
    expected = {
        f"{short}_{kind}": float(line[kind]) for short, line in theirs.items() for kind in ("foreground", "background")
    }
    assert row.paper == expected and [line["training_set"] for line in theirs.values()] == ["K-400", "SSv2"]


@pytest.mark.parametrize("name", ["num_slots", "interaction"])
def test_parameters_come_close_to_the_papers_on_its_data_set(name):
    """The paper prints one decimal and counts a little less of the mean patch and the plain head."""
    table = load_table(name)
    for row in (row for row in table.rows if row.name != PROBE):
        config = configs(table, "kinetics400")[row.name]
        millions = 1e-6 * sum(formula_parameters(config.method, {"label": 400}, 512).values())
        assert millions == pytest.approx(row.paper["tunable_params_m"], abs=0.21), row.name


def test_rows_that_say_the_same_in_other_words_are_one_run():
    base = [
        configs(load_table(name), "toy")[row]
        for name, row in (
            ("losses", "both"),
            ("temporal_sampling", "T8-dt2"),
            ("time_interval", "dt2"),
            ("interaction", "object-state_change"),
            ("data_efficiency", "100-percent"),
            ("backbones", "small-CLIP-T8"),
            ("temperature_margin", "tau0.1-m0.3"),
        )
    ]
    assert {config.content_hash() for config in base} == {base[0].content_hash()}
    assert {config.name for config in base} == {"base"}
    eight = configs(load_table("num_slots"), "toy")["K8"]  # toy.yaml has ten slots
    assert eight.name == "slots.number-8" and eight.content_hash() != base[0].content_hash()
    four = [
        configs(load_table(name), "toy")[row]
        for name, row in (("temporal_sampling", "T8-dt4"), ("time_interval", "dt4"))
    ]
    assert four[0] == four[1] and four[0].name == "interval-4" != base[0].name


def test_a_run_is_named_by_what_it_changes_and_its_seed_is_its_own():
    found = configs(load_table("losses"), "toy", seed=3)
    assert found["none"].name == "distillation.weight-0.0_temporal.weight-0.0" and found["none"].seed == 3
    assert found["none"].content_hash() != configs(load_table("losses"), "toy", seed=4)["none"].content_hash()


def test_the_users_overrides_stand_above_the_tables_settings_and_below_the_rows():
    table, base = load_table("losses"), load_config(CONFIGS / "kinetics400.yaml")
    assert row_config(table, table.rows[0], base, [], "kinetics400", 0).sampling.frames == 16
    mine = row_config(
        table, table.rows[0], base, ["sampling.frames=4", "method.losses.temporal.weight=7"], "kinetics400", 0
    )
    assert mine.sampling.frames == 4 and mine.method.losses.temporal.weight == 0


def test_a_row_that_the_config_refuses_is_named():
    table, base = load_table("time_interval"), load_config(CONFIGS / "toy.yaml")
    with pytest.raises(
        InputError, match=r"^time_interval\.yaml: row dt4: .*interval: 4 is not below sampling\.frames = 4"
    ):
        row_config(table, table.rows[3], base, ["sampling.frames=4"], "toy", 0)


def test_toy_numbers_never_stand_beside_a_paper_column_that_looks_like_theirs():
    table = load_table("num_slots")
    for dataset in ("toy", "ut_interaction", "my-config"):
        top1 = next(column for column in table.columns(dataset) if column["metric"] == "top1")
        assert top1["paper"] == "ssv2_top1" and top1["paper_title"] == "paper (SSv2)"
        assert all(column["paper_title"] != "paper" for column in table.columns(dataset))
    for dataset, column in (("kinetics400", "k400_top1"), ("something_something_v2", "ssv2_top1")):
        top1, top5, *_ = table.columns(dataset)
        assert (top1["paper"], top1["paper_title"]) == (column, "paper")
        assert top5["paper"] is None


def test_overrides_may_be_a_mapping_a_nested_mapping_or_a_list(tmp_path):
    forms = [
        {
            "method.slots.number": "none",
            "method.losses.temporal.margin": 1e-4,
            "transform.flip": None,
            "method.slots.implicit": False,
        },
        {
            "method": {"slots": {"number": "none", "implicit": False}, "losses": {"temporal": {"margin": 1e-4}}},
            "transform": {"flip": None},
        },
        [
            "method.slots.number=none",
            "method.losses.temporal.margin=1e-4",
            "transform.flip=null",
            "method.slots.implicit=false",
        ],
    ]
    base, found = load_config(CONFIGS / "something_something_v2.yaml", ["method.width=64"]), []
    for form in forms:
        table = load_table(written(tmp_path, rows=[{"name": "one", "overrides": form}], claims=[]))
        found.append(row_config(table, table.rows[0], base, [], "toy", 0))
    assert found[0] == found[1] == found[2]
    assert (
        found[0].method.slots.number == "none"
        and found[0].method.losses.temporal.margin == 1e-4
        and found[0].transform.flip is None
    )
    assert found[0].method.width == 64, "a nested mapping changes what it names and nothing beside it"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"captoin": "x"}, r"captoin: unknown key"),
        ({"caption": None}, r"caption: Field required"),
        ({"name": "other"}, r"name: unknown key; the table is named as its file"),
        ({"metrics": {"top2": {}}}, r"metrics\.top2"),
        ({"metrics": {"top1": {"papper": "x"}}}, r"metrics\.top1\.papper: unknown key"),
        ({"metrics": {"top1": {"paper": {"imagenet": "x"}}}}, r"metrics\.top1\.paper"),
        ({"rows": []}, r"rows: .*at least 1"),
        ({"rows": [{"name": "one"}, {"name": "one"}]}, r"rows: one is there more than once"),
        ({"rows": [{"name": "a b"}]}, r"rows\.a b\.name"),
        ({"rows": [{"name": "one", "papers": {}}]}, r"rows\.one\.papers: unknown key"),
        ({"rows": [{"name": "one", "paper": {"top_one": 1.0}}]}, r"one: paper: no metric stands beside top_one"),
        ({"rows": [{"name": "one", "paper": {"their_top1": "high"}}]}, r"rows\.one\.paper\.their_top1"),
        (
            {"rows": [{"name": "one", "overrides": ["method.slots.number"]}]},
            r"rows\.one\.overrides: override 'method\.slots\.number'",
        ),
        ({"rows": [{"name": "one", "overrides": "method.slots.number=4"}]}, r"rows\.one\.overrides"),
        ({"rows": "one"}, r"rows"),
        ({"claims": [{"text": "x", "kind": "better", "rows": ["one", "three"]}]}, r"three"),
        ({"settings": ["sampling.frames=4"]}, r"settings"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_key(tmp_path, changes, told):
    with pytest.raises(InputError, match=rf"^mine\.yaml: .*{told}") as error:
        load_table(written(tmp_path, **changes))
    assert "\n" not in str(error.value)


def test_a_row_with_an_unknown_setting_is_named(tmp_path):
    table = load_table(written(tmp_path, rows=[{"name": "one", "overrides": {"method.slotss": 4}}], claims=[]))
    with pytest.raises(InputError, match=r"^mine\.yaml: row one: method\.slotss: unknown key"):
        row_config(table, table.rows[0], load_config(), [], "toy", 0)


def test_what_is_no_table_is_refused_and_the_tables_are_listed(tmp_path):
    with pytest.raises(InputError, match="--table: nothing: .*; there are backbones, .*time_interval"):
        load_table("nothing")
    for content in ("- a\n- b\n", "", "caption: [", "\x00"):
        (tmp_path / "bad.yaml").write_text(content)
        with pytest.raises(InputError, match=r"^bad\.yaml: "):
            load_table(str(tmp_path / "bad.yaml"))


def test_a_table_is_read_by_the_grammar_of_configs(tmp_path):
    text = (
        "caption: 2026-02-30\nsource: own\nmetrics: {top1: {}}\n"
        "rows: [{name: one, overrides: {training.lr: 1e-4}}, {name: two}]\n"
    )
    (tmp_path / "mine.yaml").write_text(text)
    assert (table := load_table(str(tmp_path / "mine.yaml"))).caption == "2026-02-30"
    assert row_config(table, table.rows[0], load_config(), [], "toy", 0).training.lr == 1e-4
