"""A run of the same name, config, clips and weights by another version of the method: why a plan is trained anew."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..config_file import read_yaml, validate
from ..errors import InputError
from ..files import write_whole
from ..identity import changed
from ..plan import Plan
from ..run_folder import CONFIG, LAST, RECORDS, SUMMARY
from ..stored_format import RUN, current_config, marks, read_run


@dataclass(frozen=True)
class Earlier:
    """A run by another version of the method."""

    folder: Path
    why: str  # which modules changed since, in words


def write_run(plan: Plan) -> None:
    """Write what makes a plan's identity into its folder, beside the format of what lies there."""
    record = marks() | {"identity": plan.identity, **_same(plan), "method": plan.method_sources}
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_whole(plan.folder / RUN, json.dumps(record, indent=1) + "\n")


def earlier(plan: Plan, finished: bool = True) -> Earlier | None:
    """The newest such run; None: there is none.

    Args:
        finished: look at finished runs alone; else at those that were cut off, too.
    """
    own, ours = plan.folder, _same(plan)
    begins = re.escape(own.name.removesuffix(plan.identity))
    others = [path for path in own.parent.glob("*") if re.fullmatch(rf"{begins}[0-9a-f]{{12}}", path.name)]
    marks_of = (SUMMARY,) if finished else (SUMMARY, LAST)
    left = [path for path in others if path != own and any((path / mark).exists() for mark in marks_of)]
    for folder in sorted(left, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True):
        try:
            record = read_run(folder) or _of_format_1(folder)
        except (InputError, OSError, ValueError, KeyError, TypeError):  # nothing to be told of
            continue
        if {name: record.get(name) for name in ours} != ours:
            continue
        if "method" not in record:
            return Earlier(folder, "modules changed (format 1 does not name them)")
        if why := changed(record["method"], plan.method_sources):
            return Earlier(folder, why)
    return None


def _same(plan: Plan) -> dict[str, str]:
    """What an earlier run has in common with a plan."""
    return {
        "config_hash": plan.config.content_hash(),
        "manifest_hash": plan.manifest.content_hash(),
        "backbone_hash": plan.backbone_hash,
    }


@cache  # each of a table's rows asks, and finished runs do not change
def _of_format_1(folder: Path) -> dict:
    """The same of a run of format 1, from its config and from its first record."""
    with open(folder / RECORDS) as file:
        tags = json.loads(file.readline())["tags"]
    config = validate(current_config(read_yaml(folder / CONFIG, "config"), number=1))
    return tags | {"config_hash": config.content_hash()}
