"""Decode every video from its first frame to its last and name those that are broken, before a long run meets them.

    python jobs/check_videos.py outputs/toy/videos
    python jobs/check_videos.py path/of/data --json outputs/check.json

PATH is a video, a folder (all its video files, also in subfolders) or a folder with a manifest. Files that are no
videos by their suffix are named in the report; hidden ones, such as `._a.mp4` and `.ipynb_checkpoints`, are counted.
Broken files are what this job finds, not a failure of it: it ends with exit code 0 once every file has been looked at.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from tqdm import tqdm

from .. import job
from ..data.decode import DecodeError, scan
from ..data.limits import MEMORY, bounded_memory
from ..data.manifest import TABLE, Manifest
from ..data.video_files import list_folder, shown
from ..errors import InputError, printable

SECONDS = 30  # that a file may go without a frame
PULSE = 1.0  # seconds between signs of life

log = logging.getLogger("check_videos")


def look(path: str, alive: Callable[[], None]) -> dict:
    """Decode one file whole; -> its row of the report. `alive` is called at each frame."""
    row = {"path": path, "ok": False, "decoder": None, "frames": None, "reason": None}
    try:
        with bounded_memory():
            frames, decoder = scan(path, alive)
        return row | {"ok": True, "decoder": decoder, "frames": frames}
    except DecodeError as error:
        return row | {"reason": str(error)}
    except MemoryError:
        return row | {"reason": f"decode: takes more than {MEMORY // 2**30} GiB of memory"}


def check(paths: list[str], examine: Callable[..., dict] = look, seconds: float = SECONDS) -> Iterator[dict]:
    """The row of each file as it is done.

    Each in a Ray task of its own, so that a decoder that crashes or hangs harms no other.

    Args:
        examine: (path, alive) -> row, run in the task; calls `alive()` as it gets on.
        seconds: without a sign of life, from the moment at which its task begins, after which its process is killed.
    """
    import ray
    from ray.exceptions import RayError, WorkerCrashedError

    @ray.remote(num_cpus=1, max_retries=0, num_returns="streaming")
    def task(path: str):
        yield None  # the task has begun: waiting for a free CPU and for imports is not the file's fault
        sign = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(examine, path, sign.set)
            while not found.done():
                wait([found], timeout=PULSE)
                if sign.is_set():
                    sign.clear()
                    yield None
        yield found.result()

    waiting, running = list(reversed(paths)), {}  # stream of a task -> [path, when it began]
    at_once = max(1, int(ray.cluster_resources().get("CPU", 1)))
    while waiting or running:
        while waiting and len(running) < at_once:
            path = waiting.pop()
            running[task.remote(path)] = [path, None]
        ready, _ = ray.wait(list(running), timeout=0.2)
        for stream in ready:
            path, began = running[stream]
            try:
                row = ray.get(next(stream))
            except WorkerCrashedError:
                row = _broken(path, "the decoder crashed")
            except RayError as error:
                row = _broken(path, f"the decoder failed: {str(error).strip().splitlines()[-1]}")
            if row is None:
                running[stream][1] = time.monotonic()
                continue
            del running[stream]
            yield row
        for stream, (path, began) in list(running.items()):
            if began is not None and time.monotonic() - began > seconds:
                ray.cancel(stream, force=True)
                del running[stream]
                yield _broken(path, f"no answer within {seconds:g} s")


def _broken(path: str, reason: str) -> dict:
    return {"path": path, "ok": False, "decoder": None, "frames": None, "reason": reason}


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
        return list(dict.fromkeys(Manifest.read(path).table["path"])), [], 0
    listed = list_folder(str(path))
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
    return "\n".join([*(printable(f"{row['path']}: {row['reason']}") for row in broken), "; ".join(said)])


def main():
    options = job.parser(__doc__)
    options.add_argument(
        "path", metavar="PATH", type=Path, help="a video, a folder of videos, or a folder with manifest.parquet"
    )
    job.add_json_option(options, "what was found of every file")
    arguments = options.parse_args()
    job.refuse_relative("PATH", str(arguments.path))
    path = arguments.path.absolute()  # Ray's workers may have another working directory
    paths, others, hidden = videos_at(path)
    job.start_ray()
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
