"""What makes two runs the same: the settings that differ from their defaults, and the sources of the method.

A setting at its default counts for nothing. So a new setting, whose default changes nothing, changes no identity. Of a
method from outside nobody records defaults: its settings count as source.

The method's version is a hash of the modules that the method imports, as syntax trees. Comments, docstrings, formatting
and the order of imports do not count. Neither do other methods, and sections of the config: those count by their
values.
"""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from .errors import InputError

# The first default of a setting whose default was changed later: key -> value. Finished runs stay what they were,
# since the first default is what counts for nothing, and the new one counts as a value of its own.
FORMER_DEFAULTS: dict[str, object] = {}

# Modules that a method imports and that do not decide what it computes.
NOT_COUNTED = {
    "objadapt",
    "objadapt.config",
    "objadapt.config_discovery",
    "objadapt.config_file",
    "objadapt.config_methods",
    "objadapt.config_peers",
    "objadapt.config_training",
    "objadapt.config_where",
    "objadapt.errors",
    "objadapt.evaluation.recognition",  # looks at what was computed
    "objadapt.files",
    "objadapt.stored_format",
    "objadapt.identity",
    "objadapt.torchvision_compat",
}
SETTINGS = "Section"  # base class of the config's sections
NAMED = 3  # modules at the most that are named as changed


def differing(section: BaseModel, left_out: frozenset[str], before: str = "") -> dict[str, object]:
    """Settings that are not at their default, by dotted key: `{"training.lr": 0.001}`.

    A section of another kind than the default one says its name:
    `{"method": "linear_probe", "method[linear_probe].width": 8}`.

    Args:
        left_out: dotted keys of settings, or of whole sections, that do not count.
        before: what the keys begin with.
    """
    found = {}
    for name, field in type(section).model_fields.items():
        key, value = before + name, getattr(section, name)
        if key in left_out:
            continue
        default = FORMER_DEFAULTS.get(key, field.get_default(call_default_factory=True))
        if isinstance(value, BaseModel):
            inside = f"{key}."
            if type(value) is not type(default):
                found[key], inside = value.name, f"{key}[{value.name}]."
            found |= differing(value, left_out, inside)
        elif value != default:
            found[key] = value
    return found


@cache
def method_sources(modules: tuple[str, ...]) -> dict[str, str]:
    """Module -> digest of each module that counts, as the files were when it was first asked for.

    Errors as of `digests`.

    Args:
        modules: the method's own and the training loop's, such as ("objadapt.methods.linear_probe",
            "objadapt.training.loop").
    """
    return digests(modules)


def method_version(modules: tuple[str, ...]) -> str:
    """12 hex digits of `method_sources`."""
    return version_of(method_sources(modules))


def version_of(sources: dict[str, str]) -> str:
    """12 hex digits of modules and their digests."""
    return _digest(sorted(sources.items()))


def changed(before: dict[str, str], now: dict[str, str]) -> str:
    """Which modules differ, in words: `model/slot_attention.py changed`; "" where none does."""
    words = {
        "changed": [name for name in before if name in now and before[name] != now[name]],
        "new": [name for name in now if name not in before],
        "no longer used": [name for name in before if name not in now],
    }
    said = []
    for word, names in words.items():
        files = [name.removeprefix("objadapt.").replace(".", "/") + ".py" for name in sorted(names)]
        more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
        if files:
            said.append(f"{', '.join(files[:NAMED])}{more} {word}")
    return "; ".join(said)


