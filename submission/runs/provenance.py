"""Where numbers come from: the commit of the code, and versions of what it runs on."""

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from submission.installation import INSTALLED, ROOT, VERSION


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of those packages that are installed, by their names on PyPI."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision(root: Path = ROOT) -> str:
    """The commit of this code, with `-dirty` if the tree differs from it.

    Args:
        root: A folder of the checkout.

    Returns:
        The whole hash, whatever tags there are. Without a checkout it is what `GIT_REVISION` says,
        as in this project's image; else `unknown`. Where pip has installed it, `version` and its
        number.
    """
    if INSTALLED and root == ROOT:
        # A checkout that holds the environment is somebody else's.
        return f"version {VERSION}"
    describe = ("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    command = ["git", "-C", str(root), *describe]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GIT_REVISION", "unknown")
