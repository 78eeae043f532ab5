"""Images as one uint8 array that lives in a file, not in memory.

An uncompressed array is mapped where it stands. Anything else is decoded once, a piece at a time,
into a `.npy` file beside its source and mapped from there. The first reading also checks every
byte (the CRC of a zip member) and computes the fingerprint; a small JSON stamp remembers both for
exactly this source, told by the size and modification time of its files.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from submission.datasets.progress import progress
from submission.errors import UserError
from submission.runs.files import out_of_room, remove_leftovers, write_atomically, write_json
from submission.runs.locks import lock

CHUNK_BYTES = 16 * 2**20
STAMP_VERSION = 1

log = logging.getLogger(__name__)

FileStamp = tuple[str, int, int]


@dataclass(frozen=True)
class ImageSource:
    """Images in files, and how to read them.

    Attributes:
        files: The files they are in.
        cache: The cache's path without its endings `.npy` and `.json`.
        shape: (count, height, width, channels).
        chunks: Starts reading; yields uint8 pieces of any length [n, h, w, c] in the images' order
            and raises `UserError` for a damaged file.
        mappable: The file and the offset at which the pixels stand uncompressed in C order; None
            when they have to be decoded.
        largest: The largest pixel value that is right.
    """

    files: tuple[Path, ...]
    cache: Path
    shape: tuple[int, int, int, int]
    chunks: Callable[[], Iterator[np.ndarray]]
    mappable: tuple[Path, int] | None = None
    largest: int = 255


def open_images(source: ImageSource) -> tuple[np.ndarray, str]:
    """Opens images without reading them twice.

    Args:
        source: Where they are.

    Returns:
        The images, uint8 [count, h, w, c], read-only (mapped from a file wherever a disk has room
        for it), and their fingerprint.

    Raises:
        UserError: A file is damaged, or holds values that can't be pixels.
    """
    found = _open_stamped(source)
    if found is not None:
        return found
    with exclusive(source.cache.parent):
        # Another process may have done the work while this one waited.
        return _open_stamped(source) or _read_first_time(source)


def fingerprint_of(images: np.ndarray) -> str:
    """Computes the sha256 of the shape and the pixels of uint8 [count, h, w, c], in hexadecimal."""
    digest = _new_digest(images.shape)
    step = images_per_chunk(images.shape)
    for start in range(0, len(images), step):
        digest.update(np.ascontiguousarray(images[start : start + step]).data)
    return digest.hexdigest()


def images_per_chunk(shape: tuple[int, ...]) -> int:
    """How many images of an array [count, h, w, c] are read at a time."""
    return max(1, CHUNK_BYTES // max(1, math.prod(shape[1:])))


def user_cache_folder() -> Path | None:
    """A folder of the user's for what can't stand beside the data; None when there is no home."""
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(named or Path.home() / ".cache") / "disentanglement-challenge"
    except RuntimeError:  # no home folder, as for some container users
        return None


def read_notes(path: Path) -> Iterator[dict[str, Any]]:
    """Reads what `write_note` wrote for a path: beside the data, then in the user's cache.

    Args:
        path: As for `write_note`.

    Yields:
        The content of each that is there and has a fingerprint.
    """
    for place in _note_places(path):
        try:
            note = json.loads(place.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(note, dict) and isinstance(note.get("fingerprint"), str):
            yield note


def write_note(path: Path, note: dict[str, Any]) -> None:
    """Writes a small JSON note beside the data, or in the user's cache when that can't be written.

    Args:
        path: Where it belongs.
        note: What is remembered; its `fingerprint` says of which images.
    """
    for place in _note_places(path):
        # A full disk or a read-only folder costs the next start a check, not this one its run.
        with contextlib.suppress(UserError, OSError):
            write_json(place, note)
            return


def _note_places(path: Path) -> list[Path]:
    fallback = user_cache_folder()
    if fallback is None:
        return [path]
    # Known by the path without its ending, as when only one kind of note was kept.
    place = hashlib.sha256(str(path.with_suffix("").absolute()).encode()).hexdigest()[:32]
    return [path, fallback / "checked" / f"{place}.json"]


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lets one process at a time write big files in a folder, and removes what a killed one left.

    Where the folder can't be written or locked (read-only, some network file systems), it only
    runs the body: writing there is atomic all the same, the lock only saves doing the work twice.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):
            if not lock(descriptor):
                log.warning("waiting for another process that writes in %s", folder)
                lock(descriptor, wait=True)
            remove_leftovers(folder)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turns what the readers raise for an unreadable or damaged file into one line naming it."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        OSError,
        ValueError,
        KeyError,
    ) as error:
        # Only the first line: h5py's and numpy's messages have several.
        reason = _what_it_is_instead(path)
        reason = reason or (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path} is damaged or cut short ({reason}); delete it and get it again"
        ) from error


def _what_it_is_instead(path: Path) -> str | None:
    """Names what often stands in a file's place; None for anything else."""
    try:
        with open(path, "rb") as file:
            start = file.read(256).lstrip().lower()
    except OSError:
        return None
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer to the file: `git lfs pull` gets the file itself"
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is a web page, not the file that the page is about"
    return None


