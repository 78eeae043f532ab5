"""Mistakes a user can mend, told in one line."""

import contextlib
import difflib
import errno
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from submission.installation import how_to_get

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNUSABLE = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
# What is still free on a disk that is full.
_FEW_BYTES = 2**20


class UserError(Exception):
    """A mistake that the user can mend; the message names the file or setting and what is right."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest valid one, or all of them if none is near.

    Example:
        >>> nearest("beta_tvae", ["beta_tcvae", "factor_vae"])
        'did you mean beta_tcvae?'
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(names)}"


def what_is_missing(what: str, *modules: str) -> str | None:
    """One line where a package isn't installed that something needs; None where all are.

    Args:
        what: What needs them, as the line's beginning.
        modules: What it imports.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            return f"{what} needs {module}, which {sys.executable} lacks: {how_to_get(module)}"
    return None


def require_packages(what: str, *modules: str) -> None:
    """Refuses what needs a package that isn't installed.

    Args:
        what: What needs them, as the line's beginning.
        modules: What it imports.

    Raises:
        UserError: One is missing; the line says how to get it.
    """
    line = what_is_missing(what, *modules)
    if line is not None:
        raise UserError(line)


@contextlib.contextmanager
def disk_errors_told(
    written: object = None, remedy: str = "choose a folder of yours"
) -> Iterator[None]:
    """Tells in one line of a disk that is full, read-only or another user's.

    Args:
        written: What is written here; without it, the error has to name its file.
        remedy: What to do about a folder that is read-only or another user's.

    Raises:
        UserError: In place of such an `OSError`. Any other is raised as it is.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            # Of a copy, the second is what was written.
            path = written or error.filename2 or error.filename
            raise UserError(no_room(path)) from error
        if error.errno == errno.ENOENT and "temporary directory" in str(error):
            # From tempfile, which found no folder that it can write in.
            raise UserError(
                f"{error.strerror}: free some space, or set TMPDIR to a folder of yours"
            ) from error
        path = written or error.filename
        if error.errno not in _UNUSABLE or path is None:
            raise
        verb = "written" if written else "used"
        raise UserError(f"{path} can't be {verb} ({error.strerror}): {remedy}") from error


def no_room(path: object) -> str:
    """The one line for a full disk; where no path is known, it names the folders that are full."""
    remedy = "free some space, or choose another output folder"
    temporary = " (for temporary files, TMPDIR)"
    if path:
        inside = Path(_temporary()) in Path(str(path)).parents
        return f"no room on the disk for {path}: {remedy}{temporary if inside else ''}"
    folders = {"this folder": ".", f"the temporary folder {_temporary()}": _temporary()}
    full = " and ".join(name for name, folder in folders.items() if _is_full(folder))
    return f"no room on the disk{f' of {full}' if full else ''}: {remedy}{temporary}"


def _temporary() -> str:
    """Where temporary files go unless that is full, when Python looks for another folder."""
    return os.environ.get("TMPDIR") or "/tmp"


def _is_full(folder: str) -> bool:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _FEW_BYTES or (disk.f_files > 0 and disk.f_favail == 0)
