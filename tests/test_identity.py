"""What a run's identity follows: settings that are not at their default, and the modules that the method imports."""

import json
import os
import shutil
from pathlib import Path
from typing import Literal, get_args

import pytest
from pydantic import BaseModel, create_model

from objadapt import config, identity
from objadapt.config import Experiment, Section
from objadapt.errors import InputError
from objadapt.identity import changed, differing, digests, method_version, version_of

PLATFORM = Path(identity.__file__).parents[1]
RECORDED = Path(__file__).with_name("recorded_defaults.json")

METHOD = ("objadapt.methods.object_centric.adapter", "objadapt.training.loop")


def sections(annotation: object) -> list[type[BaseModel]]:
    """The sections that a field may hold: one, several of a union, or none."""
    kinds = [annotation] if isinstance(annotation, type) else get_args(annotation)
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def defaults(section: type[BaseModel], before: str = "") -> dict[str, object]:
    """Every setting that counts and its first default, by dotted key."""
    found = {}
    for name, field in section.model_fields.items():
        key, kinds = before + name, sections(field.annotation)
        if key in config.NOT_COUNTED:
            continue
        usual = field.get_default(call_default_factory=True)
        for kind in kinds:
            inside = "" if isinstance(usual, kind) else f"[{kind.model_fields['name'].default}]"
            found |= defaults(kind, f"{key}{inside}.")
        if not kinds:
            found[key] = "(required)" if field.is_required() else identity.FORMER_DEFAULTS.get(key, usual)
    return found


def test_the_defaults_are_those_that_were_recorded():
    """A setting at its default is not in the hash, so a default that changes would pass old results off as new ones."""
    now = json.loads(json.dumps(defaults(Experiment)))
    if os.environ.get("OBJADAPT_RECORD"):
        RECORDED.write_text(json.dumps(now, indent=1) + "\n")
    recorded = json.loads(RECORDED.read_text())
    other = {key: (recorded[key], now[key]) for key in recorded if key in now and recorded[key] != now[key]}
    assert not other, (
        f"defaults changed (recorded, now): {other}. If that is meant, keep the recorded value as the one that counts"
        " for"
        " nothing: add `key: recorded value` to FORMER_DEFAULTS in platform/objadapt/identity.py. Record nothing anew."
    )
    assert recorded.keys() == now.keys(), (
        f"settings came or went: {sorted(recorded.keys() ^ now.keys())}. The default of a new one must compute what was"
        " computed before it. A renamed one makes all runs that set it stale. If both are meant, record the listing:"
        " OBJADAPT_RECORD=1 .venv/bin/python -m pytest tests/test_identity.py -k recorded"
    )


def test_a_new_setting_with_a_default_changes_no_identity():
    wider = create_model("Wider", __base__=config.Training, new=(float, 0.5))
    new = create_model("New", __base__=Experiment, training=(wider, wider()), extra=(int, 3))
    assert new().content_hash() == Experiment().content_hash()
    assert new(training=wider(lr=0.5)).content_hash() == Experiment(training=config.Training(lr=0.5)).content_hash()
    changes = new(extra=4), new(training=wider(new=0.1))
    assert len({one.content_hash() for one in changes} | {new().content_hash()}) == 3


def test_a_default_that_is_changed_on_purpose_leaves_finished_runs_what_they_were(monkeypatch):
    """Both those that were left at the default of then, and those that set what is the default now."""
    then, set_then = Experiment().content_hash(), Experiment(seed=5).content_hash()
    later = create_model("Later", __base__=Experiment, seed=(int, 5))
    assert later().content_hash() == then, "without the former default, a run of seed 0 would pass for one of seed 5"
    monkeypatch.setitem(identity.FORMER_DEFAULTS, "seed", 0)
    assert later(seed=0).content_hash() == then and later().content_hash() == set_then


class Slots(Section):
    name: Literal["slots"] = "slots"
    width: int = 8


class Probe(Section):
    name: Literal["probe"] = "probe"
    width: int = 16


class Trained(Section):
    method: Slots | Probe = Slots()


def test_methods_of_one_union_are_told_apart_and_settings_of_one_name_too():
    def of(method):
        return differing(Trained(method=method), frozenset())

    assert of(Slots()) == {} and of(Slots(width=9)) == {"method.width": 9}
    assert of(Probe()) == {"method": "probe"}, "its defaults are its own"
    assert of(Probe(width=8)) == {"method": "probe", "method[probe].width": 8}
    assert defaults(Trained)["method[probe].width"] == 16 and defaults(Trained)["method.width"] == 8


