"""Rows x seeds: planned as each alone would be, trained once for all tables, finished ones left alone,
failures named.
"""

import json
import math
import shutil
from pathlib import Path

import mlflow
import pytest
import ray
import torch
import yaml

from objadapt.backbone import build_backbone
from objadapt.config_file import load_config
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError
from objadapt.metric import TOP1
from objadapt.plan import plan
from objadapt.runs.earlier import Earlier, earlier
from objadapt.runs.feature_caches import ensure_features
from objadapt.tables import rows, table_run
from objadapt.tables.scores import scores_of
from objadapt.tables.table import load_table, row_config
from objadapt.tables.table_run import Packing, TableRun, encoder_gflops, run_tables

pytestmark = pytest.mark.slow

CODE = "c0ffee"
TABLES = {
    "first": {
        "full": {},
        "three": {"method.slots.number": 2},
        "fails": {"training.lr": 1e30},
        "elsewhere": {"missing": {"tiny": "needs a GPU"}},
    },
    "second": {"whole": {"method.interval": 1}, "part": {"data.fraction": 0.5}},
}


def write_table(folder, name: str, listed: dict):
    """A table of rows {name: overrides}."""
    lines = [{"name": row, **(o if "missing" in o else {"overrides": o})} for row, o in listed.items()]
    tree = {
        "caption": name,
        "source": "own",
        "metrics": {"top1": {}, "gflops": {}, "tunable_parameters": {}},
        "rows": lines,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tree))
    return load_table(str(path))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    return [write_table(folder, name, listed) for name, listed in TABLES.items()]


@pytest.fixture(scope="module")
def places(tables, base):
    return rows.plan_rows(tables, base, [], "tiny", [0, 1])


@pytest.fixture(scope="module")
def outcomes(tables, base, places, local_ray):
    """Both tables, trained."""
    ensure_features([place.plan for place in places if place.plan])
    return finish(tables, base, places)


def finish(tables, base, places) -> dict[str, dict]:
    runs = [TableRun(table, "tiny", base, places, [0, 1], {"commit": CODE}) for table in tables]
    return {found["table"]: found for found in run_tables(runs, CODE, Packing(2, 0.5, 0.0), lambda *_: None)}


def store(base) -> tuple[mlflow.MlflowClient, str]:
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{base.output}/mlflow.db")
    return client, client.get_experiment_by_name(base.tracking.experiment).experiment_id


def children(base, table: str) -> list[mlflow.entities.Run]:
    client, experiment = store(base)
    (parent,) = client.search_runs([experiment], f"tags.table = '{table}'")
    return client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")


def test_plans_are_those_that_each_config_gets_alone(tables, base):
    make = rows.Plans()
    for table in tables:
        for row in table.rows:
            for seed in (0, 1):
                config = row_config(table, row, base, ["data.root=" + base.data.root], "tiny", seed)
                alone, shared = plan(config, build_manifest(config.data, seed)), make(config)
                assert shared.identity == alone.identity and shared.folder == alone.folder
                assert shared.manifest.content_hash() == alone.manifest.content_hash()
                for name, value in vars(alone.schedule).items():
                    assert (
                        (getattr(shared.schedule, name) == value)
                        if not hasattr(value, "tolist")
                        else (getattr(shared.schedule, name).tolist() == value.tolist())
                    ), name


def test_a_row_of_two_tables_is_one_run_and_every_seed_its_own(places):
    folders = {(place.row.name, place.seed): place.folder for place in places if place.plan}
    assert folders["full", 0] == folders["whole", 0] != folders["full", 1] == folders["whole", 1]
    runs = rows.to_run(places)
    assert len({place.folder for place in runs}) == len(runs)
    assert len({*folders.values()}) == 8 and all(place.plan for place in runs)


def test_rows_that_a_data_set_does_not_allow_have_their_reason(places):
    assert [(p.plan, p.reason) for p in places if p.row.name == "elsewhere"] == [(None, "needs a GPU")] * 2


