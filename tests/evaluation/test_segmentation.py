"""DAVIS scores: equal to the official package's on real masks, and to the definitions in plain loops on small ones."""

import itertools
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from objadapt.data.davis import read_ids, sorted_files
from objadapt.evaluation.boundary import boundaries_of_masks, boundary_f, boundary_radius
from objadapt.evaluation.segmentation import (
    MEASURES,
    SequenceScore,
    mean_scores,
    object_count,
    object_rows,
    score_sequence,
    score_soft_sequence,
    statistics,
)

QUICK = [
    "A_semi_real/car-shadow",
    "B_unsup_pseudo/judo",
    "C_fewer_proposals/lab-coat",
    "C_void_band/car-shadow",
    "C_proposals_20/dogs-jump",
    "C_late_object/lab-coat",
    "C_id_gaps/lab-coat",
    "C_empty_result/car-shadow",
    "C_full_frame_result/car-shadow",
    "C_permuted_gt/lab-coat",
    "C_semi_lag3_judo/judo",
]


def official(shared: Path) -> pd.DataFrame:
    return pd.read_csv(shared / "davis/official_scores.csv")


def column(measure: str) -> str:
    """ "J&F-Mean" -> "J&F_mean", as the tables of official numbers write it."""
    kind, statistic = measure.split("-")
    return f"{kind}_{statistic.lower()}"


def score_as_listed(davis: Path, row: pd.Series) -> SequenceScore:
    """Score the sequence of a row of official_scores.csv; `ground_truth` and `result` hold a folder and a remark."""
    truth, result = (davis / row[column].split(" ")[0] for column in ("ground_truth", "result"))
    truth = truth / "480p" if (truth / "480p").is_dir() else truth
    files = sorted_files(truth / row["sequence"], ".png")
    proposals = (read_ids(result / row["sequence"] / path.name) for path in files)
    if "every id > 0 set to 1" in row["result"]:
        proposals = (np.minimum(ids, 1) for ids in proposals)
    protocol = "official" if row["task"] == "unsupervised" else "official_semi_supervised"
    return score_sequence(map(read_ids, files), proposals, protocol)


