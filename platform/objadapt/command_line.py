"""The command line of every job: help with examples, wrong words in one line, files to write looked at before the work.

Nothing here is heavy: what is wrong on a command line is said before torch or Ray are loaded.
"""

import argparse
import os
import re
import sys

from .config import Experiment
from .config_where import at_home
from .data.containers import is_video_name
from .errors import InputError, did_you_mean
from .ray_start import submitted


class Parser(argparse.ArgumentParser):
    """Reads `~` in every argument as a shell does, also where a shell does not: `--json=~/x.json`,
    `data.root=~/k400`.

    What it cannot read is an `InputError`, with the option that was meant.
    """

    def parse_known_args(self, args=None, namespace=None):
        words = [_at_home(one) for one in (sys.argv[1:] if args is None else args)]
        for before, word in zip(["", *words], words, strict=False):
            if not word or re.fullmatch("--[a-z-]+=", word):  # as of a shell's variable that is not set
                where = f"{word.rstrip('=') or before}: " if word or before.startswith("--") else ""
                raise InputError(f"{where}an empty argument is given; fill it in, or leave it out")
        for word in words:
            option = "--" + word.partition("=")[0].replace("_", "-")
            if "=" in word and option[2:] not in Experiment.model_fields and option in self._option_string_actions:
                raise InputError(f"{word}: is an option, not a key of the config; write {option}")
        found, rest = super().parse_known_args(words, namespace)
        _refuse_same_file(self._actions, found)
        return found, rest

    def error(self, message: str):
        """InputError; argparse calls it with what is wrong."""
        wrong = re.search(r"(?<=unrecognized arguments: )\S+", message)
        option, _, value = wrong[0].partition("=") if wrong else ("", "", "")
        key, takes_keys = option.lstrip("-"), any(action.dest == "overrides" for action in self._actions)
        if takes_keys and option.startswith("--") and key.partition(".")[0] in Experiment.model_fields:
            raise InputError(f"{wrong[0]}: a key of the config has no dashes; write {key}={value or 'VALUE'}")
        meant = did_you_mean(option, [name for name in self._option_string_actions if name[:2] == "--"])
        if choice := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            meant = did_you_mean(choice[1], re.findall(r"[\w.-]+", choice[2]))
        message = message.removeprefix("argument ").replace(", key.sub=value", "")  # any number of them, also none
        raise InputError(f"{message}; {meant}{self.prog} --help lists what there is")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Shows the defaults that there are; `(default: None)` and a switch that is off say nothing."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default not in (None, False, [], argparse.SUPPRESS) and action.option_strings
        said = "default" in (action.help or "")
        return f"{action.help or ''} (default: %(default)s)".strip() if shown and not said else action.help


def parser(doc: str) -> argparse.ArgumentParser:
    """An argument parser described by a command's docstring: its first paragraph above the options, its examples and
    the rest below them.

    A `~` that begins an argument, or what follows its `=`, is the user's home.
    """
    about, _, rest = doc.partition("\n\n")
    return Parser(description=about, epilog=as_called(rest.rstrip()), formatter_class=_Help)


def as_called(text: str) -> str:
    """Examples as their reader calls the commands: `objadapt train` in place of `python jobs/train.py`, where
    `objadapt` is what was called.
    """
    if not re.fullmatch(r"objadapt( [\w-]+)?", os.path.basename(sys.argv[0])):
        return text
    return re.sub(r"python jobs/(\w+)\.py", lambda found: f"objadapt {found[1].replace('_', '-')}", text)


def add_json_option(options: argparse.ArgumentParser, what: str) -> None:
    """`--json FILE`, for what the script also prints; see `job.write_json`."""
    options.add_argument("--json", metavar="FILE", action=JsonToWrite, help=f"write {what} as JSON, too")


def add_checkpoint(options: argparse.ArgumentParser) -> None:
    """`--checkpoint RUN`; see `take_checkpoint`."""
    about = (
        "a run's name, its folder or the hash it ends in, or a checkpoint's folder; the option's name may be left out"
    )
    options.add_argument("--checkpoint", metavar="RUN", help=about)


def take_checkpoint(arguments: argparse.Namespace, words: list[str], besides: int = 0) -> None:
    """`mine` is taken from the words for `--checkpoint mine`.

    Args:
        words: given without an option, overrides among them.
        besides: how many of them that are no overrides must be left.

    Raises:
        InputError: no checkpoint is given, or a submitted job gets a relative path.
    """
    plain = [word for word in words if "=" not in word]
    if arguments.checkpoint is None and len(plain) > besides and words[0] == plain[0]:
        arguments.checkpoint = words.pop(0)
        if besides and is_video_name(arguments.checkpoint):
            raise InputError(f"{arguments.checkpoint} is a video, and the first word is the run's; give both")
    if arguments.checkpoint is None and besides and len(plain) == 1:
        raise InputError(f"{plain[0]}: one word is given, where a run and a video are needed; give both")
    if arguments.checkpoint is None:
        raise InputError("--checkpoint: none is given; give a run's name, its folder, or a checkpoint's folder")
    refuse_relative("--checkpoint", arguments.checkpoint)


def add_overrides(options: argparse.ArgumentParser, what: str) -> None:
    """Any number of `key.sub=value`, and where to find the keys."""
    options.add_argument("overrides", nargs="*", metavar="key.sub=value", help=what)
    point_to_keys(options)


def point_to_keys(options: argparse.ArgumentParser) -> None:
    """Where to find the keys of the config, below the help of a command that takes some."""
    keys = as_called("python jobs/config.py --keys")
    note = f"Keys of the config, with defaults and meanings: {keys}"
    options.epilog = f"{options.epilog or ''}\n\n{note}".lstrip("\n")


