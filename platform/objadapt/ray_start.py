"""Joining a Ray cluster, or starting a local Ray: where its files go, and in one line why it cannot be had."""

import logging
import os
import re
import resource
import secrets
import signal
import socket
import tempfile
import threading
from pathlib import Path

from .declared import SOURCE
from .errors import InputError, full_disk, printable

log = logging.getLogger(__name__)

SOCKET_PATH = 107  # bytes, what Linux takes
BELOW = 72  # of them Ray needs below its folder: /session_DATE_TIME_MICROSECONDS_PID/sockets/dash_TaskEventsHead
SHORT = 70  # bytes of TMPDIR, below which multiprocessing makes /pymp-xxxxxxxx/listener-xxxxxxxx
PLACES = ("/tmp", "/var/tmp", "/dev/shm")
FEWEST_FILES, MANY_FILES = 1024, 65536
ANSWER_SECONDS = 10.0  # for the cluster at RAY_ADDRESS

# words of what Ray says -> what to do
_REMEDIES = (
    (r"version mismatch", "use the cluster's own versions of Ray and Python"),
    (r"authenticat|\btoken\b", "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token"),
    (r"timed out during startup|overloaded|come up in time", "try again when this machine is less busy"),
    (r"too many open files", "allow more (ulimit -n 65536)"),
    (r"temporarily unavailable|start new thread|cannot fork", "allow more processes (ulimit -u), or end some"),
    (
        r"object.store.memory|shared memory|/dev/shm|memory",
        "free some memory, or give the container a larger --shm-size",
    ),
    (
        r"address already in use|no (free|available) port|\bports?\b",
        "end what holds the ports (ss -ltnp), an older Ray perhaps",
    ),
)


def submitted() -> bool:
    """True inside a job started by `ray job submit`, which runs in a copied folder without `.git`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def start_ray(num_cpus: int | None = None) -> None:
    """Connect to the cluster named by RAY_ADDRESS, or start a local Ray bound to 127.0.0.1.

    Workers find the package through PYTHONPATH, so it needs no installation on the nodes.

    Raises:
        InputError: there is no such cluster, it lets nobody of this version or without its token in, or no local Ray
            starts.
    """
    import ray  # here: jobs that need no Ray import this file, too

    from .ray_private import hush, one_host, quiet_driver

    if ray.is_initialized():
        return
    hush()
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # 2-4 s less of shutdown a training
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = os.environ.get("RAY_ADDRESS", "")
    local = address in ("", "local") and not submitted()
    # the folder where the command was given may hold a method of the user's own (method.module)
    places = [str(SOURCE), os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {"PYTHONPATH": os.pathsep.join(places)}
    started_here = {}
    if local:
        variables["GLOO_SOCKET_IFNAME"] = "lo"  # else torch's workers listen where the host's name leads
        started_here = {"num_cpus": num_cpus, "include_dashboard": True, "dashboard_host": "127.0.0.1"} | _folders()
        _have_token()
        _allow_files()
    elif not submitted():
        _refuse_dead(address)
    try:
        with one_host(local), quiet_driver():
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
        raise _refusal(
            error, None if local else address or "auto", started_here.get("_temp_dir") or _default()
        ) from error

    take_sigterm()


def take_sigterm() -> None:
    """SIGTERM, which `ray job stop` sends, ends a command as Ctrl-C does; by Ray's own handler it would abort."""
    if threading.current_thread() is threading.main_thread():  # which alone may take signals
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _default() -> str:
    """Ray's folder where nobody says another."""
    return os.path.join(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or PLACES[0], "ray")


def _allow_files() -> None:
    """Ray opens hundreds of files and sockets, and its library ends the process without a word where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FEWEST_FILES:
        raise InputError(
            f"ulimit -n: {hard} open files are too few for Ray; allow at least {FEWEST_FILES}, better 65536"
        )
    if soft != resource.RLIM_INFINITY and soft < MANY_FILES:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES), hard)
        )


def _folders() -> dict[str, str]:
    """Options of `ray.init` for where a local Ray puts its files, where that cannot be what it would take itself.

    Sockets need a short path: Ray's own, and those of `multiprocessing` in TMPDIR. What Ray moves out of a full object
    store still goes to TMPDIR, which may have been given for its room.
    """
    given, folder = os.environ.get("TMPDIR"), Path(_default())
    options, why = {}, _unusable(folder)
    if why:
        # ray: another user's
        tried = [Path(place) / name for place in (folder.parent, *PLACES) for name in ("ray", f"ray-{os.getuid()}")]
        if (folder := next((one for one in tried if _unusable(one) is None), None)) is None:
            raise InputError(
                f"RAY_TMPDIR: Ray has no folder for its files ({why}; nor will {', '.join(PLACES)} do);"
                f" set it to one that may be written, with a path of at most {SOCKET_PATH - BELOW - len('/ray')} bytes"
            )
        log.warning("Ray's files go to %s: %s", folder, why)
        options["_temp_dir"] = str(folder)
    if given and (len(os.fsencode(given)) > SHORT or not os.path.isabs(given)):
        if _writable(Path(given)):
            options["object_spilling_directory"] = os.path.abspath(given)
        os.environ["TMPDIR"] = str(folder.parent)
        tempfile.tempdir = None  # it remembers the other
    return options


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
    """A local Ray keeps its token in the home folder.

    Where that cannot be written, it is this process and its children alone.
    """
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
    """InputError where no Ray answers or it takes another token, which Ray itself would find out after minutes.

    Every gRPC server begins with its settings, by which it is told from others.
    """
    from ray.exceptions import AuthenticationError

    from .ray_private import address_meant, ask_head

    try:
        found = address[6:] if address.startswith("ray://") else address_meant() or ""
        host, _, port = found.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") in ("0", ""):
                no_settings = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + no_settings)
                if connection.recv(9)[3:4] != b"\4":
                    raise ConnectionError("something else than Ray answers there")
        if not address.startswith("ray://"):
            ask_head(found)  # says at once that the token is wrong; ray.init tries for 20 s and says nothing of it
    except (ValueError, OverflowError):
        raise _refusal(
            ValueError("an address is HOST:PORT, the port of `ray start --head`, 6379 by default"), address
        ) from None
    except (OSError, AuthenticationError) as error:
        raise _refusal(error, address) from None


def _refusal(error: Exception, address: str | None, folder: str = "") -> InputError:
    """One line for what Ray, or the way to it, raised; `folder` is where a local one has its files."""
    said = printable(" ".join(str(error).split()) or type(error).__name__)
    said = re.sub(
        r"^The last \d+ lines of (\S+/dashboard\.\w+) .*", r"its dashboard did not come up in time, see \1", said
    )
    remedy = next((remedy for words, remedy in _REMEDIES if re.search(words, said, re.IGNORECASE)), None)
    said = said if len(said) < 300 else said[:300] + " ..."
    if address is None:
        logs = "" if "/logs/" in said else f"its logs are in {folder}/session_latest/logs"
        return InputError(f"Ray does not start here ({said}); {'; '.join(filter(None, (remedy, logs)))}")
    remedy = remedy or "start it, or unset RAY_ADDRESS for a Ray of this job's own"
    return InputError(f"RAY_ADDRESS: no Ray can be joined at {address} ({said}); {remedy}")
