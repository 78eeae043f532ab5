"""One array in a `.npz` file: where its pixels stand, read and written a piece at a time."""

import math
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from submission.datasets.image_cache import ImageSource, damage_named, images_per_chunk
from submission.errors import UserError
from submission.runs.files import write_atomically

LOCAL_HEADER_BYTES = 30  # of a zip member, before its name and extra field


@dataclass(frozen=True)
class NpzArray:
    """One row-major array of a `.npz` file.

    Attributes:
        path: The file.
        key: The array's name in it.
        shape: The array's shape.
        offset: Where in the file its pixels begin, when they are stored uncompressed.
        dtype: The type of its numbers.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    offset: int | None
    dtype: np.dtype[Any]


def open_npz_array(path: Path, key: str, any_type: bool = False) -> NpzArray:
    """Reads the header of an array in a `.npz` file.

    Args:
        path: The file.
        key: The array's name.
        any_type: Whether other types than uint8 will do; pickled objects never will.

    Returns:
        The array's shape, type and place.

    Raises:
        UserError: The file can't be read or is damaged, has no such array, or it isn't uint8 in
            row-major order.
    """
    with damage_named(path), zipfile.ZipFile(path) as archive:
        names = npz_names(archive)
        if key not in names:
            raise UserError(f"{path} holds no array '{key}', only {', '.join(names) or 'nothing'}")
        member = archive.getinfo(f"{key}.npy")
        with archive.open(member) as file:
            shape, fortran_order, dtype = _read_npy_header(file)
            header_bytes = file.tell()
        wanted = "uint8, row-major"
        if any_type and dtype.hasobject:
            raise UserError(
                f"{path}: '{key}' holds pickled objects, which are never read: save it as {wanted}"
            )
        if fortran_order or (dtype != np.uint8 and not any_type):
            order = ", column-major" if fortran_order else ""
            raise UserError(f"{path}: '{key}' is {dtype}{order}; it must be {wanted}")
        if member.file_size != header_bytes + math.prod(shape) * dtype.itemsize:
            raise UserError(f"{path} is damaged: '{key}' is not as long as its header says")
        offset = None
        if member.compress_type == zipfile.ZIP_STORED:
            offset = _member_offset(path, member) + header_bytes
    return NpzArray(path, key, shape, offset, dtype)


def npz_names(archive: zipfile.ZipFile) -> list[str]:
    """The names of the arrays in a `.npz` file."""
    return [name.removesuffix(".npy") for name in archive.namelist()]


def npz_chunks(array: NpzArray, image_shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Reads the array a piece at a time, checking it against the zip file's CRC.

    Args:
        array: The array.
        image_shape: (height, width, channels).

    Yields:
        [n, height, width, channels], in the array's type.

    Raises:
        UserError: The file is damaged.
    """
    image_bytes = math.prod(image_shape) * array.dtype.itemsize
    count = math.prod(array.shape) // math.prod(image_shape)
    step = images_per_chunk((count, *image_shape))
    with (
        damage_named(array.path),
        zipfile.ZipFile(array.path) as archive,
        archive.open(f"{array.key}.npy") as file,
    ):
        _read_npy_header(file)
        for start in range(0, count, step):
            wanted = min(step, count - start) * image_bytes
            content = file.read(wanted)
            if len(content) != wanted:
                raise EOFError(f"{array.key} ends early")
            yield np.frombuffer(content, dtype=array.dtype).reshape(-1, *image_shape)
        # The CRC is compared only when the end has been seen.
        file.read(1)


def write_npz(path: Path, key: str, shape: tuple[int, ...], pieces: Iterable[np.ndarray]) -> None:
    """Writes one uncompressed uint8 array as a `.npz` file, a piece at a time, whole or not at all.

    Args:
        path: The file.
        key: The array's name.
        shape: The array's shape.
        pieces: Its rows in their order, uint8 [n, *shape[1:]].

    Raises:
        UserError: The file can't be written, the disk is full, or what `pieces` raises.
    """

    def write(file: BinaryIO) -> None:
        with (
            zipfile.ZipFile(file, "w") as archive,
            archive.open(f"{key}.npy", "w", force_zip64=True) as member,
        ):
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            for piece in pieces:
                member.write(np.ascontiguousarray(piece).data)

    write_atomically(path, write)


def npz_source(
    array: NpzArray, image_shape: tuple[int, int, int], largest: int = 255
) -> ImageSource:
    """Describes, for `open_images`, an array that holds images of a shape (h, w, c)."""
    return ImageSource(
        files=(array.path,),
        cache=array.path.with_name(f"{array.path.stem}.cache"),
        shape=(math.prod(array.shape) // math.prod(image_shape), *image_shape),
        chunks=lambda: npz_chunks(array, image_shape),
        mappable=None if array.offset is None else (array.path, array.offset),
        largest=largest,
    )


def _member_offset(path: Path, member: zipfile.ZipInfo) -> int:
    """Finds where a member's content begins: its local header has lengths of its own."""
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        header = file.read(LOCAL_HEADER_BYTES)
    if len(header) != LOCAL_HEADER_BYTES or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("a member's header is missing")
    name_bytes = int.from_bytes(header[26:28], "little")
    extra_bytes = int.from_bytes(header[28:30], "little")
    return member.header_offset + LOCAL_HEADER_BYTES + name_bytes + extra_bytes


def _read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)