@pytest.fixture
def sources(tmp_path) -> Path:
    """A folder with a copy of the package's sources; its method is `METHOD`."""
    shutil.copytree(
        PLATFORM / "objadapt", tmp_path / "objadapt", ignore=shutil.ignore_patterns("__pycache__", "small_clip")
    )
    return tmp_path


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{file.name} no longer holds {old!r}: choose another line for this test"
    file.write_text(text.replace(old, new))


def file_of(sources: Path, module: str) -> Path:
    return sources.joinpath(*module.split(".")).with_suffix(".py")


def module(ending: str) -> str:
    """The counted module of today's method whose name ends so."""
    (name,) = [name for name in digests(METHOD) if name.endswith(ending)]
    return name


def test_the_modules_of_the_method_are_all_that_it_computes_with_and_no_others():
    found = {name.rpartition(".")[2] for name in digests(METHOD)}
    assert {"adapter", "slot_attention", "interaction", "distillation", "temporal", "classification", "loop"} <= found
    assert not found & {"config", "config_where", "errors", "recognition", "trainer", "worker", "run", "identity"}
    assert method_version(METHOD) == version_of(digests(METHOD)) == version_of(digests(METHOD, PLATFORM))


def test_comments_docstrings_formatting_and_the_order_of_imports_do_not_count(sources):
    before = digests(METHOD, sources)
    for name in before:
        file = file_of(sources, name)
        text = file.read_text()
        body = text.replace("\n\n\n", "\n\n\n\n# a comment\n").replace("(\n", "(  # another\n\n")
        file.write_text(f'"""Another docstring."""\n{body.partition(chr(34) * 3)[2].partition(chr(34) * 3)[2]}')
    slots = file_of(sources, module("slot_attention"))
    slots.write_text(slots.read_text().replace('    """', '    """Said anew: ', 1))
    edit(
        slots,
        "import torch\nfrom torch import Tensor, nn",
        "from torch import (\n    nn,\n    Tensor,\n)\nimport torch",
    )
    assert digests(METHOD, sources) == before


def test_a_changed_formula_counts_and_its_module_is_named(sources):
    before = digests(METHOD, sources)
    name = module("slot_attention")
    edit(file_of(sources, name), "dim=", "dim=0 + ")
    now = digests(METHOD, sources)
    assert version_of(now) != version_of(before) and {one for one in now if now[one] != before[one]} == {name}
    assert changed(before, now).endswith("/slot_attention.py changed")
    assert changed(before, before) == ""


def test_another_methods_file_and_what_does_not_compute_do_not_count(sources):
    before = digests(METHOD, sources)
    folder = file_of(sources, module("slot_attention")).parent
    (folder / "another_method.py").write_text("from .slot_attention import SlotAttention\nWIDTH = 3\n")
    for name in ("objadapt.errors", "objadapt.config", "objadapt.evaluation.recognition", "objadapt.training.worker"):
        file_of(sources, name).write_text("changed = 1\n")
    assert digests(METHOD, sources) == before


def test_a_module_of_a_subfolder_counts_as_soon_as_it_is_imported(sources):
    before = digests(METHOD, sources)
    file = file_of(sources, module("slot_attention"))
    inside = file.parent / "deeper" / "still"
    inside.mkdir(parents=True)
    (inside / "formula.py").write_text("def scale(x):\n    from ..constants import TWO\n    return TWO * x\n")
    (inside.parent / "constants.py").write_text("TWO = 2\n")
    assert digests(METHOD, sources) == before
    file.write_text(file.read_text() + "\nfrom .deeper.still.formula import scale\n")
    now = digests(METHOD, sources)
    assert {name.rpartition(".")[2] for name in now.keys() - before.keys()} == {"formula", "constants"}
    assert "/slot_attention.py changed" in changed(before, now) and "/deeper/still/formula.py new" in changed(
        before, now
    )
    (inside.parent / "constants.py").write_text("TWO = 2.0\n")
    assert changed(now, digests(METHOD, sources)).endswith("/deeper/constants.py changed")


def test_a_section_of_the_config_beside_the_method_counts_by_its_values_alone(sources):
    file = file_of(sources, module("slot_attention"))
    own = "\n\nclass Settings(Section):\n    width: int = 8\n"
    (file.parent / "section.py").write_text(f"from typing import Literal\nfrom ..config_where import Section{own}")
    file.write_text(file.read_text() + "\nfrom .section import Settings\n")
    before = digests(METHOD, sources)
    assert "section" not in {name.rpartition(".")[2] for name in before}
    edit(file.parent / "section.py", "width: int = 8", 'width: int = 8\n    kind: Literal["a"] = "a"')
    file.write_text(file.read_text() + own)
    assert digests(METHOD, sources) == before


