"""jobs/score_davis.py: the official numbers in the official files, and one line for each kind of wrong input."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from objadapt.data.davis import davis_sequences, notes_on_objects, write_ids
from objadapt.evaluation.segmentation import MEASURES, score_sequence, score_soft_sequence

FRAMES, SIZE = 5, (24, 32)


def random_ids(rng: np.random.Generator, values: list[int]) -> np.ndarray:
    """uint8 [T, H, W] of patches of 8 x 8 pixels."""
    return rng.choice(np.array(values, np.uint8), (FRAMES, 3, 4)).repeat(8, axis=1).repeat(8, axis=2)


def write_sequence(folder: Path, ids: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for frame, picture in enumerate(ids):
        write_ids(folder / f"{frame:05d}.png", picture)


@pytest.fixture
def made(tmp_path) -> Path:
    """`davis` with sequences ant, bee and fog (without an object), `masks` with ids and soft masks for all of them."""
    rng = np.random.default_rng(0)
    for name, values in (("ant", [0, 1, 2, 255]), ("bee", [0, 1]), ("fog", [0])):
        truth = random_ids(rng, values)
        truth[0, 0, 0] = max(value for value in values if value != 255)
        write_sequence(tmp_path / "davis/Annotations_unsupervised/480p" / name, truth)
        write_sequence(tmp_path / "davis/Annotations/480p" / name, np.minimum(truth, 1))
        write_sequence(tmp_path / "masks" / name, random_ids(rng, [0, *values]) % 255)
        for frame in range(FRAMES):
            soft = rng.random((3, *SIZE)).astype(np.float16)
            np.savez(tmp_path / "masks" / name / f"{frame:05d}.npz", masks=soft)
    (tmp_path / "davis/ImageSets/2017").mkdir(parents=True)
    (tmp_path / "davis/ImageSets/2017/val.txt").write_text("bee\nant\nfog\n")
    return tmp_path


def read_sequence(folder: Path) -> np.ndarray:
    return np.stack([np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))])


@pytest.fixture
def scored(run_job, local_ray, made):
    """`scored(protocol, ...)`: the job on `made`; -> what it was and its JSON."""

    def run(protocol: str, *more):
        done = run_job(
            "score_davis",
            "--predictions",
            made / "masks",
            "--davis",
            made / "davis",
            "--protocol",
            protocol,
            "--json",
            made / "scores.json",
            *more,
        )
        assert done.code == 0, done.err
        return done, json.loads((made / "scores.json").read_text())

    return run


def refused(
    run_job, made: Path, *named, protocol: str = "official", davis: str = "davis", masks: str = "masks"
) -> None:
    """The job ends with exit code 2 and one line that holds each of `named`, and writes nothing."""
    done = run_job(
        "score_davis",
        "--predictions",
        made / masks,
        "--davis",
        made / davis,
        "--protocol",
        protocol,
        "--json",
        made / "scores.json",
    )
    assert done.code == 2, done.out + done.err
    [line] = done.err.strip().splitlines()
    assert line.startswith("error: ") and done.out == ""
    for name in named:
        assert str(name) in line
    assert not (made / "scores.json").exists() and not list((made / masks).glob("*.csv"))


def test_official_numbers_in_official_files(run_job, local_ray, shared, tmp_path):
    davis = shared / "davis"
    (tmp_path / "names.txt").write_text("car-shadow\nmotocross-jump\n")
    done = run_job(
        "score_davis",
        "--predictions",
        davis / "results/unsupervised/rvos",
        "--davis",
        davis,
        "--sequences",
        tmp_path / "names.txt",
        "--output",
        tmp_path / "out",
        "--json",
        tmp_path / "scores.json",
    )
    assert done.code == 0, done.err
    summary, listed = json.loads((tmp_path / "scores.json").read_text()), pd.read_csv(davis / "official_scores.csv")
    listed = listed[listed["protocol"] == "A_unsup_real"].set_index("sequence")
    assert summary["protocol"] == "official"
    assert [row["sequence"] for row in summary["objects"]] == ["car-shadow", "motocross-jump"]
    for row in summary["objects"]:
        theirs = listed.loc[row["sequence"]]
        assert (row["gt_id"], row["proposal_id"]) == (theirs["gt_id"], theirs["proposal_id"])
        for measure, column in (
            ("J-Mean", "J_mean"),
            ("J-Recall", "J_recall"),
            ("F-Mean", "F_mean"),
            ("F-Decay", "F_decay"),
        ):
            assert row[measure] == pytest.approx(theirs[column], abs=1e-6)
    assert (tmp_path / "out/per-sequence_results.csv").read_text().splitlines() == [
        "Sequence,J-Mean,F-Mean",
        "car-shadow_1,0.920,0.957",
        "motocross-jump_1,0.830,0.709",
    ]
    header, values = (tmp_path / "out/global_results.csv").read_text().splitlines()
    assert header == "J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay"
    assert values.split(",")[:2] == ["0.854", "0.875"]
    assert "19 names in" in done.out and "blackswan" in done.out  # what lies beside them is said


@pytest.mark.parametrize("protocol", ["official", "official_semi_supervised", "per_frame"])
def test_scores_are_those_of_the_metric(scored, made, protocol):
    kind, objects = "Annotations_unsupervised", 2
    # whose annotations have one object, and an id without an object is refused
    if protocol == "official_semi_supervised":
        kind, objects = "Annotations", 1
        for path in (made / "masks").rglob("*.png"):
            write_ids(path, np.minimum(np.array(Image.open(path)), 1))
    _, summary = scored(protocol)
    rows = [row for row in summary["objects"] if row["sequence"] == "ant"]
    assert len(rows) == objects and summary["without_objects"] == ["fog"]
    truth = read_sequence(made / "davis" / kind / "480p/ant")
    if protocol == "per_frame":
        soft = [np.load(path)["masks"] for path in sorted((made / "masks/ant").glob("*.npz"))]
        expected = score_soft_sequence(truth, soft)
    else:
        expected = score_sequence(truth, read_sequence(made / "masks/ant"), protocol)
    for row, j, f in zip(rows, expected.j, expected.f, strict=True):
        assert row["J-Mean"] == pytest.approx(j.mean(), abs=1e-12) and row["F-Mean"] == pytest.approx(
            f.mean(), abs=1e-12
        )
    for measure in MEASURES:
        assert summary["global"][measure] == pytest.approx(
            np.mean([row[measure] for row in summary["objects"]]), abs=1e-12
        )
    names = list(pd.read_csv(made / "masks/per-sequence_results.csv")["Sequence"])
    assert names == ["bee_1", *(f"ant_{place}" for place in range(1, objects + 1))]


def test_what_is_not_scored_is_said(scored, made):
    (made / "masks/wasp").mkdir()
    write_ids(made / "masks/ant/00009.png", np.zeros(SIZE, np.uint8))
    done, summary = scored("official")
    assert summary["not_scored"] == ["ant/00009.png", "wasp"] and "ant/00009.png, wasp" in done.out
    assert "without an object in the first frame, so not in the means: fog" in done.out


def test_semi_supervised_needs_neither_the_first_nor_the_last_mask(run_job, local_ray, made):
    for name in ("ant", "bee", "fog"):
        shutil.rmtree(made / "masks" / name)
        write_sequence(made / "masks" / name, read_sequence(made / "davis/Annotations/480p" / name))
        (made / "masks" / name / "00000.png").unlink()
        write_ids(made / "masks" / name / "00004.png", np.full((3, 3), 99, np.uint8))
    done = run_job(
        "score_davis",
        "--predictions",
        made / "masks",
        "--davis",
        made / "davis",
        "--protocol",
        "official_semi_supervised",
        "--json",
        made / "scores.json",
    )
    assert done.code == 0, done.err
    assert json.loads((made / "scores.json").read_text())["global"]["J&F-Mean"] == 1


def test_missing_files(run_job, local_ray, made):
    refused(run_job, made, made / "nowhere", "no such folder", davis="nowhere")
    (made / "masks/bee/00003.png").unlink()
    refused(run_job, made, made / "masks/bee/00003.png", "missing")
    shutil.rmtree(made / "masks/bee")
    refused(run_job, made, made / "masks/bee/00000.png", "missing")
    shutil.rmtree(made / "masks")
    (made / "masks").write_text("")
    done = run_job("score_davis", "--predictions", made / "masks", "--davis", made / "davis")
    assert done.code == 2 and "--predictions" in done.err and str(made / "masks") in done.err


@pytest.mark.parametrize(
    "damage, named",
    [
        (lambda path: write_ids(path, np.zeros((24, 33), np.uint8)), "33 x 24 pixels"),
        (lambda path: write_ids(path, np.full(SIZE, 21, np.uint8)), "id 21"),
        (lambda path: write_ids(path, np.full(SIZE, 255, np.uint8)), "id 255"),
        (lambda path: Image.new("L", SIZE[::-1]).save(path), "not an indexed PNG"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "indexed PNG"),
        (lambda path: path.write_bytes(b""), "indexed PNG"),
    ],
)
def test_wrong_masks(run_job, local_ray, made, damage, named):
    damage(made / "masks/ant/00002.png")
    refused(run_job, made, made / "masks/ant/00002.png", named)


@pytest.mark.parametrize(
    "damage, named",
    [
        (lambda path: write_ids(path, np.zeros((24, 33), np.uint8)), "33 x 24 pixels"),
        (lambda path: Image.new("L", SIZE[::-1], 255).save(path), "255 -> 1"),
    ],
)
def test_wrong_annotations(run_job, local_ray, made, damage, named):
    path = made / "davis/Annotations_unsupervised/480p/bee/00001.png"
    damage(path)
    refused(run_job, made, path, named)


@pytest.mark.parametrize(
    "damage, named",
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: np.savez(path, other=np.zeros((1, *SIZE), np.float16)), "masks"),
        (lambda path: np.savez(path, masks=np.zeros((1, 24, 33), np.float16)), "[1, 24, 33]"),
        (lambda path: np.savez(path, masks=np.zeros(SIZE, np.float16)), "[P, 24, 32]"),
        (lambda path: np.savez(path, masks=np.zeros((1, *SIZE), np.uint8)), "uint8"),
        (lambda path: np.savez(path, masks=np.array([None])), "no readable soft masks"),
        (lambda path: np.savez(path, masks=np.zeros((301, *SIZE), np.float16)), "301 masks"),
        (lambda path: np.savez(path, masks=np.full((1, *SIZE), np.nan, np.float16)), "nan"),
        (lambda path: np.savez(path, masks=np.full((1, *SIZE), 3, np.float16)), "3.0"),
        (lambda path: np.save(path.open("wb"), np.zeros((1, *SIZE), np.float16)), "no readable soft masks"),
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "no readable soft masks"),
        (lambda path: path.write_bytes(b""), "no readable soft masks"),
    ],
)
def test_wrong_soft_masks(run_job, local_ray, made, damage, named):
    damage(made / "masks/ant/00002.npz")
    refused(run_job, made, made / "masks/ant/00002.npz", named, protocol="per_frame")


def test_numbers_that_the_first_frame_leaves_out_are_named(made):
    """An absent object that no mask has either counts as found, as in the official package."""
    write_ids(
        made / "davis/Annotations_unsupervised/480p/bee/00000.png",
        np.repeat([0, 1, 4, 255], 192).reshape(SIZE).astype(np.uint8),
    )
    ant = made / "davis/Annotations_unsupervised/480p/ant/00000.png"
    write_ids(ant, np.repeat([0, 1, 2, 255], 192).reshape(SIZE).astype(np.uint8))
    without, absent = notes_on_objects(davis_sequences(made / "davis"))
    assert without == "without an object in the first frame, so not in the means: fog"
    assert absent.startswith("bee: no object 2, 3 in its first frame, which has 4; ")


def test_more_ids_than_objects(run_job, local_ray, made):
    (made / "davis/ImageSets/2017/val.txt").write_text("bee\n")
    write_ids(made / "masks/bee/00001.png", np.full(SIZE, 2, np.uint8))
    refused(run_job, made, made / "masks/bee/00001.png", "id 2", "up to 1", protocol="official_semi_supervised")


def test_no_object_anywhere(run_job, local_ray, made):
    (made / "davis/ImageSets/2017/val.txt").write_text("fog\n")
    refused(run_job, made, "no object in the first frame of any sequence")


def test_sequences_without_objects_beside_empty_soft_masks(scored, made):
    for number in range(FRAMES):
        np.savez_compressed(made / f"masks/fog/{number:05d}.npz", masks=np.zeros((0, *SIZE), np.float16))
    done, found = scored("per_frame")
    assert "not in the means: fog" in done.out and found["without_objects"] == ["fog"]


def test_no_annotations(run_job, local_ray, made):
    folder = made / "davis/JPEGImages/480p/fly"
    folder.mkdir(parents=True)
    Image.new("RGB", SIZE[::-1]).save(folder / "00000.jpg")
    (made / "davis/ImageSets/2017/val.txt").write_text("fly\n")
    refused(run_job, made, "fly has 0 annotated frames")


def test_relative_folders_under_a_submitted_job(run_job, monkeypatch, made):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    done = run_job("score_davis", "--predictions", "masks", "--davis", made / "davis")
    assert done.code == 2 and "--predictions: 'masks' is relative" in done.err and "absolute path" in done.err
