"""A folder of PNG or JPEG files, and a CSV of their factors."""

import csv
import logging
import os
import struct
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from submission.datasets.image_cache import ImageSource, damage_named
from submission.datasets.own.content import Content, Factors, factors_of_columns
from submission.datasets.own.resizing import SIDE, resized
from submission.errors import UserError

PICTURES = (".png", ".jpg", ".jpeg")
_PICTURES_PER_PIECE = 256
_GREY = ("1", "L", "LA")
_SEPARATORS = ",;\t"

log = logging.getLogger(__name__)


def read(folder: Path) -> Content:
    """Reads what a folder holds.

    Args:
        folder: Holds pictures, in folders of its own or not, and at most one CSV file, whose first
            line names its columns: one tells the pictures' files, each other one is a factor.

    Returns:
        The pictures in the order of their paths, and their factors if there is a CSV file.

    Raises:
        UserError: It holds no picture, or the CSV file doesn't fit them.
    """
    pictures, tables = _files(folder)
    if not pictures:
        raise UserError(f"{folder} holds no PNG or JPEG file; a .npz or .h5 is named by itself")
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise UserError(f"{folder} holds {names}: leave the one that tells the factors there")
    factors = None
    if tables:
        pictures, factors = _labelled(folder, pictures, tables[0])
    grey = _is_grey(pictures[0])
    source = ImageSource(
        files=tuple(pictures),
        cache=folder / "images.cache",
        shape=(len(pictures), SIDE, SIDE, 1 if grey else 3),
        chunks=lambda: _decode(folder, pictures, grey),
    )
    return Content(source, factors)


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures and the CSV files, without those that a file manager hides."""
    pictures, tables = [], []

    def fail(error: OSError) -> None:
        raise UserError(f"{error.filename} can't be read: {error.strerror}") from error

    seen = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        # A link may lead to a folder above it.
        real = {name: os.path.realpath(Path(place, name)) for name in sorted(folders)}
        folders[:] = [one for one in real if not one.startswith(".") and real[one] not in seen]
        seen.update(real.values())
        for name in names:
            path = Path(place, name)
            if path.suffix.lower() in PICTURES and not name.startswith("."):
                pictures.append(path)
            if path.suffix.lower() in (".csv", ".tsv") and path.parent == folder:
                tables.append(path)
    return sorted(pictures), sorted(tables)


def _labelled(
    folder: Path, pictures: Sequence[Path], table: Path
) -> tuple[list[Path], Factors | None]:
    """The pictures that a CSV file names, in the order of their paths, and their factors."""
    header, rows = _rows(table)
    column = _column_of_files(table, header, rows[0])
    find = _Finder(folder, pictures)
    lines: dict[Path, int] = {}
    lacking = []
    for number, row in enumerate(rows):
        path = find(row[column])
        if path is None:
            lacking.append(f"{row[column]!r} in row {number + 1}")
        elif path in lines:
            raise UserError(
                f"{table} names {row[column]!r} in row {lines[path] + 1} and in row {number + 1}"
            )
        else:
            lines[path] = number
    if lacking:
        raise UserError(
            f"{table} names {len(lacking):,} files that {folder} doesn't hold, first {lacking[0]}"
        )
    if len(lines) < len(pictures):
        log.warning(
            "%s: %s of %s pictures are left out, which %s doesn't name",
            *(folder, f"{len(pictures) - len(lines):,}", f"{len(pictures):,}", table.name),
        )
    named = sorted(lines)
    order = [lines[path] for path in named]
    columns = {
        name: np.array([rows[number][place] for number in order])
        for place, name in enumerate(header)
        # pandas writes the numbers of its rows into a column without a name.
        if place != column and name
    }
    return named, factors_of_columns(columns, str(table)) if columns else None


class _Finder:
    """Finds the picture that a CSV file means: by its path, in any case, or by a name alone."""

    def __init__(self, folder: Path, pictures: Sequence[Path]) -> None:
        self._by_path = {path.relative_to(folder).as_posix(): path for path in pictures}
        self._by_case = _only_once((_plain(name), path) for name, path in self._by_path.items())
        self._by_name = _only_once((_plain(path.name), path) for path in pictures)

    def __call__(self, name: str) -> Path | None:
        name = name.replace("\\", "/").removeprefix("./")
        found = self._by_path.get(name) or self._by_case.get(_plain(name))
        return found or self._by_name.get(_plain(name))


def _plain(name: str) -> str:
    """In one case, and with accents as macOS doesn't write them, but most tables do."""
    return unicodedata.normalize("NFC", name).lower()


