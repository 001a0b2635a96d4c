"""Rows that name another method than the config: the linear probe in the paper's tables, and methods of one's own."""

import json
from pathlib import Path

import pytest
import yaml

from objadapt.config_file import load_config
from objadapt.config_methods import LinearProbe, Outside
from objadapt.data import toy
from objadapt.errors import InputError
from objadapt.masks.sequence_features import read_grids
from objadapt.runs.feature_caches import ensure_features, orders
from objadapt.runs.object_test import encode_for, object_test
from objadapt.stored_format import marks
from objadapt.tables import rows
from objadapt.tables.table import Table, left_out, load_table, row_config
from objadapt.tables.table_run import Packing, TableRun, run_tables

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).resolve().parents[2] / "jobs" / "configs"
PROBE = "linear-probe"
METRICS = ("top1", "davis_jf", "adapter_gflops", "tunable_parameters")


def write(folder: Path, listed: list[dict], **more) -> Table:
    tree = {"caption": "methods", "source": "own", "metrics": {name: {} for name in METRICS}, "rows": listed}
    (folder / "methods.yaml").write_text(yaml.safe_dump(tree | more))
    return load_table(str(folder / "methods.yaml"))


@pytest.mark.parametrize("dataset", ("toy", "kinetics400", "something_something_v2"))
def test_the_linear_probe_is_a_baseline_without_a_number_of_the_paper(dataset):
    found = []
    for name in ("losses", "num_slots", "interaction"):
        table = load_table(name)
        assert all(PROBE not in claim.rows for claim in table.parsed_claims())
        assert [row.paper for row in table.rows if row.name == PROBE] == [{}]
        assert any(note.startswith(f"{PROBE}: ") for note in table.notes)
        (row,) = (row for row in table.rows if row.name == PROBE)
        found.append(row_config(table, row, load_config(CONFIGS / f"{dataset}.yaml"), [], dataset, 0))
    assert {config.method for config in found} == {LinearProbe(learning_rate=10)} and {
        config.name for config in found
    } <= {
        "linear_probe_learning_rate-10.0",
        "frames-16_linear_probe_learning_rate-10.0",
        "frames-16_stride-4_linear_probe_learning_rate-10.0",
    }
    assert dataset != "toy" or found[0] == found[1] == found[2], "of all tables one run"


def test_a_row_that_names_another_method_has_none_of_the_settings_of_the_one_it_replaces(tmp_path):
    rows = [
        {"name": "slots"},
        {"name": "probe", "overrides": {"method.name": "linear_probe"}},
        {"name": "own", "overrides": {"method.module": "my.method", "method.settings.depth": 2}},
        {"name": "again", "overrides": {"method.name": "object_centric", "method.slots.number": 2}},
    ]
    table = write(tmp_path, rows, settings={"toy": {"method.slots.number": 4, "sampling.frames": 4}})
    base = load_config(CONFIGS / "toy.yaml", ["method.width=64"])
    mine = ["method.heads=4", "training.lr=0.5"]
    slots, probe, own, again = (row_config(table, row, base, mine, "toy", 0) for row in table.rows)
    assert probe.method == LinearProbe() and own.method == Outside(module="my.method", settings={"depth": 2})
    assert {one.sampling.frames for one in (slots, probe, own, again)} == {4} and probe.training.lr == 0.5
    assert (slots.method.slots.number, slots.method.heads, slots.method.width) == (4, 4, 64)
    assert (again.method.slots.number, again.method.heads, again.method.width) == (2, 4, 64), "it replaces none"
    given = [left_out(table, row, base, mine, "toy") for row in table.rows]
    assert given == [[], ["method.slots.number=4", "method.heads=4"], ["method.slots.number=4", "method.heads=4"], []]


def test_a_key_that_its_own_method_does_not_have_is_refused_in_a_row_and_for_all_rows(tmp_path):
    rows = [{"name": "probe", "overrides": {"method.name": "linear_probe", "method.width": 8}}, {"name": "slots"}]
    table = write(tmp_path, rows)
    told = r"^methods\.yaml: row probe: method\.width: unknown key; known here: label_smoothing, name, learning_rate$"
    with pytest.raises(InputError, match=told):
        row_config(table, table.rows[0], load_config(), [], "toy", 0)
    with pytest.raises(InputError, match=r"method\.slotss: unknown key"):
        row_config(load_table("losses"), load_table("losses").rows[-1], load_config(), ["method.slotss=4"], "toy", 0)
    user = ["method.name=linear_probe"]
    with pytest.raises(InputError, match=r"row K4: method\.slots: unknown key"):
        row_config(load_table("num_slots"), load_table("num_slots").rows[1], load_config(), user, "toy", 0)


