"""Fetching the published files: resumed after a dropped connection, checked before they count."""

import errno
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import tarfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import requests
import urllib3

from submission.datasets import cars3d, checked_name, dsprites, mpi3d, shapes3d, smallnorb
from submission.datasets.image_cache import ImageSource, damage_named, exclusive, has_room
from submission.datasets.locate import find, gunzip
from submission.datasets.progress import progress
from submission.errors import UserError
from submission.runs.files import out_of_room, write_atomically, write_json

PIECE_BYTES = 2**20
ATTEMPTS_WITHOUT_PROGRESS = 5
FIRST_WAIT_SECONDS = 1.0  # before the first new attempt; doubled before every further one
LONGEST_WAIT_SECONDS = 30.0
TIMEOUT_SECONDS = (15.0, 60.0)  # to connect, and between two pieces
PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
HEADERS = {
    "User-Agent": f"disentanglement-challenge-datasets {requests.utils.default_user_agent()}",
    # A compressed transfer could be neither resumed nor compared with the published size.
    "Accept-Encoding": "identity",
}

log = logging.getLogger(__name__)


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
    """

    url: str
    path: Path
    check: Callable[[Path], ImageSource | Any]
    size: int | None = None
    checksum: tuple[str, str] | None = None
    unpack: Callable[[Path, Path], None] | None = None
    older_urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transfer:
    """What tells whether a partial file is a part of what the server has today.

    Attributes:
        url: Where it came from.
        validator: The server's strong ETag, else its Last-Modified date, else None.
        total: The length of the whole file in bytes, if the server said so.
    """

    url: str
    validator: str | None
    total: int | None


class _Stopped(UserError):
    """The transfer can't go on, for a reason that says nothing of the file at the address."""


class _Dropped(Exception):
    """The transfer stopped for a reason that may pass."""


def download(name: str, data_root: Path, of_challenge: bool = False) -> None:
    """Fetches a data set's published files into disentanglement_lib's folder layout.

    Files that are there and whole are left alone; interrupted downloads are resumed.

    Args:
        name: The data set.
        data_root: The folder of the data sets.
        of_challenge: For mpi3d_toy and mpi3d_realistic, keep of the 1,036,800 images published
            since the 460,800 that show the challenge's colours and shapes.

    Raises:
        UserError: There is no such file, no network or no room, or the content is wrong.
    """
    remotes = remote_files(name, of_challenge)
    if of_challenge:
        _refuse_published(find(data_root, mpi3d.file_of(name)))
    for remote in remotes:
        fetch(remote, data_root)
    if of_challenge:
        log.info(
            "cut from the published file by the colours and shapes that the authors named in 2019; "
            "the challenge's own file, which is gone, can't be compared"
        )


def remote_files(name: str, of_challenge: bool = False) -> list[RemoteFile]:
    """Lists the files that a data set needs; arguments and errors as `download`."""
    if checked_name(name).startswith("mpi3d_mini"):
        raise UserError(
            f"{name} is rendered, not downloaded: `python -m submission.datasets render`"
        )
    if of_challenge:
        if name not in _OF_CHALLENGE:
            raise UserError(f"the challenge has no file of its own for {name}: omit --challenge")
        return [replace(_MPI3D[name], check=mpi3d.open_challenge_file, unpack=mpi3d.cut_challenge)]
    if name == mpi3d.COMPLEX:
        raise UserError(
            f"{name} is on Google Drive only: get real3d_complicated_shapes_ordered.npz by hand "
            "from https://drive.google.com/file/d/1Tp8eTdHxgUMtsZv5uAoYAbJR1BOa_OQm/view and put "
            f"it at {mpi3d.file_of(name)} in the folder of the data sets"
        )
    if name in _MPI3D:
        return [_MPI3D[name]]
    if name == "cars3d":
        return [_CARS3D]
    if name == "smallnorb":
        return _SMALLNORB
    if name == "shapes3d":
        return [_SHAPES3D]
    return [_DSPRITES, _SCREAM] if name == "scream_dsprites" else [_DSPRITES]


