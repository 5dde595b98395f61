"""What the documents name is there: tests, commands, files."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = {"reference.md": "tests/trainables", "security.md": "tests"}  # below which folder a page's tests lie
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
NAMED = sorted({(f"{below}/{file}", name) for page, below in PAGES.items()
                for file, name in TEST.findall((ROOT / "docs" / page).read_text())})  # fmt: skip


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_tests_that_prove_an_item_are_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_to_files_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target


def test_every_threat_has_its_test() -> None:
    rows = [line for line in (ROOT / "docs" / "security.md").read_text().splitlines() if line.startswith("| ")]
    assert len(rows) > 10 and all(TEST.search(row) for row in rows if not row.startswith(("| threat", "| **")))
