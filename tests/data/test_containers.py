"""The suffixes that readers list and the containers that the decoder opens are one table:
a file of each is written and read.
"""

import av
import numpy as np
import pytest

from objadapt.config import Data, Sampling
from objadapt.data.clip import read_clip
from objadapt.data.containers import DEMUXERS, SUFFIXES, is_video_name
from objadapt.data.manifest import build_manifest
from objadapt.data.probe import DecodeError, probe

# a muxer of ffmpeg and a codec for each demuxer; suffixes with a muxer of their own
WRITE = {
    "mov": ("mov", "libx264"),
    "matroska": ("matroska", "libx264"),
    "avi": ("avi", "mpeg4"),
    "mpegts": ("mpegts", "libx264"),
    "mpeg": ("mpeg", "mpeg2video"),
    "flv": ("flv", "flv1"),
    "asf": ("asf", "wmv2"),
    "ogg": ("ogg", "libvpx"),
}
MUXERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".3gp": "3gp",
    ".3gpp": "3gp",
    ".3g2": "3g2",
    ".f4v": "f4v",
    ".ismv": "ismv",
    ".webm": "webm",
    ".vob": "vob",
}


def write(path, muxer: str, codec: str) -> None:
    """12 frames of 64 x 48, 12 a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=12 if codec != "mpeg2video" else 24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            picture = np.full((48, 64, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_is_listed_and_decoded(tmp_path, suffix, upper):
    (demuxer,) = (name for name, suffixes in DEMUXERS.items() if suffix in suffixes)
    muxer, codec = WRITE[demuxer]
    codec = "libvpx-vp9" if suffix == ".webm" else codec
    name = f"clip{suffix.upper() if upper else suffix}"
    for split in ("train", "val"):
        write(tmp_path / split / "run" / name, MUXERS.get(suffix, muxer), codec)
    manifest = build_manifest(Data(format="class_folders", root=str(tmp_path)), 0)
    assert manifest.table["clip_id"].tolist() == [f"train/run/{name}", f"val/run/{name}"]
    path = manifest.table["path"].iloc[0]
    assert demuxer in probe(path).container and len(read_clip(path, None, None, Sampling(frames=4)).frames) == 4


@pytest.mark.parametrize(
    ("name", "muxer", "codec"), [("a.mxf", "mxf", "mpeg2video"), ("a.y4m", "yuv4mpegpipe", "wrapped_avframe")]
)
def test_what_is_not_listed_is_not_decoded_either(tmp_path, name, muxer, codec):
    write(tmp_path / name, muxer, codec)
    assert not is_video_name(name)
    with pytest.raises(DecodeError, match="not a video container"):
        probe(str(tmp_path / name))
