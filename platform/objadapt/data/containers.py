"""The video containers: which suffixes a folder's videos end in, and which of ffmpeg's demuxers may read them; one table.

ffmpeg would also open pictures, and play lists that name other files and hosts: only what stands here is opened.
"""

import posixpath

DEMUXERS = {  # ffmpeg's name of a demuxer (its first, where it has several) -> suffixes of files that it reads
    "mov": (".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".f4v", ".mj2", ".ismv"),
    "matroska": (".mkv", ".mk3d", ".webm"),
    "avi": (".avi", ".divx"),
    "mpegts": (".ts", ".m2ts", ".mts", ".m2t"),
    "mpeg": (".mpg", ".mpeg", ".mpe", ".m2p", ".vob"),
    "flv": (".flv",),
    "asf": (".wmv", ".asf"),
    "ogg": (".ogv", ".ogg", ".ogm", ".ogx"),
}
CONTAINERS = ",".join(DEMUXERS)  # ffmpeg's format_whitelist; one name of a demuxer lets it in
SUFFIXES = frozenset(suffix for suffixes in DEMUXERS.values() for suffix in suffixes)


def is_video_name(name: str) -> bool:
    """Whether a file's name ends as a video's does, in whatever case."""
    return posixpath.splitext(name)[1].lower() in SUFFIXES  # pathlib takes seconds for a large data set
