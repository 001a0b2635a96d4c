"""Folders for what a command writes."""

from pathlib import Path

from objadapt import job
from objadapt.errors import FULL, InputError, naming


def make_folder(option: str, folder: Path) -> None:
    """Make a folder where there is none.

    Raises:
        InputError: it cannot be made, or a submitted job, which runs in a copy, is given a relative one; begins with
            `option`.
    """
    job.refuse_relative(option, str(folder))
    with naming(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in FULL:
                raise
            raise InputError(f"{option}: {folder} cannot be made ({error.strerror}); give another folder") from None


def make_new_folder(option: str, folder: Path) -> None:
    """`make_folder` for what is not to be written over: InputError also for a folder that holds something."""
    make_folder(option, folder)
    if any(folder.iterdir()):
        raise InputError(f"{option}: {folder} is there already and not empty; give a new folder")
