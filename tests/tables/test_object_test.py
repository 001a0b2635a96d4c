"""Objects of finished runs on annotated sequences: scored once, with the same result as `evaluation` gives,
shown in tables.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from PIL import Image

from objadapt.backbone import build_backbone
from objadapt.data import toy
from objadapt.data.davis import read_ids
from objadapt.errors import InputError
from objadapt.evaluation.mask_baselines import grid_masks
from objadapt.evaluation.object_masks import id_maps, patch_grid, segment_video, upsample
from objadapt.evaluation.segmentation import mean_scores, object_rows, score_sequence
from objadapt.runs.feature_caches import ensure_features
from objadapt.runs.object_test import encode_for, given, object_test
from objadapt.tables import formats, rows
from objadapt.tables.table import load_table
from objadapt.tables.table_run import Packing, TableRun, run_tables
from objadapt.tables.untrained_rows import left_to_score
from objadapt.training import checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "objects.yaml"
    listed = [{"name": "three"}, {"name": "mean", "overrides": {"method.slots.number": 1}}]
    metrics = {name: {} for name in ("top1", "davis_jf", "davis_j", "davis_f", "foreground_norm", "background_norm")}
    tree = {
        "caption": "objects",
        "source": "own",
        "metrics": metrics,
        "rows": listed,
        "untrained": ["k-means", "grid", "ceiling"],
    }
    path.write_text(yaml.safe_dump(tree))
    return load_table(str(path))


@pytest.fixture(scope="module")
def davis(tmp_path_factory) -> Path:
    """Three toy sequences of 6 frames of 64 x 64, with masks."""
    root = tmp_path_factory.mktemp("davis") / "toy"
    assert list(toy.make(root, toy.Options(train=16, validation=16, resolution=64, length=6, davis=3), workers=1))
    return root / "davis"


@pytest.fixture(scope="module")
def sequences(davis):
    return object_test(davis)


def finish(table, base, places, masks=None) -> dict:
    run = TableRun(table, "tiny", base, places, [0], {"commit": "c0ffee"}, masks)
    (found,) = run_tables([run], "c0ffee", Packing(2, 0.5, 0.0), lambda *_: None)
    return found


@pytest.fixture(scope="module")
def first(table, base, local_ray):
    """The table without annotated sequences."""
    places = rows.plan_rows([table], base, [], "tiny", [0])
    ensure_features([place.plan for place in places])
    return finish(table, base, places)


@pytest.fixture(scope="module")
def scored(first, table, base, sequences):
    """The same with them: nothing is trained again."""
    places = rows.plan_rows([table], base, [], "tiny", [0], test=sequences)
    assert [(place.trained, place.done) for place in places] == [(True, False), (True, True)]
    assert [kind for _, kind in left_to_score(places, table.untrained)] == ["k-means", "grid", "ceiling"]
    before = [(place.folder / "summary.json").stat().st_mtime_ns for place in places]
    encode_for(sequences, [place.plan for place in places])
    found = finish(table, base, places)
    assert [(place.folder / "summary.json").stat().st_mtime_ns for place in places] == before
    assert all(place.done for place in places) and not left_to_score(places, table.untrained)
    return places, found


def test_cells_without_sequences_or_slots_are_missing_with_the_reason(first, scored):
    three, mean, *others = first["rows"]
    assert [row["status"] for row in others] == ["missing: no annotated sequences given (--davis)"] * 3
    assert (
        three["missing"]["davis_jf"] == "no annotated sequences given (--davis)" and "davis_jf" not in three["metrics"]
    )
    assert mean["missing"]["davis_jf"] == "no slot attention, so no masks"
    three, mean, *_ = scored[1]["rows"]
    assert set(three["metrics"]) == {"top1", "davis_jf", "davis_j", "davis_f", "foreground_norm", "background_norm"}
    assert set(mean["metrics"]) == {"top1"} and mean["missing"]["davis_j"] == "no slot attention, so no masks"


def test_the_score_is_that_of_the_checkpoints_masks(scored, sequences):
    """Once more from the pictures, without features on disk, tables or Ray."""
    place, found = scored[0][0], scored[1]["rows"][0]["metrics"]
    adapter, encoder = place.plan.method().eval(), build_backbone(place.plan.config.backbone)
    checkpoint.load(place.folder / "last", adapter)
    objects = []
    for sequence in sequences.sequences:
        frames = np.stack([np.array(Image.open(path)) for path in sequence.frames])
        soft = segment_video(encoder, adapter.slot_attention, [frames], place.plan.crop)
        assert soft.shape[2:] == patch_grid(*frames.shape[1:3], place.plan.crop, encoder.patch_size)
        truth = [read_ids(path) for path in sequence.annotations]
        objects += object_rows(
            sequence.name, score_sequence(truth, id_maps(upsample(soft, frames.shape[1:3])), "official")
        )
    expected = mean_scores(objects)
    for metric, measure in (("davis_jf", "J&F-Mean"), ("davis_j", "J-Mean"), ("davis_f", "F-Mean")):
        assert found[metric]["mean"] == pytest.approx(100 * expected[measure], abs=1e-6)
    kept = json.loads(sequences.result(place.plan).read_text())
    assert [row["proposal_id"] for row in kept["objects"]] == [row["proposal_id"] for row in objects]
    assert kept["norms"]["foreground"] == pytest.approx(found["foreground_norm"]["mean"])


def test_the_runs_own_mlflow_run_has_them_and_stays_finished(scored, base, sequences):
    place, found, store = scored[0][0], scored[1]["rows"][0]["metrics"], f"sqlite:///{base.output}/mlflow.db"
    run = mlflow.MlflowClient(tracking_uri=store).get_run(place.summary()["mlflow_run_id"])
    assert 100 * run.data.metrics["objects/davis_jf"] == pytest.approx(found["davis_jf"]["mean"])
    assert run.info.status == "FINISHED"
    kept = mlflow.artifacts.list_artifacts(run_id=run.info.run_id, artifact_path="objects", tracking_uri=store)
    names = [sequence.name for sequence in sequences.sequences[:2]]
    assert {Path(file.path).name for file in kept} == {
        f"{name}{kind}" for name in names for kind in (".png", "-slots.png", ".gif")
    }


def test_other_frames_or_masks_are_another_test(davis, sequences, tmp_path):
    copy = tmp_path / "davis"
    shutil.copytree(davis, copy)
    assert object_test(copy).key == sequences.key
    path = object_test(copy).sequences[0].annotations[1]
    path.write_bytes(sequences.sequences[0].annotations[0].read_bytes())
    assert object_test(copy).key != sequences.key
    path.unlink()
    with pytest.raises(InputError, match=f"--davis: .*: {sequences.sequences[0].name} has .* frames and .* masks"):
        object_test(copy)
    shutil.copy(sequences.sequences[0].annotations[1], path.with_stem("00077"))
    with pytest.raises(InputError, match="and the mask .* in one place; give both for each frame"):
        object_test(copy)


def test_masks_without_training_stand_below_the_rows(scored, sequences):
    k_means, grid, ceiling = scored[1]["rows"][2:]
    assert (k_means["name"], k_means["status"], grid["name"], grid["status"]) == ("k-means", "done", "grid", "done")
    rows = []
    for sequence in sequences.sequences:
        truth = [read_ids(path) for path in sequence.annotations]
        # frames of 64 pixels at 32: 2 x 2 patches of 16
        tiles = upsample(grid_masks(3, 2, 2, len(truth)), truth[0].shape)
        rows += object_rows(sequence.name, score_sequence(truth, id_maps(tiles), "official"))
    assert grid["metrics"]["davis_jf"]["mean"] == pytest.approx(100 * mean_scores(rows)["J&F-Mean"])
    assert ceiling["name"] == "ceiling" and 0 < ceiling["metrics"]["davis_jf"]["mean"] < 100
    assert set(k_means["metrics"]) == {"davis_jf", "davis_j", "davis_f"} and k_means["metrics"]["davis_jf"]["n"] == 1


def test_further_sequences_have_a_column_of_their_own(scored, table, base, sequences, davis, tmp_path):
    """Claims and all other columns stay with the first sequences."""
    shutil.copytree(davis, tmp_path / "davis")
    listed = tmp_path / "davis" / "ImageSets" / "2017" / "val.txt"
    listed.write_text("".join(listed.read_text().splitlines(keepends=True)[:2]))
    two = object_test(tmp_path / "davis", "two")
    places = rows.plan_rows([table], base, [], "tiny", [0], test=replace(sequences, others=(two,)))
    assert [(place.tested, place.done) for place in places] == [(True, False), (True, True)]
    encode_for(places[0].test, [place.plan for place in places])
    found = finish(table, base, places)
    names = [column["metric"] for column in found["columns"]]
    assert names[names.index("davis_jf") + 1] == "davis_jf.two"
    assert "J&F on two (%)" in formats.grid(found)[0][names.index("davis_jf.two") + 1]
    for row, before in zip(found["rows"], scored[1]["rows"], strict=True):
        assert {name: row["metrics"][name] for name in before["metrics"]} == before["metrics"]
    three, mean, k_means, *_ = found["rows"]
    rows_of_two = json.loads(two.result(places[0].plan).read_text())["objects"]
    assert {row["sequence"] for row in rows_of_two} == {one.name for one in sequences.sequences[:2]}
    assert three["metrics"]["davis_jf.two"]["mean"] == pytest.approx(100 * mean_scores(rows_of_two)["J&F-Mean"])
    first = [row for row in json.loads(sequences.result(places[0].plan).read_text())["objects"]]
    assert rows_of_two == [row for row in first if row["sequence"] != sequences.sequences[2].name]
    assert k_means["metrics"]["davis_jf.two"] != k_means["metrics"]["davis_jf"]
    assert mean["missing"]["davis_jf.two"] == "no slot attention, so no masks"
    store = f"sqlite:///{base.output}/mlflow.db"
    run = mlflow.MlflowClient(tracking_uri=store).get_run(places[0].summary()["mlflow_run_id"])
    assert 100 * run.data.metrics["objects/davis_jf.two"] == pytest.approx(three["metrics"]["davis_jf.two"]["mean"])
    assert 100 * run.data.metrics["objects/davis_jf"] == pytest.approx(three["metrics"]["davis_jf"]["mean"])


def test_a_row_that_is_left_out_keeps_the_numbers_that_it_has(scored, table, base, sequences, davis, tmp_path):
    shutil.copytree(davis, tmp_path / "davis")
    listed = tmp_path / "davis" / "ImageSets" / "2017" / "val.txt"
    listed.write_text(listed.read_text().splitlines(keepends=True)[-1])
    one = object_test(tmp_path / "davis", "one")
    places = rows.plan_rows([table], base, [], "tiny", [0], ["mean"], test=replace(sequences, others=(one,)))
    encode_for(places[0].test, [place.plan for place in places])
    three, before = finish(table, base, places)["rows"][0], scored[1]["rows"][0]
    assert three["metrics"] == before["metrics"] and three["status"] == "done"
    assert three["missing"] == {"davis_jf.one": "not scored on these sequences: left out by --rows"}
    places = rows.plan_rows([table], base, [], "tiny", [0], test=replace(sequences, others=(one,)))
    assert "davis_jf.one" in finish(table, base, places)["rows"][0]["metrics"]
    kept = json.loads(one.result(places[0].plan).read_text())
    assert kept["interval"] is None and kept["names"] == ["one"], "one sequence has no interval"
    first = replace(one, name="")  # the same sequences, now those that claims are about
    finish(table, base, rows.plan_rows([table], base, [], "tiny", [0], test=first))
    assert json.loads(one.result(places[0].plan).read_text())["names"] == ["one", ""]
    store = f"sqlite:///{base.output}/mlflow.db"
    run = mlflow.MlflowClient(tracking_uri=store).get_run(places[0].summary()["mlflow_run_id"])
    assert run.data.metrics["objects/davis_jf"] == run.data.metrics["objects/davis_jf.one"]


def test_masks_that_others_made_are_a_row(scored, table, base, sequences, tmp_path):
    for sequence in sequences.sequences:
        shutil.copytree(sequence.annotations[0].parent, tmp_path / "truth" / sequence.name)
    found = finish(table, base, scored[0], {"truth": tmp_path / "truth"})
    *others, truth = found["rows"]
    assert others == scored[1]["rows"] and truth["name"] == "truth"
    assert truth["metrics"]["davis_jf"]["mean"] == truth["metrics"]["davis_f"]["mean"] == pytest.approx(100)
    (tmp_path / "truth" / sequences.sequences[1].name / sequences.sequences[1].annotations[2].name).unlink()
    with pytest.raises(
        InputError, match=f"{sequences.sequences[1].name}/{sequences.sequences[1].annotations[2].name}: missing"
    ):
        given(sequences, tmp_path / "truth")
