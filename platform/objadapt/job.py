"""What every job shares: one-line errors with exit code 2, the config options, a local Ray where none runs."""

import argparse
import atexit
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import ray_start
from .command_line import (  # noqa: F401  (the commands have them from here)
    FileToWrite,
    NewFileToWrite,
    TablesToWrite,
    add_checkpoint,
    add_config_options,
    add_json_option,
    add_overrides,
    as_called,
    check_overrides,
    number_or_auto,
    parser,
    point_to_keys,
    refuse_relative,
    take_checkpoint,
)
from .config import Experiment
from .config_file import load_config
from .declared import CONFIGS, INSTALLED, REPOSITORY, find
from .errors import InputError, full_disk, printable, unfit_path
from .ray_start import submitted, take_sigterm
from .store_uri import sqlite_file

# what was cut off goes on by the same command
OWN_VIDEOS = "own_videos"  # the config of who names none

GOES_ON = {"demo", "extract_features", "reproduce", "segment", "sweep", "train"}


class _Printable(logging.Formatter):
    """Names of files may hold terminal codes."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return "\n".join(printable(line) for line in super().formatMessage(record).splitlines())


def run(main: Callable[[], None]) -> None:
    """Call a job's main; bad input, a path that no file can have, a diverged training and a full disk end in one line
    and exit code 2, our own bugs keep their traceback.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    take_sigterm()
    try:
        try:
            main()
        finally:
            _end_without_escape_code()
    except (InputError, FloatingPointError) as error:  # the latter: a training that has diverged
        print(f"error: {as_called(' '.join(str(error).split()))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        again = "; the same command goes on from what is finished" if _name() in GOES_ON else ""
        print(f"interrupted{again}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        sys.exit(141)  # as of a process that SIGPIPE ends
    except Exception as error:
        if (unfit := unfit_path(error)) is not None:
            print(f"error: {printable(unfit)}", file=sys.stderr)
            sys.exit(2)
        if (full := full_disk(error)) is None:
            raise
        again = "; free some, then the same command goes on from what is finished" if _name() in GOES_ON else ""
        print(f"error: {printable(full)}{again or '; free some'}", file=sys.stderr)
        sys.exit(2)


def _name() -> str:
    """Which command this process is, as a script or of `objadapt`."""
    return re.split("[ /]", sys.argv[0])[-1].removesuffix(".py").replace("-", "_")


def _nobody_reads() -> bool:
    """Whether standard output is a closed pipe, since `| head` has seen enough; then nothing more is written to it."""
    try:
        print(flush=True)  # what is not written yet is not tried again
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _end_without_escape_code() -> None:
    """Ray imports colorama, which would end the process with a code for terminals, into logs as well."""
    if initialise := sys.modules.get("colorama.initialise"):
        atexit.unregister(initialise.reset_all)


def config_from(arguments: argparse.Namespace) -> Experiment:
    """The validated config; under `ray job submit` paths that would vanish with the copied folder are refused.

    Who gives data and no config means a folder of own clips, in every command alike.
    """
    check_overrides(arguments.overrides)
    if arguments.config is None and any(text.startswith("data.root=") for text in arguments.overrides):
        arguments.config = OWN_VIDEOS
    path = arguments.config and find("--config", arguments.config, CONFIGS)
    config = load_config(path, arguments.overrides)
    if submitted():
        places = {"data.root": config.data.root, "output": config.output}
        places |= {"backbone.weights": config.backbone.weights or "", "stream.cache": config.stream.cache or ""}
        places["stream.download_cache"] = config.stream.download_cache or ""
        if store := sqlite_file(config.tracking.uri or ""):
            places["tracking.uri"] = str(store)
        for key, place in places.items():
            refuse_relative(key, place)
    return config


def called(command: str) -> list[str]:
    """The words by which a user calls a command anew: as it was called now, by `objadapt` or as a script."""
    program = sys.argv[0].split()
    return program if program[-1:] == [command] else ["python", f"jobs/{command}.py"]


def shown(command: str) -> str:
    """How a user calls another command, ready to paste: as this one was called, by `objadapt` or as a script."""
    if " " in sys.argv[0]:  # commands/__init__.py
        return f"objadapt {command.replace('_', '-')}"
    python = os.path.relpath(sys.executable)
    return f"{'python' if python.startswith('..') else python} jobs/{command}.py"


def shown_app(store: str) -> str:
    """How a user opens the results app: it is no job, so a checkout has `make` for it."""
    command = shown("dashboard")
    return f"{command} {store}" if command.startswith("objadapt") else f"make dashboard STORE={store}"


def shown_path(path: str | os.PathLike) -> str:
    """A path for people: relative where it lies below the working directory, else absolute.

    A submitted job works in a copy of the folder, where `../..` would mean nothing to its reader.
    """
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.split(os.sep)[0] == ".." else relative


def commit() -> str:
    """The code's version: OBJADAPT_COMMIT where it is set (submitted jobs), else git's,
    `+changes` where the tree differs.

    `unknown` where there is no checkout: git would name that of whatever repository the package is installed in.
    """
    if os.environ.get("OBJADAPT_COMMIT"):
        return os.environ["OBJADAPT_COMMIT"]
    if INSTALLED:
        return "unknown"

    def git(*arguments):
        return subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True)

    try:
        head = git("rev-parse", "HEAD")
        if head.returncode:
            return "unknown"
        return head.stdout.strip() + (
            "+changes" if git("status", "--porcelain", "--untracked-files=no").stdout.strip() else ""
        )
    except FileNotFoundError:  # no git on this machine
        return "unknown"


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Name on the terminal what lasts, and cannot be counted."""
    from .training.display import Display

    with Display() as show:
        show.stage(what)
        yield


def start_ray(num_cpus: int | None = None) -> None:
    """Join a cluster or start a Ray here (`ray_start.py`)."""
    with stage("starting Ray"):
        ray_start.start_ray(num_cpus)


def join_cluster() -> None:
    """Connect where a cluster is named, whose nodes decide on what "auto" in a config becomes:
    before anything is planned.

    Elsewhere nothing is started: what is planned for is this machine, as a Ray on it will count it.
    """
    if os.environ.get("RAY_ADDRESS") not in (None, "", "local") or submitted():
        start_ray()


def parameter_lines(plan) -> str:
    """Table of the method's parameters by module, the frozen backbone named beside it."""
    from .evaluation.cost import parameter_table, tunable_parameters  # torch: not needed for --help

    config, method = plan.config, plan.method()
    table = parameter_table(method)
    rows = [f"  {name:<20} {trainable:>12,}" for name, trainable, _ in table]
    learns = plan.takes_frames and any(name == "encoder" and trainable for name, trainable, _ in table)
    state = "learns, too" if learns else "frozen"
    only = ", ".join(method.training_only)
    note = f" ({only} serve the losses alone and are not counted)" if only else ""
    total = f"tunable {tunable_parameters(method):,}{note}"
    return "\n".join(
        [
            f"backbone {config.backbone.library}: {state}, {plan.joint_width} wide, {plan.patch_tokens} patches",
            *rows,
            total,
        ]
    )


def write_json(path: str | None, summary: dict) -> None:
    """Write a job's summary where `--json` asks for it."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(summary, indent=2, default=str) + "\n")
