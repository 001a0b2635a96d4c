"""Opening an MLflow store, and finding out before a training whether it takes runs."""

import logging
import os
import re
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import InputError
from ..passwords import redact
from ..store_uri import experiment_page, sqlite_file
from .refusals import MISSING, check_sqlite, first_line, never, refusal

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the tracker's queue retries; a training must not hang
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # it prints the whole URI, password included
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import mlflow.store.db.utils
from alembic.util import CommandError
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

# what a store that is silent, full or wrong raises
FAILURES = (
    MlflowException,
    SQLAlchemyError,
    CommandError,
    OSError,
)
KIND = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow 3 opens its page for language model traces

logging.getLogger("alembic").setLevel(logging.WARNING)
# each of its tracebacks comes as an exception, too
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
mlflow.store.db.utils.MAX_RETRY_COUNT = 3  # else a database that refuses a password is asked for two minutes


def prepare_store(uri: str, experiment: str | None = None) -> None:
    """Look whether a store takes runs (of this experiment), before hours are spent; one that does not answer passes.

    A local SQLite store is made here, in the driver, since two processes creating one at once fail.

    Raises:
        InputError: the file cannot be made or is not an MLflow database, or the store refuses.
    """
    path = sqlite_file(uri)
    if re.fullmatch(r"sqlite(\+\w+)?:(//|///(:memory:)?)", uri):
        raise InputError(f"tracking.uri: {uri} is lost when its process ends; give sqlite:///FILE")
    try:
        if path:
            check_sqlite(path)
    except InputError as error:
        raise InputError(f"tracking.uri: {error}") from None
    try:
        client = open_store(uri)
        if path:
            client.search_experiments(max_results=1)
        if experiment is not None:
            find_experiment(client, uri, experiment)
    except FAILURES as error:
        refuse(error, uri)
        if path:
            raise InputError(
                f"tracking.uri: {redact(uri)} cannot be opened ({first_line(error)}); give another file"
            ) from None


def open_store(uri: str) -> MlflowClient:
    """A client; InputError where MLflow knows no store by such a URI."""
    if path := sqlite_file(uri):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return MlflowClient(tracking_uri=uri)
    except (ArgumentError, ImportError, MlflowException, ValueError) as error:  # the last: no URI at all
        if isinstance(error, MlflowException) and not never(error):
            raise
        raise InputError(
            f"tracking.uri: {redact(uri)!r} is no store that MLflow can open ({first_line(error)});"
            " give http://HOST:PORT, sqlite:///FILE or another database"
        ) from None


def refuse(error: Exception, uri: str) -> None:
    """InputError where a store answers, but takes no run; nothing where it is silent."""
    if found := refusal(error, uri):
        raise InputError(f"tracking.uri: MLflow at {redact(uri)} refuses ({found.reason}); {found.remedy}") from None
    if never(error):
        remedy = "give another tracking.experiment or tracking.uri"
        raise InputError(
            f"tracking.experiment: MLflow at {redact(uri)} takes no run ({first_line(error)}); {remedy}"
        ) from None


def gone(client: MlflowClient, run_id: str) -> str | None:
    """How a run has gone; None where it is there."""
    try:
        return "was deleted" if client.get_run(run_id).info.lifecycle_stage == "deleted" else None
    except MlflowException as error:
        if error.error_code not in MISSING:
            raise
        return "is not in the store any more"


def find_experiment(client: MlflowClient, uri: str, name: str) -> str | None:
    """Id of an experiment; None where there is none of this name.

    Raises:
        InputError: it was deleted, or its artifacts lie where nothing may be written.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        return None
    if found.lifecycle_stage == "deleted":
        restore = f"mlflow experiments restore --experiment-id {found.experiment_id}"
        raise InputError(
            f"tracking.experiment: {name!r} was deleted in MLflow at {redact(uri)}, which takes no run into it;"
            " give another name"
            f" (tracking.experiment=NAME), or restore it: MLFLOW_TRACKING_URI={shlex.quote(redact(uri))} {restore}"
        )
    if sqlite_file(uri) and (place := urlsplit(found.artifact_location)).scheme in ("", "file"):
        _check_artifacts(Path(unquote(place.path) if place.scheme else unquote(found.artifact_location)))
    return found.experiment_id


def page_of(uri: str, experiment: str) -> str:
    """How to see an experiment's runs on MLflow's page; of a store that does not answer its address alone."""
    try:
        return experiment_page(uri, find_experiment(open_store(uri), uri, experiment))
    except (InputError, *FAILURES):
        return experiment_page(uri, None)


def make_experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Id of a new experiment; of the one that another process made in the meantime.

    Raises:
        InputError: the store takes this name for another's, or its artifacts would lie where nothing may be written.
    """
    location = None
    if path := sqlite_file(uri):  # MLflow's own default is the working directory
        folder = path.absolute().parent / "mlartifacts"
        _check_artifacts(folder)
        location = folder.as_uri()
    try:
        return client.create_experiment(name, location, KIND)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if (found := find_experiment(client, uri, name)) is None:  # a database that does not tell capital letters apart
        raise InputError(
            f"tracking.experiment: MLflow at {redact(uri)} takes {name!r} for another experiment's name; give another"
        )
    return found


def _check_artifacts(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        remedy = "let it be written, or give another tracking.experiment or tracking.uri"
        raise InputError(f"tracking.uri: artifacts of this store lie in {folder}, which cannot be written; {remedy}")
