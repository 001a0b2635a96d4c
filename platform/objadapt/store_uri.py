"""URIs of SQLite files, made and taken apart here alone: MLflow's store in an output folder, a sweep's study.

SQLAlchemy takes what stands behind `sqlite:///`, up to a question mark, for a percent-encoded path. MLflow makes the
folder above that path as it stands there, encoded; Optuna takes the whole for a format string. So a path with a
character that one of them reads otherwise is encoded whole, slashes included, and every other path stands as it is.
"""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote

from .errors import InputError
from .passwords import redact

SQLITE = "sqlite:///"
PAGE = "http://127.0.0.1:5000"  # of `mlflow ui`
_READ_OTHERWISE = re.compile(r"[%?#{}\\\x00-\x1f\x7f]")


def sqlite_uri(path: str | Path, read_only: bool = False) -> str:
    """URI of a SQLite file, for MLflow, Optuna and SQLAlchemy; a relative path stays relative.

    Args:
        read_only: one by which nothing is ever written, nor made where there is none; not for MLflow.
    """
    path = str(path)
    if read_only:
        return (
            f"{SQLITE}{quote('file:' + quote(path), safe='')}?mode=ro&uri=true"  # decoded by SQLAlchemy, then by SQLite
        )
    return SQLITE + (quote(path, safe="") if _READ_OTHERWISE.search(path) else path)


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite URI; None where it is another store's URI, or one in memory.

    Raises:
        InputError: a question mark that begins no options.
    """
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]*)(?:\?(.*))?", uri, re.DOTALL)
    if not found:
        return None
    path, options = unquote(found[1]), found[2]
    if options is not None and not all("=" in option for option in options.split("&")):
        raise InputError(
            f"tracking.uri: {uri!r}: a ? begins options of the form name=value; write %3F for one in a file's name"
        )
    if path.startswith("file:") and parse_qs(options or "").get("uri") in (["true"], ["1"]):
        path = unquote(re.sub(r"^file:(//(localhost)?(?=/))?", "", path))
    return Path(path) if path and path != ":memory:" else None


def experiment_page(uri: str, experiment: str | None) -> str:
    """How to see an experiment on MLflow's page: the command that starts it, and the address of its runs.

    Args:
        experiment: its id; None: not known, and the command alone is given.
    """
    command = ui_command(uri)
    served = command.startswith(("http://", "https://"))
    if not experiment:
        return command
    address = f"{command.rstrip('/') if served else PAGE}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    return address if served else f"{command}    then {address}"


def ui_command(uri: str) -> str:
    """What to type to see a store on MLflow's own page, as a shell takes it; of a server its address.

    Passwords are left out.
    """
    uri = redact(uri)
    if uri.startswith(("http://", "https://")):
        return uri
    program = Path(sys.executable).with_name("mlflow")
    if not (shown := os.path.relpath(program)).startswith(".."):
        program = shown
    elif shutil.which("mlflow") == str(program):
        program = "mlflow"
    return f"{shlex.quote(str(program))} ui --backend-store-uri {shlex.quote(uri)}"