def test_a_row_as_published_is_never_planned(base, tmp_path):
    tree = {"caption": "one", "source": "own", "metrics": {"top1": {"paper": "theirs"}}}
    rows_of_it = [{"name": "theirs", "published": True, "paper": {"theirs": 60.0}}, {"name": "ours"}]
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(tree | {"rows": rows_of_it}))
    theirs, ours = rows.plan_rows([load_table(str(tmp_path / "one.yaml"))], base, [], "tiny", [0])
    assert (theirs.plan, theirs.reason) == (None, "published")
    assert rows.to_run([theirs, ours]) == [ours]


def test_only_selected_rows_run_and_an_unknown_one_is_refused(tables, base, tmp_path):
    found = rows.plan_rows(
        tables, base.model_copy(update={"output": str(tmp_path)}), [], "tiny", [0], ["three", "part"]
    )
    assert {place.row.name for place in rows.to_run(found)} == {"three", "part"}
    assert {place.reason for place in found if place.row.name in ("full", "whole")} == {"left out by --rows"}
    with pytest.raises(
        InputError, match="--rows: no row four in first, second; there are elsewhere, fails, full, part"
    ):
        rows.plan_rows(tables, base, [], "tiny", [0], ["four"])


def test_a_row_that_the_config_refuses_ends_it_unless_it_is_left_out(tables, base, tmp_path):
    wrong = write_table(tmp_path, "wrong", {"good": {}, "bad": {"method.interval": 9}})
    with pytest.raises(InputError, match=r"wrong\.yaml: row bad: .*method\.interval: 9"):
        rows.plan_rows([wrong], base, [], "tiny", [0])
    good, bad = rows.plan_rows([wrong], base, [], "tiny", [0], ["good"])
    assert (
        good.reason is None and bad.plan is None and bad.reason.startswith("left out by --rows (wrong.yaml: row bad: ")
    )


def test_of_all_tables_a_refused_row_is_missing_with_its_reason_unless_nothing_is_left(base, tmp_path):
    mixed = write_table(tmp_path, "mixed", {"good": {}, "bad": {"method.interval": 9}, "weak": {"transform.size": 33}})
    good, bad, weak = rows.plan_rows([mixed], base, [], "tiny", [0], lenient=True)
    assert good.plan and good.reason is None and rows.to_run([good, bad, weak]) == [good]
    assert bad.plan is None and bad.reason.startswith("mixed.yaml: row bad: method.interval: 9")
    assert weak.plan is None and weak.reason.startswith("transform.size: 33")
    with pytest.raises(InputError, match="data.root: "):
        rows.plan_rows([mixed], base, ["data.root=nowhere"], "tiny", [0], lenient=True)


def test_all_rows_end_done_or_failed_and_the_failure_has_its_reason(outcomes, places):
    status = {row["name"]: row["status"] for found in outcomes.values() for row in found["rows"]}
    assert status["full"] == status["three"] == status["whole"] == status["part"] == "done"
    assert status["elsewhere"] == "missing: needs a GPU"
    assert status["fails"].startswith("failed: FloatingPointError: loss is nan at step 1; lower training.lr (see lr-1e")
    failed = next(place for place in places if place.row.name == "fails")
    assert "FloatingPointError" in (failed.folder / "error.txt").read_text() and not failed.done


def test_the_cells_are_those_of_the_runs(outcomes, places):
    for found in outcomes.values():
        for row in found["rows"]:
            mine = [place.summary() for place in places if place.row.name == row["name"] and place.done]
            if mine:
                assert row["metrics"]["top1"]["mean"] == pytest.approx(sum(100 * one["top1"] for one in mine) / 2)
                assert row["metrics"]["tunable_parameters"]["mean"] == pytest.approx(
                    1e-6 * mine[0]["tunable_parameters"]
                )
                assert row["runs"] == {str(one["seed"]): one["mlflow_run_id"] for one in mine}
    assert outcomes["first"]["rows"][0]["metrics"] == outcomes["second"]["rows"][0]["metrics"]
    assert outcomes["first"]["toy"] is True, "the tiny experiment is made of toy clips"


def test_clips_got_right_give_the_accuracy_of_the_summary(outcomes, places):
    for place in places:
        if place.done:
            right = scores_of(TOP1, place, place.summary())
            assert right.mean() == pytest.approx(place.summary()["top1"]) and right.index.is_unique
            clips = place.plan.manifest.table.set_index("clip_id")["split"]
            assert set(right.index) == set(clips.index[clips == "val"])


