"""Joining a Ray cluster, or starting a local Ray: where its files go, and in one line why it cannot be had."""

import logging
import os
import re
import secrets
import socket
import tempfile
from pathlib import Path

from .errors import InputError, full_disk, printable

REPOSITORY = Path(__file__).resolve().parents[2]
log = logging.getLogger(__name__)

SOCKET_PATH = 107  # bytes, what Linux takes
BELOW = 72  # of them Ray needs below its folder: /session_DATE_TIME_MICROSECONDS_PID/sockets/dash_TaskEventsHead
PLACES = ("/tmp", "/var/tmp", "/dev/shm")
ANSWER_SECONDS = 5.0  # for the cluster at RAY_ADDRESS

# words of what Ray says -> what to do
_REMEDIES = (
    (r"version mismatch", "use the cluster's own versions of Ray and Python"),
    (r"authenticat|\btoken\b", "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token"),
    (r"too many open files", "allow more (ulimit -n 65536)"),
    (r"temporarily unavailable|start new thread|cannot fork", "allow more processes (ulimit -u), or end some"),
    (r"object.store.memory|shared memory|/dev/shm|memory", "free some memory, or give the container a larger --shm-size"),
    (r"address already in use|no (free|available) port|\bports?\b", "end what holds the ports (ss -ltnp), an older Ray perhaps"),
)


def submitted() -> bool:
    """True inside a job started by `ray job submit`, which runs in a copied folder without `.git`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def start_ray(num_cpus: int | None = None) -> None:
    """Connect to the cluster named by RAY_ADDRESS, or start a local Ray bound to 127.0.0.1.

    Workers find the package through PYTHONPATH, so it needs no installation on the nodes.

    Raises:
        InputError: there is no such cluster, it lets nobody of this version or without its token in, or no local Ray starts.
    """
    import ray  # here: jobs that need no Ray import this file, too
    from ray._private import ray_constants

    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # 2-4 s less of shutdown a training
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = os.environ.get("RAY_ADDRESS", "")
    local = address in ("", "local") and not submitted()
    variables = {"PYTHONPATH": str(REPOSITORY / "platform")}
    started_here = {}
    if local:
        variables["GLOO_SOCKET_IFNAME"] = "lo"  # else torch's workers listen where the host's name leads
        started_here = {"num_cpus": num_cpus, "include_dashboard": True, "dashboard_host": "127.0.0.1"} | _folders()
        _have_token()
    elif not submitted():
        _refuse_dead(address)
    several_hosts = ray_constants.ENABLE_RAY_CLUSTER
    try:
        # where this is set, Ray takes 127.0.0.1 for the outer address, and listens on all interfaces; its variable,
        # RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER, is read when ray is imported, which may be long ago
        ray_constants.ENABLE_RAY_CLUSTER = several_hosts and not local
        ray.init(
            address="local" if local else "auto",  # never a cluster that merely happens to run on this machine
            # a submitted job's own runtime_env brings its workers the same, relative to the copied folder
            runtime_env=None if submitted() else {"env_vars": variables},
            logging_level=logging.WARNING,
            log_to_driver=False,
            **started_here,
        )
    except Exception as error:  # Ray raises all kinds, Exception itself among them
        if full_disk(error):
            raise
        raise _refusal(error, None if local else address or "auto") from error
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = several_hosts


def _folders() -> dict[str, str]:
    """Where a local Ray puts its files, where that cannot be what it would take itself.

    Its sockets need a short path. What it moves out of a full object store goes on to TMPDIR, which may have been given for
    its room.
    """
    wanted = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or PLACES[0]
    own = Path(wanted) / "ray"
    why = _unusable(own)
    if why is None:
        return {}
    for place in (wanted, *PLACES):
        for name in ("ray", f"ray-{os.getuid()}"):  # the first may be another user's
            if _unusable(folder := Path(place) / name) is None:
                log.warning("Ray's files go to %s: %s", folder, why)
                roomy = place != wanted and _writable(Path(wanted))
                return {"_temp_dir": str(folder)} | ({"object_spilling_directory": str(Path(wanted).absolute())} if roomy else {})
    raise InputError(
        f"RAY_TMPDIR: Ray has no folder for its files ({why}; nor will {', '.join(PLACES)} do);"
        f" set it to one that may be written, with a path of at most {SOCKET_PATH - BELOW - len('/ray')} bytes"
    )


def _unusable(folder: Path) -> str | None:
    if not folder.is_absolute():
        return f"{folder} is relative"
    if len(os.fsencode(folder)) > SOCKET_PATH - BELOW:
        return f"{folder} is too long a path for its sockets"
    return None if _writable(folder) else f"{folder} cannot be written"


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _have_token() -> None:
    """A local Ray keeps its token in the home folder; where that cannot be written, it is this process and its children alone."""
    if any(name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        return
    folder = Path.home() / ".ray"
    try:
        known = os.access(folder / "auth_token", os.R_OK)
    except OSError:
        known = False
    if not known and not _writable(folder):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _refuse_dead(address: str) -> None:
    """Ray itself asks for a minute or more whether somebody answers."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not port.isdecimal() or not host:
        return  # "auto": the cluster of this machine
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _refusal(error, address) from None


def _refusal(error: Exception, address: str | None) -> InputError:
    """One line for what Ray, or the way to it, raised."""
    said = printable(" ".join(str(error).split()) or type(error).__name__)
    remedy = next((remedy for words, remedy in _REMEDIES if re.search(words, said, re.IGNORECASE)), None)
    said = said if len(said) < 300 else said[:300] + " ..."
    if address is None:
        return InputError(f"Ray does not start here ({said}); {remedy or 'its logs are below session_latest/logs in the folder named ray of TMPDIR'}")
    remedy = remedy or "start it, or unset RAY_ADDRESS for a Ray of this job's own"
    return InputError(f"RAY_ADDRESS: no Ray can be joined at {address} ({said}); {remedy}")
