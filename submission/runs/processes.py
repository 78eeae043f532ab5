"""Processes of this project that another one starts: they end with it, and write a log."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from submission.installation import INSTALLED, ROOT

# From Linux's <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def start(
    module: str,
    arguments: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    locks: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts `python -m MODULE ARGUMENTS…`, which the kernel ends if this process is killed.

    Args:
        module: A module of this project.
        arguments: Its arguments.
        log: Gets the output, behind what is there.
        environment: Variables beside those of this process.
        locks: File descriptors that it keeps open: a lock on them lasts until it has ended too.

    Returns:
        The process. A Ctrl-C in the terminal does not reach it: `end` does that.
    """
    parent = os.getpid()
    return _start([module, *arguments], log, environment, locks, partial(end_with, parent))


def start_in_background(
    module: str,
    arguments: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    *,
    cpu_seconds: int,
    niceness: int,
) -> subprocess.Popen[bytes]:
    """Starts a module likewise, by `submission.runs.low_priority`.

    That module sees to it that it ends with this process: between fork and exec nothing of ours
    runs, which a process with as many threads as a trainer's could not bear.

    Args:
        module: A module of this project.
        arguments: Its arguments.
        log: Gets the output, behind what is there.
        environment: Variables beside those of this process.
        cpu_seconds: After so many the kernel kills it.
        niceness: What is added to this process's.

    Returns:
        The process. A Ctrl-C in the terminal does not reach it.
    """
    limits = (str(cpu_seconds), str(niceness))
    command = ["submission.runs.low_priority", *limits, module, *arguments]
    return _start(command, log, environment)


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks a process to end (SIGTERM) and waits until it has; training saves and exports first."""
    if process.poll() is None:
        process.terminate()
        process.wait()


def end_with(parent: int) -> None:
    """Has the kernel end this process when the one that started it does.

    Args:
        parent: The process ID of that one.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have been killed before the line above.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def search_path() -> str:
    """`PYTHONPATH` for a process of this project: this code, and then what is set.

    Where pip has installed this code every process finds it, and its folder must not be named: all
    that lies there would come before Python's own modules.
    """
    code = None if INSTALLED else str(ROOT)
    return os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH"))))


def last_line(log: Path, start: int = 0) -> str:
    """The last line that a process wrote, without the mark of a user's mistake.

    Args:
        log: Its log.
        start: Where in the log, in bytes, its output begins.

    Returns:
        The line; empty where it wrote nothing, or the log is gone.
    """
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    spoken = [line.strip() for line in lines if line.strip()]
    return spoken[-1].removeprefix("error: ") if spoken else ""


def _start(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    locks: Sequence[int] = (),
    before_exec: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": search_path(), **environment},
            process_group=0,
            pass_fds=locks,
            preexec_fn=before_exec,
        )
