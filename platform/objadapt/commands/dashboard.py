"""Show the tables, sweeps, objects and runs of an output folder in the browser, on 127.0.0.1.

    objadapt dashboard outputs/demo
    objadapt dashboard http://127.0.0.1:5000 --port 8600

In a checkout that is not installed: make dashboard STORE=outputs/demo
"""

import sys
from pathlib import Path

from .. import job
from ..errors import InputError
from ..store_uri import sqlite_file


def main():
    options = job.parser(__doc__)
    options.add_argument("store", nargs="?", default="outputs", help="an output folder, or the URI of an MLflow store")
    options.add_argument("--port", type=int, default=8501, help="of the page")
    arguments = options.parse_args()
    file = sqlite_file(arguments.store)
    place = file or (None if "://" in arguments.store else Path(arguments.store))
    if place is not None and not place.exists():
        there = f"no {'file' if file else 'folder'} {place}"
        raise InputError(f"store: {there}; give a job's output folder, or the URI of an MLflow store")
    try:
        from dashboards.__main__ import main as start
    except ModuleNotFoundError as error:
        if error.name != "dashboards":
            raise
        raise InputError(
            "dashboard: the app is not on the path; pip install . brings it, make dashboard finds it"
        ) from None
    sys.argv = ["dashboards", "--server.port", str(arguments.port), arguments.store]
    start()
