"""YAML file + `key.sub=value` overrides -> frozen, validated `Experiment`.

Whatever is wrong is one line that names the key.
"""

import copy
import re
from collections.abc import Collection
from pathlib import Path

import yaml
from pydantic import ValidationError

from . import declared
from .config import Backbone, Experiment
from .config_keys import keys_meant
from .config_methods import SECTIONS, named
from .config_where import at_home
from .errors import InputError, did_you_mean

MAPPINGS = {"settings"}  # keys whose value is a mapping, of methods from outside
OF_A_LIBRARY = {"name", "pretrained", "weights"}  # keys of a backbone that another library does not know
BASE = "base"  # key of a config file: the file that it is laid over
TAG = "tag:yaml.org,2002:"
# whole numbers and floats as everybody writes them: `010` (octal in YAML 1.1) and `1:30` (base 60) are words
_INT = r"[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)"
_FLOAT = r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+|[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?)"
_NOT_FINITE = r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
# PyYAML's own, and what `!!int x` and the like end in
NOT_YAML = (
    yaml.YAMLError,
    ValueError,
    LookupError,
    RecursionError,
)


class _Loader(yaml.SafeLoader):
    """Safe YAML whose floats may be written `1e-4` (YAML 1.1 reads that as a string), whose mappings have each key once
    (YAML takes the last), and that knows no dates, octal numbers or numbers to the base 60: they are words.
    """

    yaml_constructors = {
        tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag != f"{TAG}timestamp"
    }
    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag.removeprefix(TAG) not in ("timestamp", "int", "float")]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor):
        """The mapping's node; ValueError where a key stands in it twice."""
        node, lines = super().compose_mapping_node(anchor), {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == f"{TAG}merge":
                continue
            if (name := (key.tag, key.value)) in lines:
                where = f"in lines {lines[name]} and {key.start_mark.line + 1}"
                raise ValueError(f"key {key.value!r} is there twice, {where}; keep one")
            lines[name] = key.start_mark.line + 1
        return node


_Loader.add_implicit_resolver(f"{TAG}int", re.compile(rf"^(?:{_INT})$"), list("-+0123456789"))
_Loader.add_implicit_resolver(f"{TAG}float", re.compile(rf"^(?:{_FLOAT}|{_NOT_FINITE})$"), list("-+0123456789."))


def read_yaml(path: str | Path, name: str) -> object:
    """What a YAML file holds, by the one grammar of configs, search spaces and tables; None where it is empty.

    Raises:
        InputError: unreadable, or not valid YAML; begins with `name`.
    """
    try:
        return yaml.load(Path(path).read_text(), Loader=_Loader)  # _Loader is a SafeLoader
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or error}; give an existing YAML file") from None
    except NOT_YAML as error:
        raise InputError(f"{name}: not valid YAML ({(str(error).splitlines() or [type(error).__name__])[0]})") from None


def parse_override(text: str) -> tuple[list[str], object]:
    """`"method.slots.number=4"` -> `(["method", "slots", "number"], 4)`.

    The value is read as YAML, but for comments: a # may be in a path. An empty one is refused: a shell puts it in place
    of a variable that is not set.
    """
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise InputError(f"override {text!r}: not of the form key.sub=value")
    if not value.strip():
        raise InputError(
            f"override {text!r}: the value is empty; write {key}=null for none, {key}=\"''\" for empty text"
        )
    try:
        parsed = yaml.load(value, Loader=_Loader)
        a_comment = parsed is None and value.lstrip().startswith("#")
        if a_comment or (isinstance(parsed, str) and value.lstrip()[0] not in "'\"|>!&"):
            parsed = value.strip()
        return key.strip().split("."), parsed
    except NOT_YAML:
        raise InputError(f"override {text!r}: the value is not valid YAML; one with spaces needs quotes") from None


def load_config(path: str | Path | None = None, overrides: list[str] | tuple[str, ...] = ()) -> Experiment:
    """Read a YAML file (or none) over its `base`, apply `key.sub=value` overrides in order, validate.

    `base: other.yaml` names the file, beside this one, of which this one says only what is different; `base: toy` one
    that is declared.

    Raises:
        InputError: unreadable file, unknown key, wrong type or value out of range; names the key.
    """
    files = _files(Path(path)) if path is not None else {}
    tree: dict = {}
    for changes in reversed(files.values()):
        tree = _over(tree, changes)
    given = [".".join(parse_override(text)[0]) for text in overrides]
    source = " over ".join([str(path), *(file.name for file in list(files)[1:])]) if path else "config"
    return validate(override(tree, overrides), source, given)


def _files(path: Path) -> dict[Path, dict]:
    """A config file, its base, the base of that and so on: path -> what the file itself says.

    Raises:
        InputError: one of them is unreadable or no mapping, or a base leads back to a file above it.
    """
    files: dict[Path, dict] = {}
    name, seen = f"config {path}", set()
    while True:
        tree = read_yaml(path, name)
        tree = {} if tree is None else tree
        if not isinstance(tree, dict):
            raise InputError(f"{name}: must be a mapping of keys, not {type(tree).__name__}")
        seen.add(path.resolve())
        base = tree.pop(BASE, None)
        files[path] = tree
        if base is None:
            return files
        if not isinstance(base, str) or not base:
            raise InputError(f"{name}: {BASE}: {base!r} is no file; give the path of a YAML file, relative to this one")
        name = f"{name}: {BASE} {base}"
        try:
            path = path.parent / at_home(base)
            if not path.exists() and base in declared.names(declared.CONFIGS):
                path = declared.CONFIGS / f"{base}.yaml"
            again = path.resolve() in seen
        except (ValueError, OSError, RuntimeError) as error:  # no such home, a NUL, a link that leads to itself
            raise InputError(f"{name}: {error}; give the path of a YAML file") from None
        if again:
            raise InputError(f"{name}: leads back to itself; take one {BASE} out")


