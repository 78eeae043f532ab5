"""Files that are either whole or absent, whatever happens while they are written."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from submission.errors import UserError, disk_errors_told, no_room

TEMPORARY_PREFIX = ".incomplete-"


class UnreadableError(Exception):
    """A file that is there and can't be read as JSON; the message says why."""


class NoObjectError(UnreadableError):
    """A file of JSON that is no object."""


def read_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object, which people and other programs may have changed.

    Args:
        path: The file.

    Returns:
        The object.

    Raises:
        FileNotFoundError: There is none.
        NotADirectoryError: Nor can there be: a file stands in place of a folder.
        UnreadableError: It is damaged, or holds no object.
    """
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableError(str(error)) from error
    if not isinstance(content, dict):
        raise NoObjectError("no JSON object")
    return content


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Writes a file so that a reader, or a killed process, sees the old or the new one, whole.

    Args:
        path: Where the file shall stand; missing folders are made.
        write: Writes the content to the binary file it is given.

    Raises:
        UserError: No room is left on the disk, or the folder can't be written. The file that
            stood at `path` before is untouched and the temporary one is gone.
    """
    with disk_errors_told(path):
        _write_atomically(path, write)


def _write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            # mkstemp makes private files; another user (the scorer) must be able to read ours.
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        if out_of_room(error):
            raise UserError(no_room(path)) from error
        raise


def out_of_room(error: BaseException | None) -> bool:
    """Whether an error, or one it came from, says that the disk or the quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_bytes(path: Path, content: bytes) -> None:
    """Writes bytes atomically; errors as `write_atomically`."""

    def write(file: BinaryIO) -> None:
        file.write(content)

    write_atomically(path, write)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically; errors as `write_atomically`."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON atomically; errors as `write_atomically`. NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files that a killed process left in a folder."""
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes a rename durable: the folder's own entry has to reach the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
