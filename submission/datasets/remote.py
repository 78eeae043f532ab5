"""A published file: where it is, where it belongs, and how to tell that it is the right one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submission.datasets.image_cache import ImageSource
from submission.datasets.images import Finder, find


@dataclass(frozen=True)
class RemoteFile:
    """One published file.

    Attributes:
        url: Where it is published today.
        path: Where it belongs, relative to the data root: a file, or the folder it is unpacked in.
        check: Raises `UserError` unless the file has the structure it should have (for an archive:
            unless its unpacked content has); returns its images where it holds some.
        size: Its length in bytes, if published.
        checksum: The algorithm and the hexadecimal digest, if published.
        unpack: How it gets from the download to `path`, if not by being renamed.
        older_urls: Where it was published before, the latest first.
        find_file: Finds it in a data root that may hold it already.
        keep: Raises `UserError` for a file in its place that must not be replaced.
        note: What is to be said of it once it is there.
    """

    url: str
    path: Path
    check: Callable[[Path], ImageSource | Any]
    size: int | None = None
    checksum: tuple[str, str] | None = None
    unpack: Callable[[Path, Path], None] | None = None
    older_urls: tuple[str, ...] = ()
    find_file: Finder = find
    keep: Callable[[Path], None] | None = None
    note: str = ""