def add_config_options(options: argparse.ArgumentParser) -> None:
    """`--config NAME|FILE`, `--json FILE` and any number of `key.sub=value`."""
    options.add_argument(
        "--config",
        metavar="NAME|FILE",
        help="a config declared in jobs/configs by its name, such as toy, or a YAML file;"
        " omitted keys keep their defaults",
    )
    add_json_option(options, "the summary")
    add_overrides(options, "config values, e.g. method.slots.number=4")


def number_or_auto(text: str) -> float | str:
    """The value of --gpus-per-row or --gpus-per-trial; ValueError for what is neither."""
    return text if text == "auto" else float(text)


def refuse_relative(name: str, path: str) -> None:
    """Raises InputError where a submitted job, which runs in a temporary copy of the folder,
    is given a relative path.
    """
    if submitted() and path and "://" not in path and not path.startswith("/"):
        raise InputError(
            f"{name}: {path!r} is relative, and a submitted job runs in a temporary copy of the folder;"
            " give an absolute path that every node can read"
        )


def check_overrides(overrides: list[str]) -> None:
    """InputError for a checkpoint, a folder or a file among the overrides, which says how it is given."""
    for text in overrides:
        if "=" in text or not os.path.exists(text):
            continue
        given = f"override {text!r}: not of the form key.sub=value"
        if os.path.exists(os.path.join(text, "state.json")):
            looked_at = as_called(f"python jobs/evaluate.py {text}")
            remedy = (
                f"a training goes on from its own checkpoint by the same command, and {looked_at} evaluates this one"
            )
            raise InputError(f"{text} is a checkpoint, and overrides are of the form key.sub=value; {remedy}")
        option = f"data.root={text}" if os.path.isdir(text) else f"--config {text}"
        raise InputError(f"{given}; a {'folder of clips' if os.path.isdir(text) else 'config'} is given as {option}")


class FileToWrite(argparse.Action):
    """An option that names a file to write: what would fail when the work is done is refused before it.

    Its folder is made.
    """

    def __call__(self, parser, namespace, path, option_string=None):
        option = self.option_strings[0]
        if getattr(namespace, self.dest) not in (None, self.default):
            raise InputError(f"{option}: {getattr(namespace, self.dest)} and {path} are given; give one file")
        refuse_relative(option, path)
        if "://" in path:
            raise InputError(f"{option}: {path} is a URL; give a file to write")
        if os.path.isdir(path) or path.endswith("/"):
            raise InputError(f"{option}: {path} is a folder; give a file to write")
        folder = os.path.dirname(path) or "."
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{option}: cannot make the folder {folder} ({error.strerror}); give a file elsewhere"
            ) from None
        if not os.access(path if os.path.exists(path) else folder, os.W_OK):
            raise InputError(f"{option}: {path} may not be written; give a file elsewhere")
        try:
            if not os.path.exists(path):  # a name that is too long, or a link to nowhere, shows when it is opened
                open(path, "ab").close()
                os.unlink(os.path.realpath(path))
        except OSError as error:
            raise InputError(f"{option}: {path} cannot be written ({error.strerror}); give another name") from None
        setattr(namespace, self.dest, path)


class NewFileToWrite(FileToWrite):
    """`FileToWrite` for what is too dear to be written over: a file that is there is refused."""

    def __call__(self, parser, namespace, path, option_string=None):
        super().__call__(parser, namespace, path, option_string)
        self.refuse_existing(path)

    def refuse_existing(self, path: str) -> None:
        """InputError for a file that is there."""
        if os.path.exists(path):
            raise InputError(f"{self.option_strings[0]}: {path} is there already; give another name, or remove it")


class JsonToWrite(FileToWrite):
    """`FileToWrite` for a summary, which the same command writes anew: a file that is no JSON is somebody's own."""

    def __call__(self, parser, namespace, path, option_string=None):
        super().__call__(parser, namespace, path, option_string)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                begins = file.read(64).lstrip()[:1]
            if begins not in (b"", b"{", b"["):
                raise InputError(f"{self.option_strings[0]}: {path} is there already and is no JSON; give another name")


class TablesToWrite(NewFileToWrite):
    """`NewFileToWrite` for an option that may be given several times: a list of files, .csv or .json by their names."""

    def __call__(self, parser, namespace, path, option_string=None):
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, self.default)
        FileToWrite.__call__(self, parser, namespace, path, option_string)
        if os.path.splitext(path)[1].lower() not in (".csv", ".json"):
            raise InputError(
                f"{self.option_strings[0]}: {path} ends in neither .csv nor .json; give one of them, or the option"
                " twice for both"
            )
        self.refuse_existing(path)
        setattr(namespace, self.dest, [*before, path])


def _refuse_same_file(actions: list[argparse.Action], given: argparse.Namespace) -> None:
    """InputError where two options would write one file, of which the second alone would be left."""
    seen: dict[str, str] = {}
    for action in (one for one in actions if isinstance(one, FileToWrite)):
        paths, option = getattr(given, action.dest, None) or [], action.option_strings[0]
        for path in [paths] if isinstance(paths, str) else paths:
            real = os.path.realpath(path)
            if real in seen and (os.path.isfile(real) or not os.path.exists(real)):  # not of /dev/null
                raise InputError(f"{option}: {path} is written by {seen[real]}, too; give another name")
            seen[real] = option


def _at_home(argument: str) -> str:
    before, equals, place = ("", "", argument[1:]) if argument.startswith("~") else argument.partition("=~")
    if not (argument.startswith("~") or (equals and place)):  # `key=~` is YAML's null
        return argument
    try:
        return before + equals.rstrip("~") + at_home(f"~{place}")
    except ValueError as error:
        raise InputError(str(error)) from None
