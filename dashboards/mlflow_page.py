"""The address of a run on MLflow's own page. Only the server knows the run's experiment, so it is asked."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from shlex import quote

from objadapt.errors import InputError
from objadapt.store_uri import ui_command

SERVER = "http://127.0.0.1:5000"  # of `mlflow ui`
SECONDS = 2.0


def server_of(uri: str) -> str:
    """The server that a tracking URI names; for a database, the server that `mlflow ui` starts by default."""
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else SERVER


def start_command(uri: str) -> str:
    """The command that starts MLflow's page for a store; for a server, the command that shows whether it answers."""
    if uri.startswith(("http://", "https://")):
        return f"curl {quote(uri.rstrip('/') + '/health')}"
    return f"{ui_command(uri)} --host 127.0.0.1 --port 5000"


def run_url(server: str, run_id: str) -> str:
    """Address of a run's page.

    Raises:
        InputError: no MLflow answers there, or it does not know the run.
    """
    if not re.match(r"https?://", server):
        raise InputError(f"MLflow server {server!r}: give http://HOST:PORT")
    query = urllib.parse.urlencode({"run_id": run_id})
    try:
        with urllib.request.urlopen(f"{server}/api/2.0/mlflow/runs/get?{query}", timeout=SECONDS) as answer:
            info = json.loads(answer.read())["run"]["info"]
        return f"{server}/#/experiments/{info['experiment_id']}/runs/{run_id}"
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise InputError(f"MLflow at {server} does not know run {run_id}; start it over this store") from None
        raise InputError(f"MLflow at {server} refused ({error.code} {error.reason}); see its own log") from None
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"no MLflow answers at {server} ({reason}); start it, or give another server") from None
