"""The button beside a page's provenance, pressed as a reader presses it."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evaluator.report.page import write_report
from submission.datasets import Dataset
from tests.browser import launched, needs_chromium

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = needs_chromium


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "training").mkdir()
    record = {"method": "vae", "dataset": "tiny", "seed": 3, "gin_config": "vae.beta = 1\n"}
    (folder / "training/run.json").write_text(json.dumps(record))
    return write_report(folder, Dataset("tiny", np.zeros((2, 8, 8, 3), np.uint8), (), (), ()))


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with launched(sync_api) as browser:
        yield browser


def pressed(tab: sync_api.Page, page: Path) -> None:
    tab.goto(page.as_uri())
    tab.get_by_role("button", name="Copy all of it").press("Enter")


def test_provenance_is_copied_a_line_a_row(browser: sync_api.Browser, page: Path) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    pressed(tab, page)
    tab.get_by_text("Copied.").wait_for()
    lines = tab.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[0] == "./run.sh --method vae --dataset tiny --seed 3"
    assert {"method: vae", "seed: 3", "vae.beta = 1"} <= set(lines)


def test_where_the_browser_refuses_the_clipboard_it_is_selected(
    browser: sync_api.Browser, page: Path
) -> None:
    tab = browser.new_page()
    tab.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    pressed(tab, page)
    tab.get_by_text("Selected: copy it by the keyboard.").wait_for()
    assert "vae.beta = 1" in tab.evaluate("getSelection().toString()")
