import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest

from submission.runs.provenance import git_revision, versions


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_revision_is_the_hash_of_the_commit_under_an_annotated_tag_too(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("one")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    git(tmp_path, "tag", "-a", "v1.0", "-m", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_revision(tmp_path) == commit
    (tmp_path / "code.py").write_text("two")
    assert git_revision(tmp_path) == f"{commit}-dirty"


def test_without_a_checkout_the_environment_tells_the_revision(tmp_path, monkeypatch):
    # Even if a checkout holds the folder of temporary files.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("GIT_REVISION", raising=False)
    assert git_revision(tmp_path) == "unknown"
    monkeypatch.setenv("GIT_REVISION", "0123abcd")
    assert git_revision(tmp_path) == "0123abcd"


@pytest.mark.parametrize("packages", [("numpy",), ("numpy", "no-such-package-on-this-disk")])
def test_versions_are_those_of_what_is_installed(packages):
    assert versions(packages) == {"python": platform.python_version(), "numpy": np.__version__}