def digests(modules: tuple[str, ...], root: Path | None = None) -> dict[str, str]:
    """Module -> 12 hex digits of its syntax tree, for `modules` and all that they import.

    Imports are followed inside `objadapt` and inside the packages of `modules`, also those inside of functions. Of a
    module in no package they are followed in its folder, too, unless that is where packages are installed.

    Args:
        root: folder of the packages; None: where Python finds them.

    Raises:
        InputError: one of `modules` is not there, or a file is not Python.
    """
    packages = {"objadapt", *(name.partition(".")[0] for name in modules)}
    single = {
        _folder(name, root) for name in modules if "." not in name and (file := _file(name, root)) and _alone(file)
    }
    found, seen, waiting = {}, set(NOT_COUNTED), list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        file = _file(name, root)
        if file is None:
            raise InputError(f"method: no module {name}; put its folder on PYTHONPATH, or correct the name")
        tree = _parsed(file)
        imports = sorted(_imports(tree, name if file.name == "__init__.py" else name.rpartition(".")[0]))
        inside = name.partition(".")[0] == "objadapt"
        body = [shape for node in tree.body if (shape := _shape(node, inside)) is not None]
        if body or not any(_is_settings(node) for node in tree.body):
            found[name] = _digest([imports, body])
        for origin, attribute, _ in imports:
            top = origin.partition(".")[0]
            if top in packages or single and _folder(top, root) in single:
                waiting += _modules(origin, attribute, root)
    return found


def _modules(origin: str, attribute: str, root: Path | None) -> list[str]:
    """What `from origin import attribute` is a reason to read: a module of a package, or else the origin itself."""
    inside = f"{origin}.{attribute}"
    if attribute and _file(inside, root):
        return [inside]
    return [origin] if _file(origin, root) else []


def _file(module: str, root: Path | None) -> Path | None:
    """The source of a module or of a package's `__init__`; None where there is none."""
    parts = module.split(".")
    if (folder := _folder(parts[0], root)) is None:
        return None
    path = folder.joinpath(*parts)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _folder(top: str, root: Path | None) -> Path | None:
    """Where a module or package that lies in no other one is; None: nowhere, or not in a file."""
    if root is not None:
        return root
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # `__main__`
        return None
    if spec is None or not (spec.origin or spec.submodule_search_locations):
        return None
    places = list(spec.submodule_search_locations or ())
    return Path(places[0] if places else spec.origin).absolute().parent


def _alone(file: Path) -> bool:
    """Whether it is a module of one's own in no package: not an `__init__`, and not where packages are installed."""
    return file.name != "__init__.py" and not {"site-packages", "dist-packages"} & set(file.parts)


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"method: {file} is no Python that can be read ({error}); correct it") from None


def _imports(node: ast.AST, package: str) -> Iterator[tuple[str, str, str]]:
    """(module, attribute or "", name here or "") of all imports below a node but those for type checkers,
    made absolute.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((one.name, "", one.asname or "") for one in child.names)
        elif isinstance(child, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - child.level + 1] if child.level else []
            origin = ".".join([*above, *([child.module] if child.module else [])])
            yield from ((origin, one.name, one.asname or "") for one in child.names)
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            yield from _imports(child, package)


def _is_settings(node: ast.AST) -> bool:
    """Whether it is a section of the config; the values of its fields count instead (`differing`)."""
    names = (base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", None) for base in _bases(node))
    return SETTINGS in names


def _bases(node: ast.AST) -> list[ast.expr]:
    return node.bases if isinstance(node, ast.ClassDef) else []


def _shape(node: object, inside: bool = False) -> object:
    """A syntax tree as lists and texts, the same for every version of Python; None for a statement that does not count.

    `ast.dump` is no measure: each version of Python lists other empty fields.

    Args:
        inside: whether it is of objadapt itself, whose settings count by their values.
    """
    if isinstance(node, ast.Import | ast.ImportFrom) or (inside and _is_settings(node)):
        return None
    if isinstance(node, ast.keyword) and node.arg == "description":  # of a setting
        return None
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return None  # a docstring
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []) and name != "kind")
        return [type(node).__name__, *([name, _shape(value, inside)] for name, value in fields)]
    if isinstance(node, list):
        return [shape for one in node if (shape := _shape(one, inside)) is not None]
    return repr(node)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
