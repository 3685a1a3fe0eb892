"""Documents say what the program and the records say."""

import re
from pathlib import Path

from tools.make_docs import ROOT, generated


def test_generated_parts_are_up_to_date():
    for path, text in generated().items():
        assert path.read_text() == text, f"{path.name}: run python tools/make_docs.py"


def test_links_between_documents_lead_somewhere():
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document}: {target}"


def test_no_file_is_longer_than_400_lines():
    for folder in ("sel_edge", "tools", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(Path(path).read_text().splitlines()) <= 400, path
