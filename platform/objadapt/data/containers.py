"""The video containers, one table: the suffixes of their files, and the ffmpeg demuxers that may read them.

ffmpeg also opens pictures, and play lists that name other files and hosts. Here only the containers of this table are
opened.
"""

import posixpath

DEMUXERS = {  # ffmpeg's first name of a demuxer -> suffixes of the files that it reads
    "mov": (".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".f4v", ".mj2", ".ismv"),
    "matroska": (".mkv", ".mk3d", ".webm"),
    "avi": (".avi", ".divx"),
    "mpegts": (".ts", ".m2ts", ".mts", ".m2t"),
    "mpeg": (".mpg", ".mpeg", ".mpe", ".m2p", ".vob"),
    "flv": (".flv",),
    "asf": (".wmv", ".asf"),
    "ogg": (".ogv", ".ogg", ".ogm", ".ogx"),
}
CONTAINERS = ",".join(DEMUXERS)  # ffmpeg's format_whitelist; one of a demuxer's names is enough
SUFFIXES = frozenset(suffix for suffixes in DEMUXERS.values() for suffix in suffixes)


def is_video_name(name: str) -> bool:
    """Whether a file's name ends as a video's does, in whatever case."""
    return posixpath.splitext(name)[1].lower() in SUFFIXES  # pathlib takes seconds for a large data set
