"""Starts a Python process as a worker is started, once behind each wall."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from evaluator.worker import confinement, landlock
from evaluator.worker.confinement import BUBBLEWRAP, LANDLOCK, NOWHERE
from submission.runs.processes import search_path


def run(
    code: str,
    *arguments: str,
    wall: str = LANDLOCK,
    readable: Sequence[Path] = (),
    descriptors: Sequence[int] = (),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """What it prints."""
    command = [sys.executable, "-c", code, *arguments]
    if wall == BUBBLEWRAP:
        command = confinement.bubblewrap(command, readable)
    done = subprocess.run(
        command,
        env={"PYTHONPATH": search_path(), "HOME": NOWHERE, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        pass_fds=descriptors,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def missing(wall: str) -> str | None:
    """Why this machine lacks a wall; None if it has it."""
    if wall == LANDLOCK and landlock.version() == 0:
        return "this kernel has no Landlock"
    if wall == BUBBLEWRAP and not confinement.bubblewrap_works():
        return "bubblewrap is not installed, or may not be used"
    return None
