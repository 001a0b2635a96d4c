"""The method that docs/adding-a-method.md shows trains, is named in its run,
and its source counts in the run's identity.
"""

import json
import re
import sys
from pathlib import Path

import pytest

from objadapt.identity import method_sources

DOCS = Path(__file__).resolve().parents[2] / "docs" / "adding-a-method.md"
MODULE = "example_of_docs.my_method"  # the docs' my_package may be somebody's own


@pytest.fixture
def example(tmp_path, monkeypatch) -> Path:
    """The docs' file in a package of the folder where commands are given."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    file = tmp_path / "example_of_docs" / "my_method.py"
    file.parent.mkdir()
    file.write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield file
    for name in ("example_of_docs", MODULE):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_it_trains_and_is_named_in_its_run(run_job, tiny_config, example, tmp_path):
    common = [f"method.module={MODULE}", f"output={tmp_path / 'outputs'}", "tracking.uri=null"]
    done = run_job(
        "train", "--config", tiny_config, "--json", tmp_path / "s.json", *common, "method.settings.interval=2"
    )
    assert done.code == 0, done.err
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["method"] == MODULE and summary["tunable_parameters"] == 64 * 16 + 16
    refused = run_job("train", "--config", tiny_config, *common, "method.settings.intervall=2")
    assert refused.code == 2 and "method.settings.intervall" in refused.err.splitlines()[-1]


def test_its_source_counts_in_the_identity(tiny_plan, example):
    def identity() -> str:
        method_sources.cache_clear()
        return tiny_plan(f"method.module={MODULE}").identity

    before, code = identity(), example.read_text()
    example.write_text(code.replace("# [B, J]", "# what changes"))
    assert identity() == before
    example.write_text(code.replace(".abs()", ".square()"))
    assert identity() != before