def fetch(remote: RemoteFile, data_root: Path) -> None:
    """Fetches, checks and installs one file, unless it is there and whole.

    Args:
        remote: The file.
        data_root: The folder of the data sets.

    Raises:
        UserError: As `download`.
    """
    target = data_root / remote.path
    part = target.with_name(f"{Path(remote.url).name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{part.parent} can't be made: {error.strerror}") from error
    with exclusive(part.parent):
        found = find(data_root, remote.path)
        if found is not None and _is_whole(remote, found):
            log.info("%s is there already", found)
            return
        _fetch_from_any(remote, part)
        if remote.unpack is None:
            os.replace(part, target)
        else:
            _unpack(remote, part, target)
        _discard(part)
    log.info("%s is ready", target)


def _fetch_from_any(remote: RemoteFile, part: Path) -> None:
    """Fetches from the first address that has the right file; else tells what today's answered."""
    answers: list[UserError] = []
    for url in (remote.url, *remote.older_urls):
        if answers:
            log.warning("%s; trying %s", answers[-1], url)
        try:
            transfer(url, part, remote.size)
            _verify(replace(remote, url=url), part)
        except _Stopped:
            raise
        except UserError as answer:
            answers.append(answer)
        else:
            return
    raise answers[0]


def transfer(url: str, part: Path, size: int | None = None) -> None:
    """Brings a partial file to its full length, over as many connections as it takes.

    Args:
        url: Where the file is published.
        part: The partial file; a note beside it says what it is a part of.
        size: The published length in bytes, if known.

    Raises:
        UserError: The server has no such file, or one of another length; it can't be reached; or
            the disk has no room. What has arrived stays for the next attempt.
    """
    try:
        _transfer_patiently(url, part, size)
    except KeyboardInterrupt:
        log.warning("%s keeps %s bytes: run the command again to go on", part, f"{_length(part):,}")
        raise


