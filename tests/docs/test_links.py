"""What the documents point at is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(ROOT.glob("docs/**/*.html"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# The names that CONTRIBUTING.md gives to what is yet to be added.
TO_BE_ADDED = {
    "submission/datasets/squares.py",
    "evaluator/metrics/gap.py",
    "gin/tc_vae.gin",
    "gin/evaluation/gap.gin",
}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(document):
    text = document.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    named = re.findall(r"`((?:submission|evaluator|study|docker|tests|gin|docs)/[\w/.]+)`", text)
    missing = [link for link in links if not (document.parent / link).exists()]
    missing += [path for path in named if not (ROOT / path).exists() and path not in TO_BE_ADDED]
    assert not missing


def test_a_page_links_to_files_beside_it_and_to_places_that_are_there():
    assert PAGES
    ids = {path: set(re.findall(r'\bid="([^"]+)"', path.read_text())) for path in PAGES}
    missing = []
    for page in PAGES:
        for link in set(re.findall(r'<a href="([^"]+)"', page.read_text())):
            name, _, place = link.partition("#")
            path = (page.parent / name).resolve() if name else page
            if not path.is_file() or (place and place not in ids[path]):
                missing.append(f"{page.name}: {link}")
    assert not missing
