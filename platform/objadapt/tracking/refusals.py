"""What an error of an MLflow store means: silence, which passes, or a refusal, with what can be done about it.

A refusal stays until somebody does something, so it is told before a training begins, and once in the middle of one.
"""

import re
import shlex
import sqlite3
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from ..errors import FULL, InputError, printable
from ..passwords import redact

# names of MLflow's error codes
RIGHTS = ("PERMISSION_DENIED",)
LOGIN = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")
QUOTA = (
    "RESOURCE_EXHAUSTED",
    "REQUEST_LIMIT_EXCEEDED",
    "QUOTA_EXCEEDED",
    "RESOURCE_LIMIT_EXCEEDED",
    "MAX_LIST_SIZE_EXCEEDED",
)
OTHER_SERVER = ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED", "FEATURE_DISABLED")
MISSING = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
NEVER = (
    *MISSING,
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "BAD_REQUEST",
    "MALFORMED_REQUEST",
    "RESOURCE_ALREADY_EXISTS",
)

# codes, words of the first line that mean the same, remedy; the first that fits counts
_RULES = (
    (
        QUOTA,
        r"too many (429|requests)|error code 429|quota|rate.?limit|limit exceeded",
        "wait, ask for more, or give another tracking.uri",
    ),
    (
        LOGIN,
        r"error code 401|unauthori[sz]ed|not authenticated|invalid (credentials|token)|authentication"
        r" failed|access denied for user",
        "give the right MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    ),
    ((), r"host header", "start the server with --allowed-hosts that name this address"),
    (
        RIGHTS,
        r"error code 403|forbidden|permission denied|(command|access) denied|not authorized",
        "ask for the right to write there, or give another tracking.experiment or tracking.uri",
    ),
    ((), r"read-?only", "make it writable, or give another tracking.uri"),
    ((), r"disk is full|no space left|disk quota", "free some, or give another tracking.uri"),
    (
        (),
        r"not a database|malformed|no such (table|column)",
        "it is damaged, or no store of MLflow; give another tracking.uri",
    ),
    (
        (),
        r"unable to open database file|is a directory",
        "let its folder be one that may be written, or give another tracking.uri",
    ),
    (
        OTHER_SERVER,
        r"error code 40[45]|not in a valid json|'detail': 'not found'",
        f"check the address; a tracking server of MLflow 3 must answer there (this is MLflow {version('mlflow')})",
    ),
)


@dataclass(frozen=True)
class Refusal:
    """What a store said, and what to do."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


def first_line(error: Exception) -> str:
    """What an exception says, as it may be shown: its first line, or what that names as the cause,
    without passwords.
    """
    # SQLAlchemy's aside
    lines = [line for line in str(error).strip().splitlines() if not line.startswith("(raised as a result of")]
    line = (lines or [type(error).__name__])[0]
    cause = re.search(r"\(Caused by (.*)\)$", line)  # behind an address that says nothing
    return printable(redact(cause[1] if cause else line))[:200]


def refusal(error: Exception, uri: str) -> Refusal | None:
    """Why the store at `uri` refuses; None where it is silent, or refuses this one call alone."""
    said, code = first_line(error), getattr(error, "error_code", None)
    if found := re.search(r"out-of-date database schema \(found version (\w+)", said):
        return _schema(found[1], uri)
    if isinstance(error, OSError) and error.errno in FULL:
        said = f"no space left on its disk ({said})"
    words = said.partition("failed with ")[2] or said  # before that stands an address
    for codes, pattern, remedy in _RULES:
        if code in codes or re.search(pattern, words, re.IGNORECASE):
            return Refusal(said, remedy)
    return None


def never(error: Exception) -> bool:
    """Whether the store will not take this call later, either."""
    too_much = re.search(r"error code (400|413|414|422)\b", first_line(error))
    return getattr(error, "error_code", None) in NEVER or bool(too_much)


def _schema(found: str, uri: str) -> Refusal:
    known = any(one.name.startswith(found) for one in (files("mlflow.store.db_migrations") / "versions").iterdir())
    if not known:
        newer = f"its database was made by a newer MLflow than this one, {version('mlflow')} (schema {found})"
        return Refusal(newer, "use that MLflow, or give another tracking.uri")
    command = f"mlflow db upgrade {shlex.quote(redact(uri))}"
    return Refusal(f"its database is of an older MLflow (schema {found})", f"back it up, then: {command}")


def check_sqlite(path: Path, writing: bool = True) -> None:
    """Look into the SQLite file of a store: MLflow would make its tables in any other database, too.

    Raises:
        InputError: no SQLite file, another program's, one that may not be read, or `writing` and it may not be written.
            One that is not there, or empty, will do for `writing`.
    """
    reader = None
    try:
        if writing:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or not path.stat().st_size:
                return
        if path.is_dir():
            raise InputError(f"{path}: not a file but a folder; give a file in it")
        reader = sqlite3.connect(f"file:{quote(str(path))}?mode={'rw' if writing else 'ro'}", uri=True, timeout=1)
        names = {name for (name,) in reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"experiments", "runs", "alembic_version"} <= names and (names or not writing):
            raise InputError(
                f"{path}: not a store of MLflow; give the mlflow.db of an output folder{', or a new file' * writing}"
            )
        if writing:
            (mark,) = reader.execute("PRAGMA user_version").fetchone()
            reader.execute("BEGIN IMMEDIATE")
            # a write that changes nothing: file, folder and disk take one
            reader.execute(f"PRAGMA user_version = {mark}")
            reader.rollback()
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):  # it is being written, so it can be
            return
        if "not a database" in str(error):
            raise InputError(
                f"{path}: not a readable SQLite file ({error}); give the mlflow.db of an output folder"
            ) from None
        found = refusal(error, str(path)) or Refusal(first_line(error), "give another file")
        raise InputError(f"{path}: cannot be used ({found.reason}); {found.remedy}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be used ({error.strerror}: {error.filename}); give another file") from None
    finally:
        if reader is not None:
            reader.close()