def test_every_table_has_its_rows_as_children_to_be_compared(outcomes, base, places):
    first, second = children(base, "first"), children(base, "second")
    assert len(first) == 4 + 2 and len(second) == 4, "two seeds of each row, failed ones as well"
    light = [run for run in second if "same_as" in run.data.tags]
    originals = {run.info.run_id: run for run in first}
    assert len(light) == 2 and {run.data.tags["row"] for run in light} == {"whole"}
    for run in light:
        original = originals[run.data.tags["same_as"]]
        assert original.data.params == run.data.params
        assert original.data.metrics["final/top1"] == run.data.metrics["final/top1"] and run.info.status == "FINISHED"
    for run in second:
        assert math.isfinite(run.data.metrics["final/top1"]) and run.data.params["method.slots.number"] == "3"


def test_the_parent_carries_the_table_and_its_cells(outcomes, base):
    client, experiment = store(base)
    (parent,) = client.search_runs([experiment], "tags.table = 'second'")
    kept = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert kept == {"second.md", "second.tex", "second.csv", "second.json"}
    cell = outcomes["second"]["rows"][1]["metrics"]["top1"]
    assert parent.data.metrics["part/top1"] == pytest.approx(cell["mean"]) and "part/top1_stderr" in parent.data.metrics
    assert parent.info.status == "FINISHED" and parent.data.tags["dataset"] == "tiny"


def test_the_same_again_trains_nothing_and_adds_no_run(outcomes, tables, base):
    client, experiment = store(base)
    before = {run.info.run_id: run.info.status for run in client.search_runs([experiment])}
    again = rows.plan_rows(tables, base, [], "tiny", [0, 1])
    stamps = {place.folder: (place.folder / "summary.json").stat().st_mtime_ns for place in again if place.done}
    assert {place.row.name for place in rows.to_run(again)} == {"fails"}
    second = [place for place in again if place.table.name == "second"]
    assert finish([tables[1]], base, second)["second"] == outcomes["second"]
    assert {run.info.run_id: run.info.status for run in client.search_runs([experiment])} == before
    assert all((folder / "summary.json").stat().st_mtime_ns == stamp for folder, stamp in stamps.items())


def test_scores_that_come_later_reach_the_light_children(outcomes, tables, base, monkeypatch):
    """`--davis NAME=DIR`, given when the table is done; what is there already is not written again."""
    second = [place for place in rows.plan_rows(tables, base, [], "tiny", [0, 1]) if place.table.name == "second"]
    for further in ("davis_jf.dogs", "davis_jf.cats"):
        monkeypatch.setattr(table_run, "_objects", lambda place, name=further: {name: 0.25 + place.seed})
        for _ in range(2):
            finish([tables[1]], base, second)
        light = [run for run in children(base, "second") if "same_as" in run.data.tags]
        assert len(light) == 2 and all(run.info.status == "FINISHED" for run in light)
        for run in light:
            assert run.data.metrics[f"objects/{further}"] == 0.25 + int(run.data.tags["seed"])
            assert len(store(base)[0].get_metric_history(run.info.run_id, f"objects/{further}")) == 1
    monkeypatch.setattr(table_run, "_objects", lambda place: {"davis_jf.birds": 0.5})
    mark = Path(base.output) / "tables" / "tiny" / "second.mlflow.json"
    for reached in (False, True):
        with monkeypatch.context() as patch:
            if not reached:
                patch.setattr(table_run.Tracker, "delivered", lambda tracker: False)
            finish([tables[1]], base, second)
        told = json.loads(mark.read_text())["scored"].values()
        assert all(("objects/davis_jf.birds" in names) == reached for names in told), "else the next command skips it"


