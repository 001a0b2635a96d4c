"""Every config of a published data set runs on a small copy of it in its publisher's layout.

What the copies train says nothing of accuracy: rows of official files with one tiny video, timm's test ViT with random
weights in place of CLIP.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import open_clip
import pytest
from official_copies import COPIES, rows

from objadapt.config_file import load_config
from objadapt.declared import CONFIGS

OF_A_DATA_SET = [(name, path.stem) for name in COPIES for path in sorted(CONFIGS.glob(f"{name}*.yaml"))]
NUMBERS = {"verb", "noun", "action"}


@dataclass(frozen=True)
class Copy:
    root: Path
    listed: dict[str, int]  # split -> clips, as it was made


@pytest.fixture(scope="module")
def copies(shared, tmp_path_factory) -> dict[str, Copy]:
    if not (shared / "annotations").is_dir():
        pytest.skip("no annotations in ../shared/data: the publishers' files are not in the repository")
    folder = tmp_path_factory.mktemp("official")
    return {name: Copy(folder / name, make(folder / name, shared)) for name, make in COPIES.items()}


@pytest.fixture(scope="module")
def small(tiny_weights) -> list[str]:
    backbone = ["library=timm", "name=test_vit", "pretrained=null", f"weights={tiny_weights}"]
    training = ["epochs=1", "batch_size=4"]
    rest = ["transform.size=32", "method.slots.number=3", "stream.num_workers=0", "stream.clips_per_task=4"]
    return [*(f"backbone.{one}" for one in backbone), *(f"training.{one}" for one in training), *rest]


def test_there_are_eighteen_sizes_and_three_more():
    sizes = [config for _, config in OF_A_DATA_SET if config[-1] == "f"]
    assert len(sizes) == 18 and {"jhmdb", "ucf101", "hmdb51"} <= {config for _, config in OF_A_DATA_SET}


@pytest.mark.parametrize(("name", "config"), OF_A_DATA_SET, ids=[config for _, config in OF_A_DATA_SET])
def test_a_dry_run(run_job, copies, small, tmp_path, name, config):
    backbone = load_config(CONFIGS / f"{config}.yaml").backbone
    assert backbone.library == "timm" or (backbone.name, backbone.pretrained) in open_clip.list_pretrained()
    places = [f"data.root={copies[name].root}", f"output={tmp_path}/out"]
    shown = run_job("train", "--config", config, "--dry-run", *places, *small)
    assert shown.code == 0, shown.err
    found = ", ".join(f"{split} {clips} of {clips}" for split, clips in copies[name].listed.items())
    assert f"{found} videos" in shown.out
    assert f"runs/{config}-seed0-" in shown.out and not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def train(run_job, copies, small, local_ray, tmp_path_factory):
    """`train(data set, config)` -> the finished job, its summary and its output folder, made once each."""
    made = {}

    def once(name: str, config: str):
        if config not in made:
            output = tmp_path_factory.mktemp(f"trained-{config}")
            places = [f"data.root={copies[name].root}", f"output={output}", "tracking.uri=null"]
            done = run_job("train", "--config", config, "--json", output / "s.json", *places, *small)
            assert done.code == 0, done.err
            made[config] = done, json.loads((output / "s.json").read_text()), output
        return made[config]

    return once


@pytest.mark.slow
@pytest.mark.parametrize(("name", "config"), OF_A_DATA_SET, ids=[config for _, config in OF_A_DATA_SET])
def test_an_epoch(train, copies, name, config):
    _, summary, _ = train(name, config)
    assert summary["epochs"] == 1 and summary["quarantined"] == 0
    assert {split: summary[f"num_{split}_clips"] for split in ("train", "val")} == copies[name].listed
    accuracy = "action_top1" if name == "epic_kitchens_100" else "top1"
    assert 0 <= summary[accuracy] <= summary[accuracy.replace("1", "5")] <= 1
    settings = load_config(CONFIGS / f"{config}.yaml")
    views = settings.evaluation
    assert summary["views"] == f"{settings.sampling.frames} x {views.temporal_clips} x {views.spatial_crops}"


@pytest.mark.slow
def test_epic_kitchens_scores_apart_and_the_challenge_s_file(train, run_job, copies, tmp_path):
    """The scores of the parts are recounted from predictions.csv; the file has every test clip, and is not lost."""
    done, summary, output = train("epic_kitchens_100", "epic_kitchens_100_l14_32f")
    own = copies["epic_kitchens_100"].root / "epic-kitchens-100-annotations"
    with open(Path(summary["checkpoint"]).parent / "predictions.csv", newline="") as file:
        ranks = {row["clip_id"]: {head: int(row[f"{head}_rank"]) for head in NUMBERS} for row in csv.DictReader(file)}
    tail = {head: {row[head] for row in rows(own / f"EPIC_100_tail_{head}s.csv")} for head in ("verb", "noun")}
    unseen = {row["participant_id"] for row in rows(own / "EPIC_100_unseen_participant_ids_validation.csv")}
    parts: dict[tuple[str, str], list[str]] = {}
    for row in rows(own / "EPIC_100_validation.csv"):
        of = {head for head in tail if row[f"{head}_class"] in tail[head]}
        for head in NUMBERS:
            if row["participant_id"] in unseen:
                parts.setdefault(("unseen", head), []).append(row["narration_id"])
            if head in of or head == "action" and of:
                parts.setdefault(("tail", head), []).append(row["narration_id"])
    for (part, head), clips in parts.items():
        for k in (1, 5):
            right = [ranks[clip][head] <= k for clip in clips]
            assert summary[f"{part}_{head}_top{k}"] == pytest.approx(sum(right) / len(right)), (part, head)
    assert summary["num_unseen_clips"] == 2 and summary["num_tail_clips"] == len(parts["tail", "action"]) >= 2
    assert "of unseen participants (2 clips)" in done.out and "of tail classes (" in done.out

    path, test = tmp_path / "test.json", own / "EPIC_100_test_timestamps.csv"
    command = ["evaluate", summary["checkpoint"], "--split", "test", "--challenge", path, f"data.test={test}"]
    written = run_job(*command, "--supervision", "1,3,3")
    assert written.code == 0, written.err
    results = json.loads(path.read_text())["results"]
    assert list(results) == [row["narration_id"] for row in rows(test)]
    assert all([len(one[name]) for name in ("verb", "noun", "action")] == [97, 300, 100] for one in results.values())
    again = run_job(*command)
    assert (
        again.code == 2
        and again.err == f"error: --challenge: {path} is there already; give another name, or remove it\n"
    )
    wrong = run_job(*command[:-2], tmp_path / "other.json", "--supervision", "9,3")
    assert wrong.code == 2 and wrong.err.startswith("error: --supervision: '9,3' is not PT,TL,TD, three numbers")


@pytest.mark.slow
def test_the_table_of_epic_kitchens_has_its_three_columns(run_job, copies, small, local_ray, tmp_path):
    """Rows of the paper's own backbones need CLIP's weights; the probe is trained on whatever backbone is given."""
    table = ["--table", "epic_kitchens_100", "--dataset", "epic_kitchens_100", "--rows", "linear-probe"]
    places = ["--output", tmp_path / "out", "--cpus-per-row", "0.5", "--json", tmp_path / "t.json"]
    settings = [one for one in small if not one.startswith(("method.", "stream.num_workers"))]
    done = run_job(
        "reproduce", *table, *places, f"data.root={copies['epic_kitchens_100'].root}", *settings, "stream.views=1"
    )
    assert done.code == 0, done.err
    rows_of = {row["name"]: row for row in json.loads((tmp_path / "t.json").read_text())["rows"]}
    ours = rows_of["linear-probe"]["metrics"]
    assert {"verb_top1", "noun_top1", "top1"} <= ours.keys()
    for metric in ("verb_top1", "noun_top1", "top1"):
        assert ours[metric]["n"] == 1 and 0 <= ours[metric]["mean"] <= 100
    assert ours["top1"]["mean"] <= min(ours["verb_top1"]["mean"], ours["noun_top1"]["mean"]), "an action asks for both"
    assert all(title in done.out for title in ("verb top-1 (%)", "noun top-1 (%)", "top-1 (%)"))
    for number in ("71.1", "60.9", "49.0"):
        assert number in done.out, "the paper's, beside"
