"""Decode every video from its first frame to its last and name those that are broken, before a long run meets them.

    python jobs/check_videos.py outputs/toy/videos
    python jobs/check_videos.py path/of/data --json outputs/check.json

PATH is a video, a folder (all its videos, also in subfolders) or a folder with a manifest. A folder of numbered frames
is a video, too. Files that are no videos by their suffix are named in the report; hidden ones, such as `._a.mp4` and
`.ipynb_checkpoints`, are counted.
Broken files are what this job finds, not a failure of it: it ends with exit code 0 once every file has been looked at.
It reads as many files at a time as this machine has cores.
"""

import logging
import os
import sys
import time
from pathlib import Path

from tqdm import tqdm

from .. import job
from ..data.frame_names import looks_like_frames
from ..data.places import TABLE
from ..data.video_files import list_folder, shown
from ..errors import InputError, printable
from ..passwords import redact

log = logging.getLogger("check_videos")


def videos_at(path: Path) -> tuple[list[str], list[str], int]:
    """-> videos that PATH stands for; other files of the folder; number of files that systems and editors left there.

    Raises:
        InputError: there is no such path, or no video at it.
    """
    if not path.exists():
        raise InputError(f"PATH: {path} does not exist; give a video, a folder of videos or a folder with a manifest")
    if path.is_file():
        return [str(path)], [], 0
    if (path / TABLE).exists():
        from ..data.manifest import Manifest

        return list(dict.fromkeys(Manifest.read(path).table["path"])), [], 0
    listed = list_folder(str(path))
    if not listed.videos and looks_like_frames(os.listdir(path)):
        return [str(path)], [], 0
    if not listed.videos:
        others = f", but {shown(listed.left_out, listed.folder)}" if listed.left_out else ""
        raise InputError(f"PATH: no video file in {path} or below{others}; give a folder that holds videos")
    return listed.videos, listed.left_out, listed.hidden


def report(rows: list[dict], others: list[str], hidden: int, folder: str) -> str:
    """What is said at the end: the broken files, and what was not looked at."""
    broken = [row for row in rows if not row["ok"]]
    said = [f"{len(broken)} of {len(rows)} videos are broken"]
    if others:
        said.append(f"{len(others)} other files were not looked at: {printable(shown(others, folder))}")
    if hidden:
        said.append(f"{hidden} hidden files were passed over")
    return "\n".join([*(printable(redact(f"{row['path']}: {row['reason']}")) for row in broken), "; ".join(said)])


def main():
    options = job.parser(__doc__)
    options.add_argument(
        "path", metavar="PATH", type=Path, help="a video, a folder of videos, or a folder with manifest.parquet"
    )
    job.add_json_option(options, "what was found of every file")
    arguments = options.parse_args()
    job.refuse_relative("PATH", str(arguments.path))
    path = arguments.path.absolute()
    paths, others, hidden = videos_at(path)

    from ..data.check import check

    rows, said = [], time.monotonic()
    shown = tqdm(check(paths), total=len(paths), unit="file", desc="videos", disable=not sys.stderr.isatty())
    for row in shown:
        rows.append(row)
        if shown.disable and time.monotonic() - said > 10:
            said = time.monotonic()
            log.info("%d of %d files looked at, %d broken", len(rows), len(paths), sum(not row["ok"] for row in rows))
    order = {path: number for number, path in enumerate(paths)}
    rows.sort(key=lambda row: order[row["path"]])
    print(report(rows, others, hidden, str(path)))
    job.write_json(arguments.json, {"files": rows, "other_files": others, "hidden_files": hidden})