def _over(tree: dict, changes: dict) -> dict:
    """A tree with the values of another in place of its own; a section of another method replaces the whole section,
    a backbone of another library the name and the weights of the first.
    """
    whole = dict(tree)
    for key, value in changes.items():
        there = whole.get(key)
        if key == "backbone" and isinstance(there, dict) and isinstance(value, dict):
            there = _of_library(there, value.get("library"))
        merge = isinstance(there, dict) and isinstance(value, dict) and not (key == "method" and _other(value, there))
        whole[key] = _over(there, value) if merge else value
    return whole


def _of_library(section: dict, library: object) -> dict:
    """A backbone's section, without what its own library alone knows where another one is chosen."""
    own = section.get("library", Backbone.model_fields["library"].default)
    return section if library in (None, own) else {key: section[key] for key in section.keys() - OF_A_LIBRARY}


def _other(section: dict, below: dict) -> bool:
    """Whether a method's section chooses another method than the section below it."""
    mine, theirs = ((one["name"], one.get("module")) for one in map(dict, map(named, (section, below))))
    return bool({"name", "module"} & section.keys()) and mine != theirs


def override(tree: dict, overrides: list[str] | tuple[str, ...]) -> dict:
    """A copy of a plain config tree with `key.sub=value` overrides applied in order;
    `InputError` for a malformed one.
    """
    other = other_method(tree, overrides)
    tree, parsed = copy.deepcopy(tree), [(text, *parse_override(text)) for text in overrides]
    if other:
        tree["method"] = other
    libraries = [value for _, keys, value in parsed if keys == ["backbone", "library"]]
    if libraries and isinstance(tree.get("backbone"), dict):
        tree["backbone"] = _of_library(tree["backbone"], libraries[-1])
    for text, keys, value in parsed:
        node = tree
        for depth, key in enumerate(keys[:-1]):
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise InputError(f"override {text!r}: {'.'.join(keys[: depth + 1])} is a value, not a section")
        another = keys == ["method"] and isinstance(value, dict) and {"name", "module"} & value.keys()
        section = isinstance(value, dict) and isinstance(node.get(keys[-1]), dict) and keys[-1] not in MAPPINGS
        if section and not another:  # the section of another method is new anyway
            inside = ", ".join(f"{'.'.join(keys)}.{key}=..." for key in value) or f"{'.'.join(keys)}.KEY=..."
            raise InputError(f"override {text!r}: would replace the whole section; give its keys: {inside}")
        node[keys[-1]] = value
    return tree


def other_method(tree: dict, overrides: list[str] | tuple[str, ...]) -> dict | None:
    """What stands in place of the tree's method section where overrides choose another method:
    its settings are not theirs. None: they choose none, or that of the tree.
    """
    values = {".".join(keys): value for keys, value in map(parse_override, overrides)}
    module = values.get("method.module")
    chosen = values.get("method.name", "module" if module else None)
    section = named(tree.get("method", {}))
    if not chosen or not isinstance(section, dict):
        return None
    same = section["name"] == chosen and module in (None, section.get("module", module))
    return None if same else {"name": chosen}


def validate(tree: dict, source: str = "config", given: Collection[str] = ()) -> Experiment:
    """Turn a plain tree of dicts into an `Experiment`, or raise `InputError` in one line.

    Args:
        source: what the message begins with, unless all that is wrong was `given` on the command line.
        given: dotted keys of the overrides.
    """
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        problems, places = [], []
        for item in error.errors():
            loc = _without_tag(item["loc"])
            place = ".".join(str(part) for part in loc)
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "union_tag_invalid":
                tag = str(item["ctx"]["tag"])
                meant = did_you_mean(tag, SECTIONS)
                place, message = "method.name", f"{tag!r} is no method; {meant}known: {', '.join(SECTIONS)}"
            if item["type"] == "literal_error":
                known = re.findall("'([^']+)'", item["ctx"]["expected"])
                message = f"{did_you_mean(str(item['input']), known)}{message}"
            if item["type"] == "extra_forbidden":
                message = f"unknown key; {_hint(tree, place)}known here: {', '.join(_known_keys(item['loc'][:-1]))}"
            problem = f"{place}: {message}" if place else message
            places.append(place or message.partition(":")[0])  # a rule about several keys begins with the one to change
            problems.append(
                problem
                if item["type"] in ("extra_forbidden", "value_error", "union_tag_invalid")
                else f"{problem} (got {item['input']!r})"
            )
        source = "" if all(place in given for place in places) else f"{source}: "
        raise InputError(source + "; ".join(dict.fromkeys(problems))) from None


def _hint(tree: dict, wrong: str) -> str:
    """`did you mean training.epochs? `, or nothing."""
    method = named(tree.get("method", {}))
    close = keys_meant(wrong, method["name"] if isinstance(method, dict) else "")
    return f"did you mean {' or '.join(close)}? " if close else ""


def _known_keys(loc: tuple) -> list[str]:
    section = Experiment
    for part in _without_tag(loc):
        section = (
            SECTIONS[loc[1]] if section is Experiment and part == "method" else section.model_fields[part].annotation
        )
    return list(section.model_fields)


def _without_tag(loc: tuple) -> tuple:
    """The keys of a problem: behind "method" pydantic names the section, which no file does."""
    return (loc[0], *loc[2:]) if loc[:1] == ("method",) else loc


def flat(tree: dict, prefix: str = "") -> dict[str, object]:
    """Nested dict -> {"a.b": value}, the way overrides and MLflow params are written."""
    result = {}
    for key, value in tree.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result
