"""What a config names that must be there, looked at before anything heavy is loaded: clips, weights, places, a method.

Everything is looked at again, in depth, when a run is planned. Here a slip of the pen costs no ten seconds.
"""

import importlib.util
import os
import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

from .config import Experiment
from .config_methods import Outside
from .data.csv_header import check_header
from .data.places import data_files
from .errors import InputError
from .passwords import redact
from .store_uri import sqlite_file
from .weights_file import check_weights

STORES = ("http", "https", "file", "databricks", "databricks-uc", "uc", "sqlite", "mysql", "postgresql", "mssql")


def check_inputs(config: Experiment, clips: bool = True) -> None:
    """Look for the data set's files, the backbone's weights, the output folder, the store and a method of one's own.

    Args:
        clips: whether the data set has to be there.

    Raises:
        InputError: one of them is not there, or cannot be what it is given as; names the field.
    """
    if clips:
        files = data_files(config.data)
        for source in files.values() if config.data.format == "csv" else ():
            check_header(config.data, source)
    check_model(config)
    check_output(config.output)
    _check_store(config.tracking.uri or "")


def check_model(config: Experiment) -> None:
    """InputError where the backbone has no weights, or a method of one's own is nowhere."""
    check_weights(config.backbone)
    if isinstance(config.method, Outside):
        _check_module(config.method.module)


def check_output(output: str, name: str = "output") -> None:
    """InputError, which begins with `name`, where no folder can be made at `output`."""
    folder = Path(output).absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"{name}: {folder} cannot be a folder, {there} is a file; give another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{name}: {there} may not be written; give a place that may be")


def _check_store(uri: str) -> None:
    sqlite_file(uri)
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", uri)
    kind = scheme[1].partition("+")[0] if scheme else "file"
    if kind not in STORES and kind not in {one.name for one in entry_points(group="mlflow.tracking_store")}:
        raise InputError(
            f"tracking.uri: {redact(uri)!r} is no store that MLflow can open;"
            " give http://HOST:PORT, sqlite:///FILE or another database"
        )


def _check_module(name: str) -> None:
    """Whether Python finds the module, or the package that it is in, which is not imported."""
    if os.getcwd() not in sys.path:  # scripts have their own folder there in its place
        sys.path.append(os.getcwd())
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        remedy = "start the command in the folder that holds it, or put that folder on PYTHONPATH"
        raise InputError(f"method.module: no module {name} on the path; {remedy}")
