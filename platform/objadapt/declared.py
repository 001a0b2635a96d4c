"""Where the package lies, and what is declared beside it: configs, tables and search spaces,
each found by its bare name.

A checkout has them at its top, in jobs/configs and search_spaces. A wheel carries copies inside the package (see
setup.py).
"""

import os
from pathlib import Path

from .errors import InputError, did_you_mean

PACKAGE = Path(__file__).resolve().parent
SOURCE = PACKAGE.parent  # what PYTHONPATH needs: platform/ of a checkout, else site-packages
REPOSITORY = SOURCE.parent
INSTALLED = (PACKAGE / "configs").is_dir()  # a checkout has no such folder
CONFIGS = PACKAGE / "configs" if INSTALLED else REPOSITORY / "jobs" / "configs"
SPACES = PACKAGE / "search_spaces" if INSTALLED else REPOSITORY / "search_spaces"
TABLES = SPACES / "tables"


def names(folder: Path) -> list[str]:
    """Names of what is declared in one of the folders above, in alphabetical order."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find(option: str, name: str | Path, folder: Path) -> Path:
    """The declared file of that bare name, such as `toy`; any other name, and a `Path`, is a path as it is.

    Raises:
        InputError: a bare name that is neither declared nor there; begins with `option`, names the declared ones.
    """
    if isinstance(name, Path):
        return name
    declared, path = names(folder), Path(name)
    if name in declared:
        return folder / f"{name}.yaml"
    if path.suffix or len(path.parts) > 1 or os.path.exists(path):
        return path
    raise InputError(
        f"{option}: {name}: no such file, and none of that name is declared; {did_you_mean(name, declared)}there are"
        f" {', '.join(declared)}"
    )
