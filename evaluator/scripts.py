"""The commands that pip installs."""

import os
import sys
from typing import NoReturn


def score() -> NoReturn:
    """`disentanglement-score`: `python -m evaluator`."""
    _become("evaluator")


def compare() -> NoReturn:
    """`disentanglement-compare`: `python -m evaluator.compare`."""
    _become("evaluator.compare")


def _become(module: str) -> NoReturn:
    # Else what `python -m` sees to while it looks for the module, signals above all, isn't done.
    # -P since a command, unlike `python -m`, imports nothing from the current folder.
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *sys.argv[1:]])
