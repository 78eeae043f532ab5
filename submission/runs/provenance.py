"""Where numbers come from: the commit of the code, and versions of what it runs on."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = ("torch", "numpy", "gin-config", "h5py", "tensorboardX")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that training depends on."""
    return {"python": platform.python_version()} | {
        package: metadata.version(package) for package in _PACKAGES
    }


def git_revision() -> str:
    """The commit of this code, with `+changes` if the tree differs from it.

    Without a checkout it is what `GIT_REVISION` says, as in this project's image; else `unknown`.
    """
    root = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+changes"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GIT_REVISION", "unknown")
