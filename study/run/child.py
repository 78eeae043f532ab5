"""Processes that this one starts, and that end with it."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]

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
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path, **environment},
            process_group=0,
            pass_fds=locks,
            preexec_fn=partial(_end_with, os.getpid()),
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks a process to end (SIGTERM) and waits until it has; training saves and exports first."""
    if process.poll() is None:
        process.terminate()
        process.wait()


def last_line(log: Path) -> str:
    """The last line that a process wrote, without the mark of a user's mistake."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "it said nothing"


def _end_with(parent: int) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have been killed before the line above.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
