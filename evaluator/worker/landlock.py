"""Landlock: a process gives up, for good, every file and connection that it doesn't name.

No root and no package is needed, but a kernel with Landlock, from 5.13 on. See landlock(7).
"""

import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

# Equal on all machines, as all system calls that are as new.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _IOCTL_DEV = 1 << 1, 1 << 2, 1 << 3, 1 << 15
# What each version can forbid of files: REFER since 2, TRUNCATE since 3, IOCTL_DEV since 5.
_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
# TCP: bind and connect.
_NETWORK = {4: 0b11}
# Beyond this process: abstract Unix sockets, signals.
_SCOPES = {6: 0b11}

_LIBC = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """The kernel's version of Landlock; 0 where there is none, or it is switched off."""
    return max(0, _LIBC.syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION))


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Restricts this thread, and those that it will start, for good.

    Args:
        readable: What may be read, folders with all that is below them. One that isn't there is
            left out.
        writable: Devices that may be written and controlled too.

    Raises:
        OSError: The kernel refuses.
    """
    known = version()
    files = _of(_FILES, known)
    handled = (ctypes.c_uint64 * 3)(files, _of(_NETWORK, known), _of(_SCOPES, known))
    size = 8 if known < 4 else 16 if known < 6 else 24
    ruleset = _call(_CREATE_RULESET, handled, size, 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        for path in writable:
            _allow(ruleset, path, (_READ_FILE | _READ_DIR | _WRITE_FILE | _IOCTL_DEV) & files)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= ~_READ_DIR
        # struct landlock_path_beneath_attr, packed: u64 and s32.
        beneath = rights.to_bytes(8, "little") + descriptor.to_bytes(4, "little")
        _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, beneath, 0)
    finally:
        os.close(descriptor)


def _of(rights: dict[int, int], known: int) -> int:
    return max((right for since, right in rights.items() if since <= known), default=0)


def _call(number: int, *arguments: object) -> int:
    result = _LIBC.syscall(number, *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock is refused: {os.strerror(error)}")
    return result