def test_settings_of_a_method_from_outside_count_as_source_but_for_descriptions(sources):
    """Nobody records their defaults: a changed one gave old results out as new ones."""
    file = sources / "own.py"
    own = (
        "from objadapt.config import Section\nclass Settings(Section):\n    interval: int = Field(1, description='a')\n"
        "    @property\n    def scale(self):\n        return 1.0\n"
    )
    file.write_text(own)
    before = digests(("own",), sources)["own"]
    for old, new, counts in (("Field(1,", "Field(7,", True), ("1.0", "5.0", True), ("'a'", "'another'", False)):
        file.write_text(own.replace(old, new))
        assert (digests(("own",), sources)["own"] != before) == counts, old


def test_a_method_from_outside_is_followed_in_its_package_and_into_objadapt(sources, monkeypatch):
    package = sources / "my_package"
    (package / "parts").mkdir(parents=True)
    for file in (package / "__init__.py", package / "parts" / "__init__.py"):
        file.write_text("")
    (package / "parts" / "head.py").write_text("import numpy\nWIDTH = 3\n")
    slots = module("slot_attention")
    (package / "my_method.py").write_text(
        f"import my_package.parts.head\nfrom . import other\nfrom {slots} import SlotAttention\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .unused import Name\n"
    )
    (package / "other.py").write_text("X = 1\n")
    (package / "unused.py").write_text("X = 1\n")
    found = digests(("my_package.my_method",), sources)
    method = "objadapt.methods.method"
    assert found.keys() == {"my_package.my_method", "my_package.parts.head", "my_package.other", slots, method}
    monkeypatch.syspath_prepend(str(sources / "my_package"))
    monkeypatch.syspath_prepend(str(sources))
    assert digests(("my_package.my_method",))["my_package.other"] == found["my_package.other"], (
        "found as Python finds it"
    )
    assert digests(("other",)).keys() == {"other"}, "a single file"


def test_a_single_file_is_followed_into_what_lies_beside_it_and_no_further(tmp_path, monkeypatch):
    folder, installed = tmp_path / "mine", tmp_path / "lib" / "site-packages"
    for place in (folder / "parts_beside", installed):
        place.mkdir(parents=True)
    (folder / "own_single.py").write_text(
        "import json, torch, __main__, installed_one\nfrom helper_beside import f\nimport parts_beside.head\n"
    )
    (folder / "helper_beside.py").write_text("def f(x):\n    import deeper_beside\n    return deeper_beside.TWO * x\n")
    (folder / "deeper_beside.py").write_text("TWO = 2\n")
    (folder / "unused_beside.py").write_text("X = 1\n")
    (folder / "parts_beside" / "head.py").write_text("X = 1\n")
    (installed / "installed_one.py").write_text("import installed_two\n")
    (installed / "installed_two.py").write_text("X = 1\n")
    for place in (installed, folder):
        monkeypatch.syspath_prepend(place)
    before = digests(("own_single",))
    assert before.keys() == {"own_single", "helper_beside", "deeper_beside", "parts_beside.head"}
    (folder / "deeper_beside.py").write_text("TWO = 3\n")
    assert changed(before, digests(("own_single",))) == "deeper_beside.py changed"
    assert digests(("installed_one",)).keys() == {"installed_one"}, (
        "whatever else is installed has nothing to do with it"
    )


def test_a_module_that_is_absent_or_no_python_is_one_line(sources):
    with pytest.raises(InputError, match="method: no module nowhere.at_all; put its folder on PYTHONPATH"):
        digests(("nowhere.at_all",))
    (sources / "broken.py").write_text("def f(:\n")
    with pytest.raises(InputError, match=r"broken\.py is no Python that can be read"):
        digests(("broken",), sources)


def test_numbers_of_another_kind_and_arguments_without_a_default_count(tmp_path):
    """What a shape must not lose: 1 is not 1.0, and `{**a}` is not `{a}`."""
    texts = [
        "x = 1",
        "x = 1.0",
        "x = True",
        "x = '1'",
        "x = None",
        "def f(*, a, b=1): 0",
        "def f(*, a=1, b): 0",
        "x = {**a}",
    ]
    found = set()
    for text in [*texts, "x = {a: a}", "x: int = 1", "x = a if b else c", "x = a if c else b"]:
        (tmp_path / "one.py").write_text(text)
        found.add(digests(("one",), tmp_path)["one"])
    assert len(found) == len(texts) + 4