def assert_equal_to_official(davis: Path, listed: pd.DataFrame, frames: pd.DataFrame) -> list[dict]:
    """Score one sequence and compare each object, frame by frame; -> our rows."""
    score = score_as_listed(davis, listed.iloc[0])
    rows = object_rows(listed.iloc[0]["sequence"], score)
    assert [(row["gt_id"], row["proposal_id"]) for row in rows] == list(
        zip(listed["gt_id"], listed["proposal_id"], strict=True)
    )
    for ours, (_, theirs), j, f in zip(rows, listed.iterrows(), score.j, score.f, strict=True):
        for measure in MEASURES[1:]:
            assert ours[measure] == pytest.approx(theirs[column(measure)], abs=1e-6), (theirs["official_name"], measure)
        scored = frames[
            (frames["protocol"] == theirs["protocol"]) & (frames["official_name"] == theirs["official_name"])
        ]
        assert len(scored) == theirs["frames_scored"]
        np.testing.assert_allclose(j, scored["J"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(f, scored["F"], rtol=0, atol=1e-6)
    return rows


@pytest.mark.parametrize("name", QUICK)
def test_equal_to_the_official_scores(shared, name):
    protocol, sequence = name.split("/")
    listed = official(shared)
    listed = listed[(listed["protocol"] == protocol) & (listed["sequence"] == sequence)]
    assert_equal_to_official(shared / "davis", listed, pd.read_csv(shared / "davis/official_per_frame.csv"))


@pytest.mark.slow
def test_equal_to_all_official_scores(shared):
    """Every object of every sequence and protocol, and the global rows, as the official tool prints them."""
    davis = shared / "davis"
    frames, found = pd.read_csv(davis / "official_per_frame.csv"), {}
    for (protocol, sequence), listed in official(shared).groupby(["protocol", "sequence"], sort=False):
        found.setdefault(protocol, {})[sequence] = assert_equal_to_official(davis, listed, frames)
    with_pictures = (davis / "ImageSets/2017/val.txt").read_text().split()
    found["A_unsup_real_rgb_subset"] = {name: found["A_unsup_real"][name] for name in with_pictures}
    table = pd.read_csv(davis / "official_global.csv")
    assert set(table["protocol"]) == set(found)
    for _, theirs in table.iterrows():
        rows = [row for rows in found[theirs["protocol"]].values() for row in rows]
        assert (len(found[theirs["protocol"]]), len(rows)) == (theirs["sequences"], theirs["objects"])
        ours = mean_scores(rows)
        for measure in MEASURES:
            assert ours[measure] == pytest.approx(theirs[column(measure)], abs=1e-6), (theirs["protocol"], measure)


def j_in_loops(truth: np.ndarray, proposal: np.ndarray, counts: np.ndarray) -> float:
    """IoU of two masks over the pixels that count; 1 where both are empty."""
    common = union = 0
    for pixel in np.ndindex(truth.shape):
        common += int(counts[pixel] and truth[pixel] and proposal[pixel])
        union += int(counts[pixel] and (truth[pixel] or proposal[pixel]))
    return common / union if union else 1.0


def pair_in_loops(truth: np.ndarray, proposal: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """J and F of two masks bool [H, W]; F by the function that test_boundary.py holds against its definition."""
    boundaries = [boundaries_of_masks((mask & counts)[None]) for mask in (truth, proposal)]
    return j_in_loops(truth, proposal, counts), float(boundary_f(*boundaries, boundary_radius(*truth.shape))[0, 0])


def random_ids(rng: np.random.Generator, frames: int, ids: list[int], size=(9, 12)) -> np.ndarray:
    """uint8 [T, H, W] of coarse random patches."""
    coarse = rng.choice(np.array(ids, np.uint8), (frames, -(-size[0] // 3), -(-size[1] // 3)))
    return coarse.repeat(3, axis=1).repeat(3, axis=2)[:, : size[0], : size[1]]


def best(matrix: np.ndarray) -> float:
    """Greatest sum of a matrix [P, O], P >= O, over all ways to give each column a row of its own."""
    proposals, objects = matrix.shape
    return max(matrix[list(rows), range(objects)].sum() for rows in itertools.permutations(range(proposals), objects))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("proposal_ids", [[0, 1, 2, 3, 4], [0, 2, 5], [0, 1]])
def test_official_is_its_definition(seed, proposal_ids):
    rng = np.random.default_rng(seed)
    truth, ids = random_ids(rng, 5, [0, 1, 2, 3, 255]), random_ids(rng, 5, proposal_ids)
    truth[0, 0, 0], ids[0, 0, 0] = 3, proposal_ids[-1]
    score = score_sequence(truth, ids, "official")
    assert sorted(score.gt_ids) == [1, 2, 3]
    assert score.proposal_ids == sorted(score.proposal_ids) and max(score.proposal_ids) <= max(*proposal_ids, 3)
    values = np.array(
        [
            [
                [pair_in_loops(true == gt, one == proposal, true != 255) for gt in (1, 2, 3)]
                for proposal in range(1, max(*proposal_ids, 3) + 1)
            ]
            for true, one in zip(truth, ids, strict=True)
        ]
    )
    for row, (gt, proposal) in enumerate(zip(score.gt_ids, score.proposal_ids, strict=True)):
        expected = values[:, proposal - 1, gt - 1]  # [T, 2]
        np.testing.assert_allclose(score.j[row], expected[:, 0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(score.f[row], expected[:, 1], rtol=0, atol=1e-12)
    taken = (score.j.mean(axis=1) + score.f.mean(axis=1)).sum() / 2
    assert taken == pytest.approx(best(values.mean(axis=(0, 3))), abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_semi_supervised_is_its_definition(seed):
    """Without the first and the last frame, whatever is in them; void is background; ids are matched as they are."""
    rng = np.random.default_rng(seed)
    truth, ids = random_ids(rng, 5, [0, 1, 2, 255]), random_ids(rng, 5, [0, 1, 2])
    truth[0, 0, 0] = 2
    ids[[0, -1]] = 77
    score = score_sequence(truth, ids, "official_semi_supervised")
    assert score.gt_ids == score.proposal_ids == [1, 2] and score.j.shape == score.f.shape == (2, 3)
    for frame in range(3):
        for gt in (1, 2):
            expected = pair_in_loops(truth[frame + 1] == gt, ids[frame + 1] == gt, np.ones((9, 12), bool))
            np.testing.assert_allclose([score.j[gt - 1, frame], score.f[gt - 1, frame]], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("masks", [1, 3, 5])
def test_per_frame_is_its_definition(seed, masks):
    """In each frame the best of all assignments, overlaps, void and too few masks included."""
    rng = np.random.default_rng(seed)
    truth = random_ids(rng, 4, [0, 1, 2, 3, 255])
    truth[0, 0, 0] = 3
    soft = np.stack([random_ids(rng, masks, list(range(0, 100, 10))) for _ in range(4)]).astype(np.float16)
    soft /= 100  # [T, P, H, W]
    score = score_soft_sequence(truth, soft)
    assert score.gt_ids == [1, 2, 3] and score.proposal_ids == [None] * 3
    for frame, (true, one) in enumerate(zip(truth, soft, strict=True)):
        hard = [mask > np.float16(0.3) for mask in one] + [np.zeros((9, 12), bool)] * max(0, 3 - masks)
        # [P, O, 2]
        values = np.array([[pair_in_loops(true == gt, mask, true != 255) for gt in (1, 2, 3)] for mask in hard])
        taken = score.j[:, frame] + score.f[:, frame]
        assert taken.sum() == pytest.approx(best(values.sum(axis=2)), abs=1e-12)
        for gt in range(3):  # each object's two values are those of one mask
            assert (
                np.isclose(values[:, gt], [score.j[gt, frame], score.f[gt, frame]], rtol=0, atol=1e-12)
                .all(axis=1)
                .any()
            )


@pytest.mark.parametrize("seed", range(4))
def test_per_frame_never_lowers_the_score(seed):
    rng = np.random.default_rng(seed)
    truth, ids = random_ids(rng, 6, [0, 1, 2, 255]), random_ids(rng, 6, [0, 1, 2, 3])
    truth[0, 0, 0] = 2
    masks = (ids[:, None] == np.arange(1, 4)[:, None, None]).astype(np.float32)  # [T, P, H, W]
    scores = (score_sequence(truth, ids, "official"), score_soft_sequence(truth, masks))
    one, each = (mean_scores(object_rows("", score)) for score in scores)
    assert each["J&F-Mean"] >= one["J&F-Mean"] - 1e-12


def test_masks_differ_in_number_from_frame_to_frame():
    truth = np.zeros((3, 8, 8), np.uint8)
    truth[:, 2:6, 2:6] = 1
    right = (truth[0] == 1).astype(np.float16)
    score = score_soft_sequence(truth, [np.stack([right] * 300), right[None], np.zeros((0, 8, 8), np.float16)])
    assert score.j.tolist() == score.f.tolist() == [[1.0, 1.0, 0.0]]


def test_threshold_is_exclusive():
    truth = np.zeros((1, 8, 8), np.uint8)
    truth[:, 2:6, 2:6] = 1
    soft = truth[:, None] * np.float32(0.25)
    assert score_soft_sequence(truth, soft, threshold=0.25).j.tolist() == [[0.0]]
    assert score_soft_sequence(truth, soft, threshold=0.2499).j.tolist() == [[1.0]]
    assert score_soft_sequence(truth, soft).j.tolist() == [[0.0]]


def test_what_lies_under_void_does_not_count():
    rng = np.random.default_rng(0)
    truth, ids = random_ids(rng, 4, [0, 1, 2, 255]), random_ids(rng, 4, [0, 1, 2, 3])
    truth[0, 0, 0], ids[0, -1, -1], truth[0, -1, -1] = 2, 3, 0
    other = np.where(truth == 255, random_ids(rng, 4, [0, 1, 2, 3]), ids)
    assert (other != ids).any()
    one, two = score_sequence(truth, ids, "official"), score_sequence(truth, other, "official")
    np.testing.assert_array_equal([one.j, one.f], [two.j, two.f])


def test_objects_are_those_of_the_first_frame():
    truth = np.zeros((3, 8, 8), np.uint8)
    truth[:, 1:4, 1:4] = 3  # ids 1 and 2 are listed, and absent everywhere
    truth[1:, 5:7, 5:7] = 4  # comes later: background
    truth[0, 7, 7] = 255
    assert object_count(truth[0]) == 3
    score = score_sequence(truth, np.where(truth == 3, 1, 0).astype(np.uint8), "official")
    found = dict(zip(score.gt_ids, score.j.mean(axis=1), strict=True))
    assert found == {1: 1.0, 2: 1.0, 3: 1.0}  # the two empty proposals that are added equal the absent objects
    assert score_sequence(truth, np.where(truth == 4, 2, 0).astype(np.uint8), "official").j.mean() == pytest.approx(
        2 / 3
    )


@pytest.mark.parametrize("protocol", ["official", "official_semi_supervised"])
def test_no_object_and_no_proposal(protocol):
    nothing = np.zeros((4, 6, 6), np.uint8)
    score = score_sequence(nothing, nothing, protocol)
    assert score.gt_ids == [] and object_rows("empty", score) == []
    assert all(np.isnan(value) for value in mean_scores([]).values())
    assert score_soft_sequence(nothing, np.zeros((4, 2, 6, 6), np.float16)).gt_ids == []


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 50, 104, 255, 256, 257, 1000])
def test_statistics(length):
    values = np.random.default_rng(length).random(length)
    edges = [int(np.floor(1 + (length - 1) * k / 4 + 0.5)) - 1 for k in range(5)]  # counted from 1, halves up
    first, last = values[edges[0] : edges[1] + 1], values[edges[3] : edges[4] + 1]
    recall = sum(value > 0.5 for value in values) / length
    expected = (sum(values) / length, recall, sum(first) / len(first) - sum(last) / len(last))
    assert statistics(values) == pytest.approx(expected, abs=1e-12)


def test_half_is_no_recall():
    assert statistics(np.array([0.5, 0.5 + 1e-9]))[1] == 0.5


def test_frames_are_read_one_by_one():
    """Long sequences fit into memory: when a frame is read, nothing is held of those before the last."""
    held = []

    def read(frames):
        for _ in range(frames):
            assert all(frame() is None for frame in held[:-3])  # the last of both sides, and one of the present frame
            ids = np.zeros((16, 16), np.uint8)
            ids[4:9, 4:9] = 1
            held.append(weakref.ref(ids))
            yield ids
            del ids

    assert score_sequence(read(20), read(20), "official").j.mean() == 1
    held.clear()
    assert score_soft_sequence(read(20), (ids[None] for ids in read(20))).j.mean() == 1


def test_refusals():
    truth = np.zeros((4, 6, 6), np.uint8)
    truth[:, :3] = 1
    with pytest.raises(ValueError, match="per_frame"):
        score_sequence(truth, truth, "per_frame")
    with pytest.raises(ValueError, match="id 21 .* at most 20"):
        score_sequence(truth, truth * 21, "official")
    with pytest.raises(ValueError, match="id 2 .* at most 1"):
        score_sequence(truth, truth * 2, "official_semi_supervised")
    with pytest.raises(ValueError, match="no frame to score"):
        score_sequence(truth[:2], truth[:2], "official_semi_supervised")
    with pytest.raises(ValueError, match="301 masks"):
        score_soft_sequence(truth[:1], np.zeros((1, 301, 6, 6), np.float16))
    for shorter in (truth[:3], truth[:, :5]):
        with pytest.raises(ValueError):
            score_sequence(truth, shorter, "official")
        with pytest.raises(ValueError):
            score_soft_sequence(truth, shorter[:, None].astype(np.float16))
