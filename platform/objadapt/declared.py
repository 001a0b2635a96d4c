"""Where the package lies, and what is declared beside it: configs, tables and search spaces,
each found by its bare name; one in a package of another's is found by its dotted name.

A checkout has them at its top, in jobs/configs and search_spaces. A wheel carries copies inside the package (see
setup.py).
"""

import os
import re
from importlib.util import find_spec
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

    A dotted name is a file in a package, as `method.module` is a module of one: `my_package.configs.clips` is
    clips.yaml in the folder of `my_package.configs`.

    Raises:
        InputError: a bare or dotted name that is neither declared nor there; begins with `option`, names the
            declared ones.
    """
    if isinstance(name, Path):
        return name
    declared, path = names(folder), Path(name)
    if name in declared:
        return folder / f"{name}.yaml"
    of_a_checkout = path.parent.name in ("configs", "search_spaces", "tables") and path.suffix == ".yaml"
    if path.stem in declared and of_a_checkout and not os.path.exists(path):
        raise InputError(f"{option}: {name}: no such file; the declared one is called {path.stem}")
    if os.path.isdir(path):
        raise InputError(f"{option}: {name} is a folder; give a YAML file, or one of {', '.join(declared)}")
    if os.path.exists(path) or len(path.parts) > 1 or path.suffix in (".yaml", ".yml"):
        return path
    package, _, file = name.rpartition(".")
    try:
        found = package and _in_package(package, file)
    except Exception as error:  # whatever the user's package raises when it is imported
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{option}: {name}: {package} cannot be imported ({reason}); mend it, or give a path"
        ) from None
    if found:
        return found
    if "." in name:
        wrong = f"no such file, and no {file}.yaml in a package {package} that can be imported here"
        raise InputError(f"{option}: {name}: {wrong}; put its folder on PYTHONPATH, or give a path")
    raise InputError(
        f"{option}: {name}: no such file, and none of that name is declared; {did_you_mean(name, declared)}there are"
        f" {', '.join(declared)}"
    )


def _in_package(package: str, name: str) -> Path | None:
    """`name`.yaml in the folder of a package that can be imported; None: no such package or file."""
    if not re.fullmatch(r"\w+(\.\w+)*", package):
        return None
    try:
        spec = find_spec(package)  # it imports what stands before the last dot, not the package itself
    except ModuleNotFoundError as error:
        if f"{package}.".startswith(f"{error.name}."):
            return None
        raise  # a package that is there needs one that is not
    places = [Path(folder) / f"{name}.yaml" for folder in (spec and spec.submodule_search_locations) or ()]
    return next((path for path in places if path.is_file()), None)
