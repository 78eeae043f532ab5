"""Whose a container, a volume or a temporary folder is, and removing those of dead processes.

`kill -9` lets no process clean up after itself: the next one does it.
"""

import contextlib
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import docker
from docker.errors import APIError

from submission.installation import ROOT
from submission.runs.files import TEMPORARY_PREFIX

LABEL = "disentanglement.owner"
SCRATCH = ROOT / "scratch"
_PREFIX = f"{TEMPORARY_PREFIX}portal-"


def owner(pid: int | None = None) -> str:
    """Names a process of this machine's for good: `HOST-BOOT-PID-START`.

    A number alone is given to another process sooner or later.

    Args:
        pid: The process; None for this one.

    Raises:
        OSError: There is no such process.
    """
    pid = os.getpid() if pid is None else pid
    # After the command's name, which may hold anything but ends at the last parenthesis: proc(5).
    state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if state in "ZX":
        raise ProcessLookupError(f"process {pid} has ended")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    return f"{_host()}-{boot}-{pid}-{fields[18]}"


def is_dead(name: str) -> bool:
    """Whether an owner was a process of this machine's and has ended; False where none can tell."""
    host, _, rest = name.partition("-")
    pid = rest.split("-")[1:2]
    if host != _host() or not pid or not pid[0].isdigit():
        return False
    try:
        return owner(int(pid[0])) != name
    except PermissionError:
        return False
    except FileNotFoundError:
        return not _runs_hidden(int(pid[0]))
    except ProcessLookupError:
        return True


@contextlib.contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """Makes a folder of this process's, and removes it at the end.

    Args:
        parent: Where; None for the system's folder of temporary files.
    """
    prefix = f"{_PREFIX}{owner()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as folder:
        yield Path(folder)


def sweep(client: docker.DockerClient, folders: Sequence[Path]) -> None:
    """Removes what processes that were killed have left.

    Args:
        client: The engine.
        folders: Where else they may have made temporary folders.
    """
    ours = {"label": LABEL}
    for container in client.containers.list(all=True, filters=ours, ignore_removed=True):
        if is_dead(container.labels[LABEL]):
            # Another one may be sweeping too.
            with contextlib.suppress(APIError):
                container.remove(force=True)
    for volume in client.volumes.list(filters=ours):
        if is_dead(volume.attrs["Labels"][LABEL]):
            with contextlib.suppress(APIError):
                volume.remove(force=True)
    for folder in (Path(tempfile.gettempdir()), SCRATCH, *folders):
        for left in folder.glob(f"{_PREFIX}*"):
            if is_dead(left.name.removeprefix(_PREFIX).rpartition("-")[0]):
                shutil.rmtree(left, ignore_errors=True)


def _runs_hidden(pid: int) -> bool:
    """Whether there is a process that /proc doesn't show, as with `hidepid` another user's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def _host() -> str:
    """This machine and this process's view of its processes; no two of a cluster have the same."""
    machine = Path("/etc/machine-id")
    known = machine.read_text() if machine.exists() else ""
    parts = (socket.gethostname(), known, os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
