"""What Objects hands out: a video as long as the clip, masks that are the strongest slots, small pictures."""

import io
import math
import zipfile

import av
import numpy as np
import pytest
from PIL import Image

from dashboards.clip import Clip
from dashboards.mask_files import masks_zip, overlay_video
from dashboards.thumbnails import thumbnails
from dashboards.video_objects import Seen
from objadapt.data.davis import read_ids
from objadapt.evaluation.mask_video import write_video


@pytest.fixture
def seen() -> Seen:
    """5 frames of 64 x 48 in 2 s; slot 1 has the left half, slot 2 the right."""
    attention = np.zeros((5, 2, 3, 4), np.float32)
    attention[:, 0, :, :2] = attention[:, 1, :, 2:] = 1
    frames, nothing = np.full((5, 48, 64, 3), 128, np.uint8), np.empty(0)
    return Seen(np.linspace(0, 2, 5), frames, attention, None, nothing, None, nothing, {}, {})


def test_masks_are_the_strongest_slots(seen, tmp_path):
    with zipfile.ZipFile(io.BytesIO(masks_zip(seen))) as archive:
        assert sorted(name[:3] for name in archive.namelist()) == ["000", "001", "002", "003", "004"]
        archive.extractall(tmp_path)
    for path in tmp_path.iterdir():
        ids = read_ids(path)
        assert ids.shape == (48, 64) and (ids[:, :24] == 1).all() and (ids[:, 40:] == 2).all()


def test_the_overlay_has_every_frame_at_its_own_pace_and_tints_them(seen):
    with av.open(io.BytesIO(overlay_video(seen))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 2 and len(frames) == 5
    left, right = frames[0][:, :200].mean(axis=(0, 1)), frames[0][:, -200:].mean(axis=(0, 1))
    assert np.abs(left - right).max() > 20, "two slots, two colours"


def test_a_clip_that_cannot_be_read_costs_its_own_picture_alone(tmp_path):
    red, blue = np.zeros((6, 48, 64, 3), np.uint8), np.zeros((6, 48, 64, 3), np.uint8)
    red[:3, ..., 0], red[3:, ..., 2], blue[..., 2] = 255, 255, 255
    write_video(tmp_path / "red.mp4", red, 10)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    Image.fromarray(blue[0]).save(tmp_path / "0.png")
    whole = str(tmp_path / "red.mp4")
    clips = [
        Clip("half", whole, 0.0, 0.3),
        Clip("broken", str(tmp_path / "broken.mp4")),
        Clip("gone", str(tmp_path / "gone.mp4")),
        Clip("whole", whole, math.nan, math.nan),
        Clip("pictures", pictures=(str(tmp_path / "0.png"),)),
    ]
    found = list(thumbnails(clips))
    assert found[1] is None and found[2] is None
    means = [np.asarray(Image.open(io.BytesIO(found[place]))).mean(axis=(0, 1)) for place in (0, 3, 4)]
    assert [int(mean.argmax()) for mean in means] == [0, 2, 2], "the frame in the middle of each"
