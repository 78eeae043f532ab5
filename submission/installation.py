"""Where this code lies, a checkout or the folder that pip installed it to, and what belongs to it.

A wheel holds `gin/` inside this package (`pyproject.toml`), where it can't stand for the library
of that name, as it would beside the packages.
"""

# Read by any Python 3, as `submission.packages` is.
from __future__ import annotations

import sys
from pathlib import Path

NAME = "disentanglement-challenge"
VERSION = "0.1.0"

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds the packages."""

_IN_A_WHEEL = Path(__file__).resolve().parent / "gin"

INSTALLED = _IN_A_WHEEL.is_dir()
"""Whether this is no checkout: there is then no `run.sh`, `docker/` or `.venv`."""

GIN_FOLDER = _IN_A_WHEEL if INSTALLED else ROOT / "gin"

# The extra of pyproject.toml that brings a module with all that goes with it.
_EXTRAS = {
    "disentanglement_lib": "reference",
    "jinja2": "report",
    "matplotlib": "report",
    "optuna": "study",
    "ray": "study",
    "tensorboardX": "train",
    "tensorflow": "reference",
}

# The package of a module that has another name: a package `sklearn` exists, and is none.
_PACKAGES = {"sklearn": "scikit-learn"}


def how_to_get(module: str) -> str:
    """How to get a module that is missing, as the end of a sentence.

    Args:
        module: Its name, without what lies below it.
    """
    extra = _EXTRAS.get(module)
    if not INSTALLED and extra == "study":
        return f"{sys.executable} -m pip install --requirement {ROOT / 'requirements-study.txt'}"
    if not INSTALLED:
        return (
            "run ./run.sh (without AICROWD_IS_GRADING), which sets up .venv, or use "
            ".venv/bin/python"
        )
    package = _PACKAGES.get(module, module) if extra is None else f'"{NAME}[{extra}]"'
    return f"pip install {package}"