def _transfer_patiently(url: str, part: Path, size: int | None) -> None:
    furthest, failures = 0, 0
    while True:
        try:
            _transfer_once(url, part, size)
            return
        except (_Dropped, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            reached = _length(part)
            failures = 1 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures >= ATTEMPTS_WITHOUT_PROGRESS:
                raise _Stopped(
                    f"{url} can't be fetched ({_reason(error)}) after {failures} attempts; check "
                    f"the network and run the command again: it goes on at byte {reached:,}"
                ) from error
            wait = min(FIRST_WAIT_SECONDS * 2 ** (failures - 1), LONGEST_WAIT_SECONDS)
            log.warning("the transfer stopped (%s); trying again in %g s", _reason(error), wait)
            time.sleep(wait)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _Stopped(f"no room on the disk for {part}: free some space") from error
            raise _Stopped(f"{part} can't be written: {error.strerror}") from error


def _transfer_once(url: str, part: Path, size: int | None) -> None:
    known = _read_note(part, url)
    begin = part.stat().st_size if known else 0
    headers = dict(HEADERS)
    if known and begin:
        if begin == known.total:
            return
        headers |= {"Range": f"bytes={begin}-", "If-Range": str(known.validator)}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if response.status_code in PASSING_STATUSES:
            raise _Dropped(f"HTTP status {response.status_code}")
        if response.status_code == 416:
            _discard(part)
            raise _Dropped("the server has no such range any more")
        if response.status_code not in (200, 206):
            raise UserError(
                f"{url} is not there: the server answers {response.status_code} {response.reason}"
            )
        if response.status_code == 206:
            total = _total_of_range(response, begin)
            if known != Transfer(url, _validator(response), total):
                _discard(part)
                raise _Dropped("the file on the server has changed")
        else:
            if begin:
                log.warning("the server starts %s anew", url)
            begin = 0
            length = response.headers.get("Content-Length")
            total = int(length) if length is not None else None
        if size is not None and total is not None and total != size:
            _discard(part)
            raise UserError(f"{url} has {total:,} bytes; the published file has {size:,}")
        if total is not None and not has_room(part.parent, total - begin):
            raise _Stopped(
                f"no room on the disk for {part}: {total - begin:,} bytes are still to come"
            )
        if begin == 0:
            # The note goes first: bytes without one are never taken for a part of anything.
            part.unlink(missing_ok=True)
            write_json(_note(part), asdict(Transfer(url, _validator(response), total)))
        reached = _receive(response, part, begin, total)
    if total is not None and reached != total:
        raise _Dropped(f"{reached:,} of {total:,} bytes have arrived")


def _receive(response: requests.Response, part: Path, begin: int, total: int | None) -> int:
    reached = begin
    title = f"downloading {part.name.removesuffix('.part')}"
    with open(part, "ab") as file, progress(title, total, "B", done=begin) as advance:
        # Raw, so that a server's Content-Encoding for .gz files changes nothing.
        for piece in response.raw.stream(PIECE_BYTES, decode_content=False):
            file.write(piece)
            reached += len(piece)
            advance(len(piece))
        file.flush()
        os.fsync(file.fileno())
    return reached


def _total_of_range(response: requests.Response, begin: int) -> int | None:
    found = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    if found is None or int(found[1]) != begin:
        raise _Dropped(f"the server sent another range than the one from byte {begin:,}")
    return None if found[2] == "*" else int(found[2])


def _validator(response: requests.Response) -> str | None:
    tag = response.headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):  # a weak tag doesn't vouch for every byte
        return tag
    return response.headers.get("Last-Modified")


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _read_note(part: Path, url: str) -> Transfer | None:
    """Reads what a partial file is a part of; None when there is nothing of it to resume."""
    try:
        known = Transfer(**json.loads(_note(part).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    resumable = known.url == url and known.validator is not None and part.exists()
    return known if resumable else None


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _reason(error: BaseException) -> str:
    """The innermost message: requests wraps urllib3's, which wraps the system's."""
    while isinstance(error.args[0] if error.args else None, BaseException):
        error = error.args[0]
    reason = getattr(error, "reason", None)
    return str(reason or error) or type(error).__name__


def _is_whole(remote: RemoteFile, found: Path) -> bool:
    try:
        remote.check(found)
    except UserError as error:
        log.warning("%s; fetching it again", error)
        return False
    return True


def _refuse_published(path: Path | None) -> None:
    """Refuses to put the challenge's images in the place of a whole file with more of them."""
    if path is None:
        return
    try:
        mpi3d.open_file(path)
    except UserError:  # damaged: it will be fetched again
        return
    mpi3d.open_challenge_file(path)


def _unpack(remote: RemoteFile, part: Path, target: Path) -> None:
    """Unpacks a download; what can't be unpacked is removed, so that the next attempt starts anew.

    Raises:
        UserError: It is damaged, or there is no room for its content; then the download stays.
    """
    try:
        if remote.unpack is not None:
            remote.unpack(part, target)
        remote.check(target)
    except UserError as error:
        if not out_of_room(error):
            _discard(part)
        raise


def _verify(remote: RemoteFile, part: Path) -> None:
    """Checks the whole download; what fails is removed, so that the next attempt starts anew."""
    try:
        if remote.size is not None and part.stat().st_size != remote.size:
            raise UserError(
                f"{remote.url} gave {part.stat().st_size:,} bytes; the published file has "
                f"{remote.size:,}"
            )
        if remote.checksum is not None:
            _verify_checksum(remote, part)
        if remote.unpack is None:
            source = remote.check(part)
            if remote.checksum is None and isinstance(source, ImageSource):
                for _ in source.chunks():
                    pass
    except UserError:
        _discard(part)
        raise


def _verify_checksum(remote: RemoteFile, part: Path) -> None:
    algorithm, published = remote.checksum or ("", "")
    digest = hashlib.new(algorithm)
    with (
        open(part, "rb") as file,
        progress(f"checking {part.name}", part.stat().st_size, "B") as advance,
    ):
        while piece := file.read(16 * PIECE_BYTES):
            digest.update(piece)
            advance(len(piece))
    if digest.hexdigest() != published:
        raise UserError(
            f"{remote.url} is not the published file: its {algorithm} is {digest.hexdigest()}, "
            f"not {published}; run the command again, or get the file by hand"
        )


def _unpack_cars(part: Path, folder: Path) -> None:
    """Takes the .mat files of the cars out of the archive, which holds other data sets too."""
    with damage_named(part), tarfile.open(part) as archive:
        for member in archive:
            # Only the last part of a member's name is used: it can't lead out of the folder.
            if member.isfile() and re.search(r"(^|/)cars/[^./][^/]*\.mat$", member.name):
                content = archive.extractfile(member)
                if content is not None:
                    write_atomically(
                        folder / Path(member.name).name,
                        functools.partial(shutil.copyfileobj, content),
                    )


def _mpi3d_file(name: str, *older_urls: str) -> RemoteFile:
    return RemoteFile(
        f"https://huggingface.co/datasets/waleedgondal/mpi3d/resolve/main/{name}.npz",
        mpi3d.file_of(name),
        mpi3d.open_file,
        older_urls=(
            *older_urls,
            f"{_GOOGLE}/disentanglement_dataset/Final_Dataset/{name}.npz",
        ),
    )


# Where the files are: the README of rr-learning/disentanglement_dataset for MPI3D, today's and
# older ones (but the real.npz of 2024, which is scrambled); disentanglement_lib's
# dlib_download_data for dSprites, the scream, Cars3D and smallNORB; deepmind/3d-shapes for 3D
# Shapes. The md5 sums are those that nmichlo/disent (Cars3D) and vaetc (dSprites) check; the sizes
# and sha256 sums are those of tensorflow/datasets (url_checksums). MPI3D's are in origin.py: files
# that were compressed anew since may be right and have others.
_GOOGLE = "https://storage.googleapis.com"
_OF_2024 = f"{_GOOGLE}/mpi3d_disentanglement_dataset/data"
_OF_CHALLENGE = ("mpi3d_toy", "mpi3d_realistic")
_MPI3D = {
    "mpi3d_toy": _mpi3d_file("mpi3d_toy", f"{_OF_2024}/mpi3d_toy.npz"),
    "mpi3d_realistic": _mpi3d_file("mpi3d_realistic", f"{_OF_2024}/mpi3d_realistic.npz"),
    "mpi3d_real": _mpi3d_file("mpi3d_real"),
}
_DSPRITES = RemoteFile(
    f"https://github.com/deepmind/dsprites-dataset/raw/master/{dsprites.FILE.name}",
    dsprites.FILE,
    dsprites.open_file,
    checksum=("md5", "7da33b31b13a06f4b04a70402ce90c2e"),
)
_SCREAM = RemoteFile(
    "https://upload.wikimedia.org/wikipedia/commons/f/f4/The_Scream.jpg",
    dsprites.SCREAM_FILE,
    dsprites.read_scream,
)
_CARS3D = RemoteFile(
    "http://www.scottreed.info/files/nips2015-analogy-data.tar.gz",
    Path(cars3d.FOLDER),
    cars3d.open_folder,
    checksum=("md5", "4e866a7919c1beedf53964e6f7a23686"),
    unpack=_unpack_cars,
)
_SMALLNORB = [
    RemoteFile(
        f"https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/{chunk}-{kind}.mat.gz",
        Path(smallnorb.FOLDER) / f"{chunk}-{kind}.mat",
        smallnorb.read_matrix,
        size,
        ("sha256", sha256),
        gunzip,
    )
    for chunk, kind, size, sha256 in (
        (
            smallnorb.CHUNKS[0],
            "dat",
            131_896_188,
            "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
        ),
        (
            smallnorb.CHUNKS[0],
            "cat",
            348,
            "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa",
        ),
        (
            smallnorb.CHUNKS[0],
            "info",
            71_052,
            "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32",
        ),
        (
            smallnorb.CHUNKS[1],
            "dat",
            130_799_817,
            "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474",
        ),
        (
            smallnorb.CHUNKS[1],
            "cat",
            347,
            "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff",
        ),
        (
            smallnorb.CHUNKS[1],
            "info",
            10_428,
            "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2",
        ),
    )
]
_SHAPES3D = RemoteFile(
    f"{_GOOGLE}/3d-shapes/3dshapes.h5",
    Path(shapes3d.FOLDER) / shapes3d.HDF5_FILE,
    shapes3d.open_file,
    267_573_662,
    ("sha256", "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785"),
)
