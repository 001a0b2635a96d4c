"""Masks of whole videos by Ray: those of the pure functions, resumable, never mixed with others,
and without broken videos.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from PIL import Image

from objadapt import config
from objadapt.backbone import build_backbone
from objadapt.data.davis import read_ids
from objadapt.data.decode import decode_frames
from objadapt.data.probe import DecodeError, probe
from objadapt.errors import InputError
from objadapt.evaluation.crf import refine
from objadapt.evaluation.mask_baselines import grid_masks, kmeans_masks
from objadapt.evaluation.object_masks import background_slots, encode_patches, id_maps, slot_masks, upsample
from objadapt.evaluation.overlay import overlay
from objadapt.masks import make_masks, whole_videos
from objadapt.masks.folder import Extras, open_record, source_bytes
from objadapt.masks.make_masks import Baseline, MakeMasks, Masks, segment_sequences
from objadapt.masks.pictures import picture_files
from objadapt.masks.pictures import write_pictures as write
from objadapt.masks.whole_videos import Frames, Video
from objadapt.methods.object_centric.slot_attention import SlotAttention
from objadapt.pipeline.quarantine import decode_reason

pytestmark = pytest.mark.slow

GRID = (2, 4)  # 40 x 72 pixels at a short side of 32, patches of 16


@pytest.fixture(scope="module")
def backbone(tiny_weights) -> config.Backbone:
    return config.Backbone(library="timm", name="test_vit", weights=str(tiny_weights))


@pytest.fixture(scope="module")
def slot_attention() -> SlotAttention:
    torch.manual_seed(1)
    return SlotAttention(num_slots=4, input_width=64, width=64, iterations=3).eval()


def write_pictures(folder: Path) -> list[Video]:
    """Three videos of 5, 3 and 4 pictures of 40 x 72."""
    rng, made = np.random.default_rng(0), []
    for name, length in (("a", 5), ("b", 3), ("c", 4)):
        (folder / name).mkdir(parents=True)
        paths = [folder / name / f"{number:05d}.png" for number in range(length)]
        for path in paths:
            Image.fromarray(rng.integers(0, 256, (40, 72, 3), dtype=np.uint8)).save(path)
        made.append(Video(name, pictures=tuple(map(str, paths))))
    return made


@pytest.fixture
def videos(tmp_path) -> list[Video]:
    return write_pictures(tmp_path / "frames")


@pytest.fixture(scope="module")
def segment(backbone, slot_attention, local_ray):
    """`segment(videos, out, ...)`: with slots at 32 pixels, one slot taken as background."""

    one_dropped = Masks(32, drop_background=1)

    def run(videos, out, masks=one_dropped, grouping=slot_attention, source="here", **options):
        return segment_sequences(videos, source, grouping, backbone, "0" * 12, masks, out, config.Stream(), **options)

    return run


@dataclass(frozen=True)
class Made:
    """A folder of masks, and what was said of it."""

    videos: list[Video]
    out: Path
    found: dict
    told: list[tuple]


@ray.remote(num_cpus=0)
class Told:
    """Remembers the progress that actors tell."""

    def __init__(self):
        self.news = []

    def add(self, *news):
        self.news.append(news)

    def read(self):
        return self.news


@pytest.fixture(scope="module")
def made(segment, tmp_path_factory) -> Made:
    """Two of the three videos, with soft masks and pictures."""
    folder = tmp_path_factory.mktemp("segmented")
    videos, told = write_pictures(folder / "frames"), Told.remote()
    show = lambda *news: ray.get(told.add.remote(*news))  # noqa: E731 (pickled by value)
    found = segment(videos[:2], folder / "masks", extras=Extras(soft=True, pictures=True), show=show)
    return Made(videos, folder / "masks", found, ray.get(told.read.remote()))


@pytest.fixture
def in_process(backbone, slot_attention, local_ray, tmp_path):
    """`in_process(video, masks, grouping, ...)`: the actor itself, in this process; -> its row,
    masks in tmp_path/masks.
    """

    small, plain = Masks(32), Extras()

    def run(video, masks=small, grouping=slot_attention, extras=plain, folder="masks"):
        references = ray.put(grouping), ray.put([video])
        actor = MakeMasks(
            backbone, config.Stream(), references[0], masks, str(tmp_path / folder), references[1], extras, None
        )
        return actor({"id": np.array([0])})

    return run


def pictures(video: Video) -> np.ndarray:
    return np.stack([np.array(Image.open(path)) for path in video.pictures])


def written(folder, video: Video) -> np.ndarray:
    return np.stack([read_ids(path) for path in sorted((folder / video.name).glob("*.png"))])


def test_a_video_that_kills_its_decoder_is_named(in_process, toy_root, monkeypatch):
    """Only in name; tests/pipeline/test_apart.py kills processes."""

    def dies(call, *arguments):
        raise DecodeError("decode", "the decoding process died")

    monkeypatch.setattr(make_masks, "apart", dies)
    row = in_process(Video("killer", file=str(next((toy_root / "videos").iterdir()))))
    assert decode_reason(row["reason"][0]) == ("decode", "the decoding process died")


def test_masks_are_those_of_the_pure_functions(made, backbone, slot_attention):
    encoder = build_backbone(backbone)
    for video in made.videos[:2]:
        soft = slot_masks(encoder, slot_attention, pictures(video), GRID)
        dropped = background_slots(soft, 1)
        ids = id_maps(upsample(soft, (40, 72)), dropped)
        assert (written(made.out, video) == ids).mean() > 0.999  # another process may round ties differently
        facts = made.found["videos"][video.name]
        size = {"bytes": source_bytes(video), "frames": len(ids), "height": 40, "width": 72}
        assert facts == size | {"background": [dropped[0] + 1]} and size["bytes"] > 100
    assert sorted(path.name for path in (made.out / "b").glob("*.png")) == ["00000.png", "00001.png", "00002.png"]
    assert made.found["skipped"] == [] == made.found["quarantined"]
    assert json.loads((made.out / "masks.json").read_text()) == {key: made.found[key] for key in ("settings", "videos")}
    assert not list(made.out.rglob("*.part"))


def test_soft_masks_say_the_same_as_the_ids(made):
    background = made.found["videos"]["a"]["background"]
    kept = [number for number in range(1, 5) if number not in background]
    for path in sorted((made.out / "a").glob("*.npz")):
        file, ids = np.load(path), read_ids(path.with_suffix(".png"))
        soft = file["masks"].astype(float)
        assert file["masks"].dtype == np.float16 and soft.shape == (3, 40, 72) and file["ids"].tolist() == kept
        rest = 1 - soft.sum(axis=0)  # what the background has
        clear = np.ptp(np.sort([*soft, rest], axis=0)[-2:], axis=0) > 5e-3  # float16 makes ties
        strongest = np.where(rest > soft.max(axis=0), 0, file["ids"][soft.argmax(axis=0)])
        assert clear.mean() > 0.5 and (strongest == ids)[clear].all()
    assert len(list((made.out / "a").glob("*.npz"))) == 5


def test_pictures_of_each_video(made):
    for name, frames in (("a", 5), ("b", 3)):
        # frames and slots; frames and 4 slots
        for path, rows in zip(picture_files(made.out / "pictures", name)[:2], (2, 5), strict=False):
            width, height = Image.open(path).size
            assert width > frames * 320 and height > rows * round(40 * 320 / 72)
        video = str(picture_files(made.out / "pictures", name)[2])
        assert probe(video).num_frames == frames and (probe(video).width, probe(video).height) == (72, 40)


def test_pictures_do_not_depend_on_pieces(made, backbone, slot_attention, tmp_path, monkeypatch):
    attention = slot_masks(build_backbone(backbone), slot_attention, pictures(made.videos[0]), GRID)
    monkeypatch.setattr(whole_videos, "PIECE_FRAMES", 2)
    write(tmp_path, Frames(made.videos[0]), made.out / "a", attention)
    painted = overlay(pictures(made.videos[0]), written(made.out, made.videos[0]))
    again = decode_frames(str(tmp_path / "a.mp4"), np.arange(5))[0]
    distance = np.abs(again[:, None].astype(int) - painted[None]).mean(axis=(2, 3, 4))  # [5, 5]; H.264 blurs such noise
    assert distance.argmin(axis=1).tolist() == list(range(5))
    assert np.array_equal(
        np.array(Image.open(tmp_path / "a.png")), np.array(Image.open(made.out / "pictures" / "a.png"))
    )


def test_of_several_videos_it_is_told_how_many_are_done_and_of_one_its_frames(made, segment, tmp_path):
    assert [news[:3] for news in made.told] == [("segment videos", 1, 2), ("segment videos", 2, 2)]
    assert {news[3] for news in made.told} == {"a", "b"}
    told = Told.remote()
    show = lambda *news: ray.get(told.add.remote(*news))  # noqa: E731 (pickled by value)
    segment(made.videos[:1], tmp_path / "masks", show=show)
    assert ray.get(told.read.remote()) == [("segment a", 5, 5, "frames")]


def test_going_on_does_only_what_is_missing(made, segment, tmp_path):
    out = shutil.copytree(made.out, tmp_path / "masks")
    before = {path: path.stat().st_mtime_ns for path in (out / "a").iterdir()}
    lost = out / "b" / "00001.png"
    content = lost.read_bytes()
    lost.unlink()
    found = segment(made.videos, out)
    assert found["skipped"] == ["a"] and list(found["videos"]) == ["a", "b", "c"]
    assert lost.read_bytes() == content and len(list((out / "c").iterdir())) == 4
    assert {path: path.stat().st_mtime_ns for path in (out / "a").iterdir()} == before
    assert segment(made.videos, out)["skipped"] == ["a", "b", "c"]
    assert segment(made.videos, out, extras=Extras(soft=True, pictures=True))["skipped"] == ["a", "b"]  # c had none
    assert len(list((out / "c").glob("*.npz"))) == 4 and picture_files(out / "pictures", "c")[2].exists()


def test_what_is_there_is_not_made_again(made, segment):
    before = {path: path.stat().st_mtime_ns for path in made.out.rglob("*")}
    found = segment(made.videos[:2], made.out, extras=Extras(soft=True, pictures=True))
    assert found["skipped"] == ["a", "b"] and found["videos"] == made.found["videos"]
    assert {path: path.stat().st_mtime_ns for path in made.out.rglob("*")} == before


@pytest.mark.parametrize(
    "change, named",
    [
        (dict(masks=Masks(48, drop_background=1)), "resolution 32 (now 48)"),
        (dict(masks=Masks(32, flip=True, drop_background=1)), "flip False (now True)"),
        (dict(masks=Masks(32, stride=2, drop_background=1)), "stride 1 (now 2)"),
        (dict(masks=Masks(32)), "drop_background 1 (now 0)"),
        (dict(grouping=Baseline("grid", 4, seed=0)), "masks slots (now grid)"),
        (dict(source="elsewhere"), "source here (now elsewhere)"),
        (dict(grouping=SlotAttention(4, 64, 64, 3)), "weights"),
    ],
)
def test_masks_of_other_settings_are_not_mixed(made, segment, change, named):
    before = (made.out / "masks.json").read_bytes()
    with pytest.raises(InputError, match="--out: .* other settings: ") as caught:
        segment(made.videos, made.out, **change)
    assert named in str(caught.value) and "give a new folder" in str(caught.value)
    assert (made.out / "masks.json").read_bytes() == before and not (made.out / "c").exists()


def test_a_setting_that_is_off_now_is_another_setting_too(tmp_path):
    """Masks of pruned tokens were taken for those of all tokens, whose settings do not name pruning."""
    open_record(tmp_path / "masks", {"masks": "slots", "pruning": 8})
    with pytest.raises(InputError, match=r"other settings: pruning 8 \(now None\)"):
        open_record(tmp_path / "masks", {"masks": "slots"})


def test_masks_of_another_video_under_the_same_name_are_not_taken_for_its_own(made, segment, tmp_path):
    out = shutil.copytree(made.out, tmp_path / "masks")
    record = json.loads((out / "masks.json").read_text())
    record["videos"]["a"]["bytes"] += 1
    (out / "masks.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="a had [0-9]+ bytes when its masks were made, and has [0-9]+ now; give a new"):
        segment(made.videos, out)
    del record["videos"]["a"]["bytes"]  # as older versions wrote it
    (out / "masks.json").write_text(json.dumps(record))
    assert "a" in segment(made.videos[:1], out)["skipped"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": 3, "videos": {}}', '{"settings": {}, "videos": []}'])
def test_a_damaged_record_is_refused(segment, tmp_path, content):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "masks.json").write_text(content)
    with pytest.raises(InputError, match=r"masks\.json is damaged"):
        segment([Video("a", file="a.mp4")], tmp_path / "masks")


def test_a_folder_of_something_else_is_refused(segment, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"is not empty and has no masks\.json"):
        segment([Video("a", file="a.mp4")], tmp_path / "masks")


def test_broken_videos_are_named_and_the_others_segmented(segment, videos, tmp_path):
    (tmp_path / "frames" / "a" / "00003.png").write_bytes(b"not a picture")
    Image.new("RGB", (72, 41)).save(tmp_path / "frames" / "c" / "00002.png")
    out = tmp_path / "masks"
    found = segment(videos, out)
    assert list(found["videos"]) == ["b"] and not (out / "a").exists()
    first, second = found["quarantined"]
    assert first["name"] == "a" and "00003.png" in first["reason"] and "not an image" in first["reason"]
    assert second["name"] == "c" and "is 72x41, the frames before it are 72x40" in second["reason"]
    with pytest.raises(InputError, match=r"here: no video could be segmented; the first, a: decode: .*00003\.png"):
        segment([videos[0], videos[2]], out)


def test_baselines_are_written_in_the_same_way(in_process, videos, backbone, tmp_path):
    in_process(videos[0], grouping=Baseline("kmeans", 3, seed=5), folder="kmeans")
    patches = encode_patches(build_backbone(backbone), pictures(videos[0]), GRID)
    clusters = kmeans_masks(patches, 3, seed=5).unflatten(2, GRID)
    assert (written(tmp_path / "kmeans", videos[0]) == id_maps(upsample(clusters, (40, 72)))).all()
    in_process(videos[0], grouping=Baseline("grid", 3, seed=5), folder="grid")
    assert (written(tmp_path / "grid", videos[0]) == id_maps(upsample(grid_masks(3, *GRID, frames=5), (40, 72)))).all()


def test_flip_and_stride(in_process, videos, backbone, slot_attention, tmp_path):
    in_process(videos[0], Masks(32, stride=2, flip=True))
    soft = slot_masks(build_backbone(backbone), slot_attention, pictures(videos[0])[::2], GRID, flip=True)
    assert (written(tmp_path / "masks", videos[0]) == id_maps(upsample(soft, (40, 72)))).mean() > 0.999
    assert sorted(path.stem for path in (tmp_path / "masks" / "a").iterdir()) == ["00000", "00002", "00004"]


def test_refined_masks_are_those_of_the_crf(in_process, videos, backbone, slot_attention, tmp_path, monkeypatch):
    """Of masks of full size, whatever pieces a video comes in."""
    monkeypatch.setattr(make_masks, "SOFT_BYTES", 1)
    in_process(videos[0], Masks(32, crf=True))
    frames = pictures(videos[0])
    soft = upsample(slot_masks(build_backbone(backbone), slot_attention, frames, GRID), (40, 72))
    refined = id_maps(refine(frames, soft))
    assert (written(tmp_path / "masks", videos[0]) == refined).mean() > 0.999
    assert (refined != id_maps(soft)).any(), "nothing to be seen: the masks were refined in vain"


def test_videos_that_do_not_fit_into_memory_have_the_same_masks(in_process, videos, tmp_path, monkeypatch):
    assert in_process(videos[0], folder="whole")["frames"].tolist() == [5]
    monkeypatch.setattr(make_masks, "SOFT_BYTES", 1)
    monkeypatch.setattr(whole_videos, "PIECE_FRAMES", 2)
    assert in_process(videos[0], folder="pieces")["frames"].tolist() == [5]
    same = written(tmp_path / "whole", videos[0]) == written(tmp_path / "pieces", videos[0])
    assert same.mean() > 0.999
    monkeypatch.setattr(make_masks, "KMEANS_BYTES", 1)
    row = in_process(videos[0], grouping=Baseline("kmeans", 3, 0), folder="none")
    assert b"--baseline: k-means needs" in bytes(row["reason"][0]) and not (tmp_path / "none").exists()