def _only_once(named: Iterator[tuple[str, Path]]) -> dict[str, Path]:
    pairs = list(named)
    counts = Counter(name for name, _ in pairs)
    return {name: path for name, path in pairs if counts[name] == 1}


def _rows(table: Path) -> tuple[list[str], list[list[str]]]:
    """The header of a CSV file and its rows, all of one length."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            separator = max(_SEPARATORS, key=first.count)
            file.seek(0)
            rows = [[cell.strip() for cell in row] for row in csv.reader(file, delimiter=separator)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{table} can't be read as CSV in UTF-8: {reason}") from error
    rows = [row for row in rows if any(row)]
    if len(rows) < 2:
        raise UserError(f"{table} must have a line that names the columns, and one a picture")
    header, rows = rows[0], rows[1:]
    if any(_is_picture(name) for name in header):
        raise UserError(f"{table}: its first line must name the columns, such as file,color,shape")
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise UserError(
                f"{table} has {len(row)} cells in row {number + 1}; there must be {len(header)}"
            )
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise UserError(f"{table}: two columns have one name: {', '.join(header)}")
    return header, rows


def _column_of_files(table: Path, header: Sequence[str], row: Sequence[str]) -> int:
    found = [place for place, cell in enumerate(row) if _is_picture(cell)]
    if len(found) != 1:
        names = f"{len(found)} columns name" if found else "no column names"
        raise UserError(
            f"{table}: {names} PNG or JPEG files ({', '.join(header)}); one column must, with "
            "values such as 0001.png"
        )
    return found[0]


def _is_picture(cell: str) -> bool:
    return cell.lower().endswith(PICTURES)


def _is_grey(path: Path) -> bool:
    with damage_named(path), Image.open(path) as picture:
        return picture.mode in _GREY


def _decode(folder: Path, pictures: Sequence[Path], grey: bool) -> Iterator[np.ndarray]:
    """Yields uint8 [n, 64, 64, 1 or 3], and says at the end what was resized."""
    seen: Counter[tuple[int, int]] = Counter()
    for start in range(0, len(pictures), _PICTURES_PER_PIECE):
        images = []
        for path in pictures[start : start + _PICTURES_PER_PIECE]:
            pixels = _read(path, grey, pictures[0])
            height, width = pixels.shape[:2]
            seen[width, height] += 1
            images.append(pixels if (width, height) == (SIDE, SIDE) else resized(pixels))
        yield np.stack(images)
    del seen[SIDE, SIDE]
    if seen:
        (width, height), _ = seen.most_common(1)[0]
        sizes = f"{width} x {height}" + (
            f" and {len(seen) - 1} more sizes" if len(seen) > 1 else ""
        )
        log.warning(
            "%s: %s pictures of %s pixels are resized to %d x %d",
            *(folder, f"{seen.total():,}", sizes, SIDE, SIDE),
        )


def _read(path: Path, grey: bool, first: Path) -> np.ndarray:
    """Reads a picture as uint8 [h, w, 1 or 3], as its camera was held, without transparency."""
    try:
        with damage_named(path), Image.open(path) as picture:
            if picture.mode[0] in "IF":
                raise UserError(f"{path} has more than 8 bits a channel: save it with 8")
            if grey and picture.mode not in _GREY:
                raise UserError(
                    f"{path} is in colour, but {first.name} is grey: save all in colour, or grey"
                )
            upright = ImageOps.exif_transpose(picture).convert("L" if grey else "RGB")
    except (SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise UserError(f"{path} can't be read as a picture: {error}") from error
    return np.array(upright).reshape(upright.height, upright.width, 1 if grey else 3)
