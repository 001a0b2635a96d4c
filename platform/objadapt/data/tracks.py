"""Which of a file's video tracks is the video: ffmpeg's choice, and never an attached picture."""

import re

import av
from av.stream import Disposition

from .decode_error import DecodeError

PICTURE = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
PICTURE_CODECS = {"mjpeg", "jpeg2000", "png", "bmp", "gif", "webp", "tiff"}
IMPAIRED = Disposition.hearing_impaired | Disposition.visual_impaired


def video_track(container: av.container.InputContainer) -> av.VideoStream:
    """The default track, else the one with the most pixels, else the first; one with frames before one without.

    A still picture is no video. Cover art and thumbnails are marked as such. A track of one frame beside a longer
    track is taken for a picture too. Where frames are not counted, so is a track of a picture codec beside one of a
    video codec. A default track that cannot be decoded is still chosen, since another track is another video.

    Raises:
        DecodeError: no video track, or none but pictures.
    """
    tracks = container.streams.video
    videos = [track for track in tracks if not track.disposition & PICTURE]
    if not videos:
        raise DecodeError("open", "no video stream, only a cover picture" if tracks else "no video stream")
    longest = max(_frames(container, track) or 2 for track in videos)  # 2: unknown, so not a picture
    return max(videos, key=lambda track: _rank(track, _frames(container, track), longest))


def _rank(track: av.VideoStream, frames: int | None, longest: int) -> tuple:
    codec = track.codec_context
    pixels, rate = (codec.width * codec.height, codec.bit_rate or 0) if codec else (0, 0)
    chosen = (not track.disposition & IMPAIRED) + bool(track.disposition & Disposition.default)  # as ffmpeg weighs them
    return frames != 0, frames != 1 or longest == 1, chosen, pixels, rate, -track.index


def _frames(container: av.container.InputContainer, track: av.VideoStream) -> int | None:
    """Number of frames by the container, or None."""
    lists_all = {"mp4", "avi"} & set(container.format.name.split(","))  # other containers list key frames
    listed = len(track.index_entries) if lists_all else 0
    if listed or track.frames:
        return listed or track.frames  # AVI counts pauses as frames, too
    if "mp4" in container.format.name and any(other.frames for other in container.streams):
        return 0  # not in fragments, which list their frames later
    end, rate = matroska_seconds(track), track.guessed_rate
    if track.metadata.get("NUMBER_OF_FRAMES") == "1" or (end is not None and rate and end < 1.5 / rate):
        return 1
    return 1 if track.codec_context is not None and track.codec_context.name in PICTURE_CODECS else None


def matroska_seconds(track: av.VideoStream) -> float | None:
    """Second at which a track ends, by a tag that most writers of MKV and WebM add; None without it."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", track.metadata.get("DURATION", ""))
    return float(match[1]) * 3600 + float(match[2]) * 60 + float(match[3]) if match else None