def test_rows_that_differ_in_their_testing_views_alone_are_one_training_and_two_results(base, local_ray, tmp_path):
    """Also where the run was finished for another table, in the views of one of them."""
    here = base.model_copy(update={"output": str(tmp_path)})
    listed = {"one": {}, "two": {"evaluation.temporal_clips": 2}, "backwards": {"evaluation.reverse": True}}
    table = write_table(tmp_path, "views", listed)
    places = rows.plan_rows([table], here, [], "tiny", [0])
    one, two, backwards = places
    assert one.folder == two.folder == backwards.folder and len({place.work for place in places}) == 3
    ensure_features([place.plan for place in places])
    assert rows.to_run(places) == places
    (found,) = [
        *run_tables([TableRun(table, "tiny", here, places, [0], {})], CODE, Packing(3, 0.5, 0.0), lambda *_: None)
    ]
    assert [row["status"] for row in found["rows"]] == ["done"] * 3 and found[
        "views"
    ] == "4 x 1 x 1, 4 x 2 x 1, 4 x 1 x 1 (frames backwards)"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [one.folder.name]
    trained = [
        line for line in (one.folder / "records.jsonl").read_text().splitlines() if json.loads(line)["kind"] == "start"
    ]
    assert len(trained) == 1, "one training"
    scores = {row["name"]: row["metrics"]["top1"]["mean"] for row in found["rows"]}
    for place in places:
        assert place.tested and place.done and scores[place.row.name] == pytest.approx(100 * place.summary()["top1"])
        assert scores_of(TOP1, place, place.summary()).mean() == pytest.approx(place.summary()["top1"])
    client, experiment = store(here)
    light = {run.data.tags["row"]: run for run in client.search_runs([experiment], "tags.same_as != ''")}
    assert {name: run.data.tags["views"] for name, run in light.items()} == {
        "two": "4 x 2 x 1",
        "backwards": "4 x 1 x 1 (frames backwards)",
    }
    later = rows.plan_rows([table], here, ["evaluation.spatial_crops=3"], "tiny", [0], ["one"])[0]
    assert later.folder == one.folder and later.trained and not later.tested and not later.done
    assert rows.to_run([later]) == [later], "its run is finished, and has no result in these views"


def test_a_run_of_another_version_of_the_method_is_stale(outcomes, places, tmp_path):
    place = next(place for place in places if place.row.name == "three")
    assert earlier(place.plan) is None
    older = place.folder.with_name(place.folder.name[:-12] + "0" * 12)
    shutil.copytree(place.folder, older)
    try:
        assert earlier(place.plan) is None, "a copy by the same version is not stale"
        record = json.loads((older / "run.json").read_text())
        record["method"]["objadapt.methods.object_centric.slot_attention"] = "before"
        (older / "run.json").write_text(json.dumps(record))
        assert earlier(place.plan) == Earlier(older, "methods/object_centric/slot_attention.py changed")
        (older / "run.json").write_text(json.dumps(record | {"config_hash": "another config"}))
        assert earlier(place.plan) is None
        (older / "run.json").unlink()
        assert earlier(place.plan) == Earlier(older, "modules changed (format 1 does not name them)")
    finally:
        shutil.rmtree(older)


def test_more_than_the_cluster_has_is_refused_before_it_waits_for_ever(local_ray):
    assert rows.concurrency(1, 1.0, 0.0) == 1 and rows.concurrency(None, 0.5, 0.0) >= 2
    assert rows.concurrency(10_000, 1.0, 0.0) < 10_000
    with pytest.raises(InputError, match="--cpus-per-row, --gpus-per-row: 1e\\+06 CPUs and 0 GPUs a row"):
        rows.concurrency(None, 1e6, 0.0)


def test_rows_on_frames_leave_room_to_decode(local_ray):
    cpus = ray.cluster_resources()["CPU"]
    assert rows.concurrency(None, 0.5, 0.0) > rows.concurrency(None, 0.5, 0.0, decode=cpus / 2)
    with pytest.raises(InputError, match=r"beside 1e\+06 CPUs \(stream.decode_cpus\) for its frames"):
        rows.concurrency(None, 0.5, 0.0, decode=1e6)


def test_the_backbones_gflops_are_those_of_the_formula(base):
    small = load_config(None, ["backbone.library=small_clip"]).backbone
    model = build_backbone(small).model
    L, D, m = len(model.transformer.resblocks), model.class_embedding.shape[0], model.positional_embedding.shape[0]
    embedding = 3 * model.conv1.weight.shape[-1] ** 2 * (m - 1) * D
    # 2 x MAC, m tokens
    expected = 2e-9 * (embedding + L * (12 * D**2 * m + 2 * m**2 * D) + m * D * model.proj.shape[1])
    assert encoder_gflops(small, build_backbone(small).image_size, 1) == pytest.approx(expected, rel=1e-9)
    assert torch.backends.mha.get_fastpath_enabled()
