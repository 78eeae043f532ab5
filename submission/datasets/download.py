"""Fetching the published files: resumed after a dropped connection, checked before they count."""

import errno
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import requests
import urllib3

from submission.datasets.image_cache import ImageSource, exclusive, has_room
from submission.datasets.progress import progress
from submission.datasets.remote import RemoteFile
from submission.errors import UserError
from submission.runs.files import out_of_room, write_json

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


def download(remote_files: Iterable[RemoteFile], data_root: Path) -> None:
    """Fetches published files into disentanglement_lib's folder layout.

    Files that are there and whole are left alone; interrupted downloads are resumed.

    Args:
        remote_files: The files.
        data_root: The folder of the data sets.

    Raises:
        UserError: There is no such file, no network or no room, the content is wrong, or what
            stands in a file's place must not be replaced.
    """
    remote_files = tuple(remote_files)
    for remote in remote_files:
        fetch(remote, data_root)
    for remote in remote_files:
        if remote.note:
            log.info(remote.note)


def fetch(remote: RemoteFile, data_root: Path) -> None:
    """Fetches, checks and installs one file, unless it is there and whole.

    Args:
        remote: The file.
        data_root: The folder of the data sets.

    Raises:
        UserError: As `download`.
    """
    occupant = remote.find_file(data_root, remote.path)
    if remote.keep is not None and occupant is not None:
        remote.keep(occupant)
    target = data_root / remote.path
    part = target.with_name(f"{Path(remote.url).name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{part.parent} can't be made: {error.strerror}") from error
    with exclusive(part.parent):
        found = remote.find_file(data_root, remote.path)
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
