"""Runs by their names: `outputs/runs/mine` leads to the newest finished run of the name `mine`.

It is a symbolic link with a relative target, so that it survives a move of the output folder and works on every disk
that all nodes share. A link is put in place by one rename: of several runs that end at once, the last one has it, and
at no time is there none. Where a disk takes no links there is none, and names are still understood, since a name is
looked up among the runs' folders.
"""

import contextlib
import os
import re
from difflib import get_close_matches
from pathlib import Path

from ..config import Experiment
from ..errors import InputError
from ..run_folder import LAST, RUNS, SUMMARY, last_checkpoint

LONGEST, LONGEST_PART = 4000, 255  # bytes of a path and of a name in it
NAME_LENGTH = 200  # characters of an MLflow run's name
FOLDER = re.compile(r"(?P<name>.+)-seed(?P<seed>\d+)-(?P<identity>[0-9a-f]{12})")


def run_name(config: Experiment) -> str:
    """`mine, seed 0: epochs=72 lr=0.001`: what an MLflow run is called, by what differs from the defaults."""
    differs = " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in config.counted().items() if key != "seed")
    return f"{config.name}, seed {config.seed}{': ' * bool(differs)}{differs}"[:NAME_LENGTH]


def runs_of(output: Path, name: str | None = None) -> list[Path]:
    """Folders of runs below an output folder, of one name or of all; the one that was touched last comes first."""
    found = [path for path in (output / RUNS).glob("*") if path.is_dir() and not path.is_symlink()]
    named = [path for path in found if (match := FOLDER.fullmatch(path.name)) and name in (None, match["name"])]
    return sorted(named, key=_touched, reverse=True)


def lead_to(folder: Path) -> None:
    """Let the run's name lead to its folder; nothing where the disk takes no links, or something else has that name."""
    match = FOLDER.fullmatch(folder.name)
    link = folder.parent / match["name"] if match else None
    if link is None or (link.exists() and not link.is_symlink()):
        return
    part = link.with_name(f".{link.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)
        part.symlink_to(folder.name, target_is_directory=True)
        part.replace(link)


def link_of(folder: Path) -> Path | None:
    """The link that leads to a run's folder now; None where it leads to another, or is not there."""
    match = FOLDER.fullmatch(folder.name)
    link = folder.parent / match["name"] if match else None
    return link if link and link.is_symlink() and link.resolve() == folder.resolve() else None


def find_checkpoint(text: str, output: Path) -> Path:
    """The checkpoint that a user means: a checkpoint's folder, a run's folder, a run's name, or the hash it ends in.

    Raises:
        InputError: there is none, or several runs have a hash that begins so.
    """
    given = Path(text)
    if len(os.fsencode(text)) > LONGEST or any(len(os.fsencode(part)) > LONGEST_PART for part in given.parts):
        raise InputError(f"checkpoint: {text[:60]}... is longer than a path may be; give a folder that is there")
    if os.path.exists(last := last_checkpoint(given)):
        return last
    if os.path.exists(given) or "/" in text:  # a checkpoint, or what `read_state` refuses by name
        return given
    finished = [path for path in runs_of(output, text) if (path / SUMMARY).exists()]
    if finished:
        return last_checkpoint(finished[0])
    every = runs_of(output)
    hashed = [path for path in every if len(text) >= 4 and path.name.rpartition("-")[2].startswith(text)]
    if len(hashed) == 1:
        return last_checkpoint(hashed[0])
    if hashed:
        raise InputError(f"checkpoint: {len(hashed)} runs have a hash that begins with {text}; give more of it")
    raise InputError(f"checkpoint: {text!r} is no folder, and {_why_not(text, output, every)}")


def checkpoint_given(text: str, overrides: list[str]) -> Path:
    """`find_checkpoint` in the output folder of a command: that of its `output=...`, else of the defaults."""
    outputs = [given.removeprefix("output=") for given in overrides if given.startswith("output=")]
    return find_checkpoint(text, Path(outputs[-1] if outputs else Experiment().output))


def _why_not(text: str, output: Path, every: list[Path]) -> str:
    if cut_off := runs_of(output, text):
        return f"the run {cut_off[0]} is not finished; the same training command goes on with it"
    names = list(dict.fromkeys(match["name"] for path in every if (match := FOLDER.fullmatch(path.name))))
    close = get_close_matches(text, names, n=1)
    there = (
        f"did you mean {close[0]}?" if close else f"there are {', '.join(names[:8])}" if names else "there is no run"
    )
    elsewhere = "a run of another output folder is given by its own folder"
    return f"{output / RUNS} has no run of that name or hash; {there}; {elsewhere}"


def _touched(folder: Path) -> tuple[float, str]:
    """When a run was finished, or else when it was last written to."""
    marks = [path.stat().st_mtime for path in (folder / SUMMARY, folder / LAST, folder) if path.exists()]
    return (marks[0] if marks else 0.0), folder.name
