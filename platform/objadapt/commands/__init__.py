"""What a user does, one file a command: `objadapt train ...`, and the same as a script, `python jobs/train.py ...`.

The `main()` of a command's module reads `sys.argv`; the module's docstring is its help. What loads torch or Ray is
imported inside functions, once the command line and the config are known to be right: help and refusals come at once.
"""

import ast
import importlib
import os
import sys
from pathlib import Path

from .. import job
from ..errors import InputError, did_you_mean

FOLDER = Path(__file__).resolve().parent


def main() -> None:
    """`objadapt COMMAND ...`; a name may be written with `-` or `_`."""
    if sys.argv[1:2] in (["--help"], ["-h"]):
        print(usage())
        return
    job.run(_chosen)


def run(command: str) -> None:
    """The command of that name with the arguments in `sys.argv`: what a script in jobs/ calls."""
    job.run(lambda: _load(command).main())


def names() -> list[str]:
    """Names of all commands, written with `-`."""
    return sorted(path.stem.replace("_", "-") for path in FOLDER.glob("[!_]*.py"))


def usage() -> str:
    """The commands, each with the first line of its docstring, which is read without importing it."""
    docs = {name: ast.get_docstring(ast.parse(_file(name).read_text())) for name in names()}
    lines = [f"  {name:<19} {doc.splitlines()[0]}" for name, doc in docs.items()]
    return "\n".join(["usage: objadapt COMMAND ...        (objadapt COMMAND --help says more)\n", *lines])


def _chosen() -> None:
    program, *rest = sys.argv
    if not rest:
        raise InputError("no command is given; objadapt --help lists them")
    name = rest[0].replace("_", "-")
    if name not in names():
        raise InputError(f"{rest[0]}: no such command; {did_you_mean(name, names())}there are {', '.join(names())}")
    sys.argv = [f"{os.path.basename(program)} {name}", *rest[1:]]
    _load(name).main()


def _file(name: str) -> Path:
    return FOLDER / f"{name.replace('-', '_')}.py"


def _load(name: str):
    return importlib.import_module(f"{__name__}.{_file(name).stem}")
