"""Commands of a Python without the packages: `-S` leaves out what .venv holds."""

import functools
import subprocess
import sys
from pathlib import Path

import gin
import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    ["-m", "submission"],
    ["-m", "submission.datasets", "list"],
    ["-m", "evaluator", "folder"],
    ["-m", "evaluator.udr", "one", "two"],
    ["-m", "study", "run"],
    ["docker/portal.py", "build"],
]


def run(*command: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_told(result: subprocess.CompletedProcess, package: str) -> None:
    assert result.returncode == 2, result.stderr
    assert result.stderr == (
        f"error: {sys.executable} has no package {package}: run ./run.sh (without "
        "AICROWD_IS_GRADING), which sets up .venv, or use .venv/bin/python\n"
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_missing_packages_are_one_line(command):
    """The folder gin/ must not pass for the library."""
    assert_told(run("-S", *command), "gin")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_package_that_is_missing_is_named(command, tmp_path):
    (tmp_path / "gin").symlink_to(Path(str(gin.__file__)).parent)
    result = run("-S", *command, PYTHONPATH=str(tmp_path))
    lacking = {"docker/portal.py": "docker", "evaluator": "rich"}
    assert_told(result, next((lacking[w] for w in command if w in lacking), "numpy"))


def test_grading_mode_tells_it_too(tmp_path):
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    (tmp_path / "python").chmod(0o755)
    result = subprocess.run(
        ["/bin/bash", "run.sh"],
        cwd=ROOT,
        env={"AICROWD_IS_GRADING": "1", "PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert_told(result, "gin")


@functools.cache
def old_python() -> str | None:
    """A Python before 3.11 that runs; pyenv's shims may be there without one."""
    versions = (Path.home() / ".pyenv" / "versions").glob("3.[789].*/bin/python3")
    for candidate in ("python3.10", "python3.9", *map(str, versions)):
        try:
            subprocess.run([candidate, "-c", ""], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    return None


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_python_too_old_is_told_so(command):
    python = old_python()
    if python is None:
        pytest.skip("no Python before 3.11 is here")
    result = subprocess.run(
        [python, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1
    assert "3.11, 3.12 or 3.13 is needed" in result.stderr
