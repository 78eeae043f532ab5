"""Locks between processes: on an open file, until it is closed or its process is gone."""

import fcntl
from pathlib import Path
from typing import IO

from submission.errors import disk_errors_told


def open_lock(path: Path, held: Path, remedy: str) -> IO[str]:
    """Opens a file that is only there to be locked; missing folders are made.

    Args:
        path: The file.
        held: The folder that it stands for, which an error names.
        remedy: What to do about a disk where it can't be made.

    Returns:
        The file, not locked yet.

    Raises:
        UserError: It can't be made there.
    """
    with disk_errors_told(held, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w")


def lock(file: IO[str] | int, wait: bool = False) -> bool:
    """Locks an open file, against whoever else has opened it.

    Processes that inherit the descriptor hold the lock as well.

    Args:
        file: The file, or its descriptor.
        wait: Whether to wait for another process that has it.

    Returns:
        Whether it is locked now; False if another process has it.

    Raises:
        OSError: Its file system knows no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
