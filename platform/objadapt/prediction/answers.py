"""Answers as text, CSV and JSON.

CSV: a row for each window of a video (`part` 1, 2, ...), after one for the whole of it (`part` whole). Columns: path,
problem (why a video could not be read; then nothing else is said of it), part, start_s, end_s, start_frame, end_frame
(the frame behind the last), and `top1`, `probability1` .. `top5`, `probability5`. Of two heads these columns begin with
their names: `verb_top1`, `noun_top1`. A folder of frames does not say when they were taken: it has no seconds.

JSON: `classes` by head, and for each of `videos` path, problem, seconds, frames, `heads` with all probabilities of the
whole, in the order of the classes, and `windows`, each with its best classes.
"""

import csv
import io
import json
from pathlib import Path

from torch import Tensor

from ..errors import printable
from ..files import write_whole
from ..runs.clip_predictions import DIGITS, TOP, column
from .predict import Answer

EDGES = ("start_s", "end_s", "start_frame", "end_frame")
SHOWN = 8  # windows of a video that are printed; files have all


def answer_of(path: str, answer: Answer, classes: dict[str, list[str]]) -> dict:
    """An answer as plain values, as the JSON has it."""
    whole, info = answer.whole, answer.info
    timed, parts = not answer.of_frames, []
    for number, window in enumerate(answer.windows):
        seconds = (window.start_s, window.end_s) if timed else (None, None)
        edges = dict(zip(EDGES, (*seconds, window.first, window.stop), strict=True))
        parts.append(edges | {"heads": _heads(answer.probabilities, classes, number)})
    heads = _heads({head: values[None] for head, values in whole.items()}, classes, 0)
    for head, values in whole.items():
        heads[head]["probabilities"] = [round(value, DIGITS) for value in values.tolist()]
    seconds = round(parts[-1]["end_s"] - parts[0]["start_s"], DIGITS) if timed else None
    found = {"path": path, "problem": None, "seconds": seconds, "frames": info.num_frames}
    return found | {"heads": heads, "windows": parts}


def unread(path: str, problem: str) -> dict:
    """In the place of the answer to a video that could not be read."""
    return {"path": path, "problem": problem, "seconds": None, "frames": None, "heads": {}, "windows": []}


def _heads(probabilities: dict[str, Tensor], classes: dict[str, list[str]], number: int) -> dict[str, dict]:
    """head -> `top`, names of the best classes, and `top_probabilities`, of row `number` of [W, C]."""
    found = {}
    for head, names in classes.items():
        best = probabilities[head][number].sort(descending=True, stable=True)
        places, values = best.indices[:TOP].tolist(), best.values[:TOP].tolist()
        found[head] = {
            "top": [names[place] for place in places],
            "top_probabilities": [round(value, DIGITS) for value in values],
        }
    return found


def write_answers(path: str, videos: list[dict], classes: dict[str, list[str]], about: dict) -> None:
    """Write what `answer_of` and `unread` gave as CSV or JSON, by the file's suffix.

    Args:
        about: what gave the answers (checkpoint, window), for the JSON.
    """
    if Path(path).suffix.lower() == ".json":
        write_whole(Path(path), json.dumps(about | {"classes": classes, "videos": videos}) + "\n")
        return
    ranks = range(1, TOP + 1)
    columns = ["path", "problem", "part", *EDGES]
    columns += [column(head, f"{kind}{rank}") for head in classes for rank in ranks for kind in ("top", "probability")]
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="")
    writer.writeheader()
    for video in videos:
        if video["problem"]:
            writer.writerow({"path": video["path"], "problem": video["problem"]})
            continue
        parts = video["windows"]
        whole = {edge: parts[0 if edge.startswith("start") else -1][edge] for edge in EDGES}
        whole["heads"] = video["heads"]
        for number, part in enumerate([whole, *parts]):
            row = {"path": video["path"], "part": number or "whole"} | {edge: part[edge] for edge in EDGES}
            for head, said in part["heads"].items():
                for rank, (name, value) in enumerate(zip(said["top"], said["top_probabilities"], strict=True), 1):
                    row |= {column(head, f"top{rank}"): name, column(head, f"probability{rank}"): value}
            writer.writerow(row)
    write_whole(Path(path), file.getvalue().encode(errors="surrogateescape"))  # names of files are any bytes


def answer_text(video: dict) -> str:
    """An answer for people: the best classes of the whole, then the best one of each window."""
    if video["problem"]:
        return printable(f"{video['path']}: {video['problem']}")
    parts, several = video["windows"], len(video["heads"]) > 1
    number = f", mean of {len(parts)} windows" if len(parts) > 1 else ""
    length = f"{video['frames']} frames" if video["seconds"] is None else f"{video['seconds']:.1f} s"
    lines = [printable(f"{video['path']}  {length}{number}")]
    for head, said in video["heads"].items():
        lines += [f"  {head.removesuffix('_label')}"] * several
        width = max(len(name) for name in said["top"])
        for name, value in zip(said["top"], said["top_probabilities"], strict=True):
            lines.append(printable(f"  {'  ' * several}{name:<{width}}  {value:.3f}"))
    if len(parts) > 1:
        lines += [_window_text(part) for part in parts[:SHOWN]]
    if len(parts) > SHOWN:
        lines.append(f"    and {len(parts) - SHOWN} more windows, which --predictions FILE.csv keeps")
    return "\n".join(lines)


def _window_text(part: dict) -> str:
    best = (f"{said['top'][0]} {said['top_probabilities'][0]:.3f}" for said in part["heads"].values())
    when = f"{part['start_s']:>7.1f} to {part['end_s']:.1f} s" if part["start_s"] is not None else ""
    return printable(f"    {when or _frames_text(part)}  {', '.join(best)}")


def _frames_text(part: dict) -> str:
    return f"frames {part['start_frame']:>4} to {part['end_frame'] - 1}"