def has_room(folder: Path, wanted: int) -> bool:
    """Whether the disk of a folder (or of its nearest existing parent) has that many bytes free."""
    while not os.path.exists(folder) and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free >= wanted


def _read_first_time(source: ImageSource) -> tuple[np.ndarray, str]:
    sources = [_file_stamp(path) for path in source.files]
    if source.mappable is not None:
        digest = _new_digest(source.shape)
        with progress(f"checking {source.files[0].name}", source.shape[0], "images") as advance:
            for chunk in _checked_chunks(source, advance):
                digest.update(chunk.data)
        path, offset = source.mappable
        _write_stamp(source, sources, path, digest.hexdigest())
        return _map(path, offset, source.shape), digest.hexdigest()
    obstacle = _cache_obstacle(source)
    if obstacle is None:
        try:
            return _write_cache(source, sources)
        except UserError as error:
            if not out_of_room(error):
                raise
            obstacle = "the disk is full"
    size = math.prod(source.shape) / 2**30
    log.warning(
        "the decoded images of %s stay in memory (%.1f GiB): %s",
        source.cache.parent,
        size,
        obstacle,
    )
    return _read_to_memory(source)


def _cache_obstacle(source: ImageSource) -> str | None:
    folder = source.cache.parent
    if not os.access(folder, os.W_OK):
        return f"{folder} can't be written"
    if not has_room(folder, math.prod(source.shape) + CHUNK_BYTES):
        return f"{folder} has no room for them"
    return None


def _write_cache(source: ImageSource, sources: list[FileStamp]) -> tuple[np.ndarray, str]:
    digest = _new_digest(source.shape)

    def write(file: BinaryIO) -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": source.shape}
        np.lib.format.write_array_header_1_0(file, header)
        with progress(f"decoding {source.cache.stem}", source.shape[0], "images") as advance:
            for chunk in _checked_chunks(source, advance):
                digest.update(chunk.data)
                file.write(chunk.data)

    path = _cache_file(source)
    write_atomically(path, write)
    _write_stamp(source, sources, path, digest.hexdigest())
    return _map_npy(path, source.shape), digest.hexdigest()


def _read_to_memory(source: ImageSource) -> tuple[np.ndarray, str]:
    images = np.empty(source.shape, dtype=np.uint8)
    row = 0
    with progress(f"decoding {source.cache.stem}", source.shape[0], "images") as advance:
        for chunk in _checked_chunks(source, advance):
            images[row : row + len(chunk)] = chunk
            row += len(chunk)
    images.flags.writeable = False
    return images, fingerprint_of(images)


def _checked_chunks(source: ImageSource, advance: Callable[[int], None]) -> Iterator[np.ndarray]:
    count = 0
    for chunk in source.chunks():
        if source.largest < 255 and chunk.size and chunk.max() > source.largest:
            raise UserError(
                f"{source.files[0]} holds the pixel value {chunk.max()}; "
                f"it must hold 0 to {source.largest} only"
            )
        count += len(chunk)
        advance(len(chunk))
        yield np.ascontiguousarray(chunk)
    if count != source.shape[0]:
        raise UserError(f"{source.files[0]} gave {count} images; there must be {source.shape[0]}")


def _open_stamped(source: ImageSource) -> tuple[np.ndarray, str] | None:
    """Opens what an earlier run has checked; None when there is nothing of this very source."""
    try:
        sources = [_file_stamp(path) for path in source.files]
        for stamp in read_notes(_stamp(source)):
            if stamp.get("version") != STAMP_VERSION:
                continue
            if stamp.get("sources") != [list(entry) for entry in sources]:
                continue
            holder = source.mappable[0] if source.mappable else _cache_file(source)
            if stamp.get("images") != list(_file_stamp(holder)):
                continue
            if source.mappable:
                return _map(*source.mappable, source.shape), stamp["fingerprint"]
            return _map_npy(holder, source.shape), stamp["fingerprint"]
    except (OSError, ValueError):
        return None
    return None


def _write_stamp(
    source: ImageSource, sources: list[FileStamp], holder: Path, fingerprint: str
) -> None:
    stamp = {
        "version": STAMP_VERSION,
        "sources": sources,
        "images": _file_stamp(holder),
        "fingerprint": fingerprint,
    }
    write_note(_stamp(source), stamp)


def _stamp(source: ImageSource) -> Path:
    return source.cache.with_name(f"{source.cache.name}.json")


def _cache_file(source: ImageSource) -> Path:
    return source.cache.with_name(f"{source.cache.name}.npy")


def _file_stamp(path: Path) -> FileStamp:
    status = path.stat()
    return path.name, status.st_size, status.st_mtime_ns


def _map(path: Path, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=shape)


def _map_npy(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    images = np.load(path, mmap_mode="r")
    if images.shape != shape or images.dtype != np.uint8:
        raise ValueError(f"{path} is not the cache it should be")
    return images


def _new_digest(shape: tuple[int, ...]) -> Any:
    return hashlib.sha256(f"uint8 {list(shape)}".encode())
