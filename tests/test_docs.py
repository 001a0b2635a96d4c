"""What README and docs point at is there: linked files, jobs, their options, and the table of the page on tables."""

import re
import textwrap
from pathlib import Path

import pytest

from objadapt.tables.table import load_table

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("dashboards/**/*.md")])


def test_there_are_pages():
    assert {"README.md", "CONTRIBUTING.md", "clusters.md"} <= {page.name for page in PAGES}


def heading_ids(page: Path) -> set[str]:
    """Anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files_and_headings(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (heading and heading not in heading_ids(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_name_jobs_and_options_that_exist(page):
    text = page.read_text().replace("\\\n", " ")
    code = "".join(path.read_text() for root in ("jobs", "platform") for path in (REPOSITORY / root).rglob("*.py"))
    wrong = []
    for name, arguments in re.findall(r"python jobs/(\w+)\.py([^\n`]*)", text):
        script = REPOSITORY / "jobs" / f"{name}.py"
        if not script.exists():
            wrong.append(script.name)
            continue
        options = re.findall(r"\s(--[a-z][a-z-]*)", arguments.partition("#")[0])
        wrong += [f"{name}: {option}" for option in options if f'"{option}"' not in code]
        files = re.findall(r"(?:jobs/configs|search_spaces)/[\w./-]+\.yaml", arguments)
        files += [
            f"platform/{dotted.replace('.', '/')}.yaml"
            for dotted in re.findall(r"--(?:config|table|dataset) (objadapt_relatives[.\w]+)", arguments)
        ]
        wrong += [file for file in files if not (REPOSITORY / file).exists()]
    assert not wrong


def test_the_table_of_the_page_on_tables_is_one(tmp_path):
    page = (REPOSITORY / "docs" / "adding-a-table.md").read_text()
    block = next(block for block in re.findall(r"(?:^    .*\n)+", page, re.MULTILINE) if "caption:" in block)
    (tmp_path / "own.yaml").write_text(textwrap.dedent(block))
    table = load_table(str(tmp_path / "own.yaml"))
    assert [row.name for row in table.rows] == ["none", "distillation"] and len(table.parsed_claims()) == 2
