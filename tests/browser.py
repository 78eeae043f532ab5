"""Chromium, as the tests of pages start it."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def browse(
    page: Path, profile: Path, *flags: str, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Opens a page without a window, and ends when it has done what the flags say."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True)


@contextmanager
def launched(sync_api: Any) -> Iterator[Any]:
    """A browser that Playwright drives; `sync_api` is `playwright.sync_api`."""
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=120_000)
