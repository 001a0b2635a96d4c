"""Folders for what a command writes."""

from pathlib import Path

from objadapt.errors import FULL, InputError, naming


def make_folder(option: str, folder: Path) -> None:
    """Make a folder where there is none.

    Raises:
        InputError: it cannot be made; begins with `option`.
    """
    with naming(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in FULL:
                raise
            raise InputError(f"{option}: {folder} cannot be made ({error.strerror}); give another folder") from None