@pytest.fixture(scope="module")
def made(base, local_ray, tmp_path_factory):
    """(table, places, outcome) of slots and probe on one seed, with three toy sequences for J&F, under overrides that
    are of the slots alone."""
    folder = tmp_path_factory.mktemp("methods")
    listed = [{"name": "slots"}, {"name": PROBE, "overrides": {"method.name": "linear_probe"}}]
    claim = {"text": "slots beat the probe", "kind": "better", "rows": ["slots", PROBE]}
    table = write(folder, listed, claims=[claim], settings={"tiny": {"method.slots.iterations": 2}})
    assert list(
        toy.make(folder / "toy", toy.Options(train=16, validation=16, resolution=64, length=6, davis=2), workers=1)
    )
    test = object_test(folder / "toy" / "davis")
    user = ["method.losses.temporal.weight=0"]
    places = rows.plan_rows([table], base, user, "tiny", [0], test=test)
    plans = [place.plan for place in places]
    ensure_features(plans)
    encode_for(test, plans)
    run = TableRun(table, "tiny", base, places, [0], {})
    (found,) = run_tables([run], "c0ffee", Packing(2, 0.5, 0.0), lambda *_: None)
    return table, places, found


def test_the_probe_is_trained_from_the_features_of_the_other_rows(made):
    _, (slots, probe), found = made
    assert [row["status"] for row in found["rows"]] == ["done", "done"]
    assert len(orders([slots.plan, probe.plan])) == 1 and slots.plan.cache_key == probe.plan.cache_key
    assert probe.summary()["method"] == "objadapt.methods.linear_probe" and probe.folder.name.startswith(
        "linear_probe-"
    )
    assert slots.plan.config.method.slots.iterations == 2 and probe.plan.config.method == LinearProbe()
    cells = found["rows"][1]["metrics"]
    heads, width = probe.plan.manifest.heads, probe.plan.joint_width
    parameters = sum(classes * (width + 1) for classes in heads.values())
    assert cells["tunable_parameters"]["mean"] == pytest.approx(1e-6 * parameters)
    assert cells["top1"]["mean"] == pytest.approx(100 * probe.summary()["top1"])


def test_its_objects_are_missing_and_its_claims_judged(made):
    _, (slots, probe), found = made
    assert slots.scored and probe.scored and probe.done and not list(probe.folder.glob("objects*"))
    assert "davis_jf" in found["rows"][0]["metrics"]
    assert found["rows"][1]["missing"] == {"davis_jf": "no slot attention, so no masks"}
    (claim,) = found["claims"]
    assert claim["verdict"] in ("holds", "fails", "undecided")


def test_what_the_user_set_for_the_replaced_method_is_said_to_be_left_out(made):
    _, places, found = made
    assert [place.left_out for place in places] == [(), ("method.losses.temporal.weight=0",)]
    said = f"{PROBE}: without method.losses.temporal.weight=0, which is of the method that the row replaces"
    assert said in found["notes"] and rows.said_of_left_out(places) == [said]


def test_the_files_of_a_table_carry_their_number(made, base):
    table, places, found = made
    folder = Path(base.output) / "tables" / "tiny"
    files = [folder / "methods.json", folder / "methods.mlflow.json", *(place.folder / rows.PARENT for place in places)]
    before = [path.read_text() for path in files]
    for path in files:
        assert json.loads(path.read_text()).items() >= marks().items(), path.name
    try:
        for path, text in zip(files, before, strict=True):
            path.write_text(json.dumps({key: value for key, value in json.loads(text).items() if key not in marks()}))
        again = TableRun(table, "tiny", base, places, [0], {})
        assert again.parent() and [rows.own_parent(place) for place in places] == [again.parent()] * 2, "format 1"
        for path in files[:2]:
            path.write_text(json.dumps({"format": 3, "objadapt": "0.9.0"}))
            with pytest.raises(InputError, match=rf"{path.name}: written by a newer .*; use objadapt >= 0\.9\.0$"):
                TableRun(table, "tiny", base, places, [0], {})
            path.write_text(before[files.index(path)])
    finally:
        for path, text in zip(files, before, strict=True):
            path.write_text(text)


def test_sequences_are_encoded_for_a_method_whose_training_has_no_encoders(base, made, tmp_path):
    """Motion layers take frames: the ViT is in their training workers, and masks need its tokens all the same."""
    _, (slots, _), _ = made
    layers = {"name": "layers", "overrides": {"method.name": "motion_layers"}}
    user = [f"output={tmp_path}", "stream.cache=null"]
    (place,) = rows.plan_rows([write(tmp_path, [layers])], base, user, "tiny", [0], test=slots.test)
    assert place.plan.placed.encoders == 0
    encode_for(slots.test, [place.plan])
    assert set(read_grids(slots.test.features(place.plan))) == {one.name for one in slots.test.sequences}
