"""Taking what a container left, and handing a representation to one, without trusting either."""

import contextlib
import io
import math
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from glob import escape, glob
from pathlib import Path, PurePosixPath

from container import ownership
from container.sandbox import SHARED, Output
from submission.datasets import Dataset, mpi3d_mini_secret
from submission.errors import UserError
from submission.runs.files import TEMPORARY_PREFIX

# Beside the files' bytes, a tar archive holds headers and padding.
_ARCHIVE_OVERHEAD = 32 * 2**20


def take(shared: Output, folder: str, destination: Path, limit: int) -> None:
    """Copies a folder out of a container's output, as files of this user's.

    Args:
        shared: The output.
        folder: The folder in it.
        destination: An empty folder; what `folder` holds comes here.
        limit: Bytes.

    Raises:
        UserError: It is no folder, or holds a link, a device or the like, or more than the limit.
        RuntimeError: It changed while it was read, or the engine broke off.
    """
    try:
        _extract(shared, folder, destination, limit)
    except tarfile.TarError as error:
        raise RuntimeError(f"the output couldn't be read to its end ({error})") from error


def _extract(shared: Output, folder: str, destination: Path, limit: int) -> None:
    stream, _ = shared.keeper.get_archive(SHARED)
    top = PurePosixPath(SHARED).name
    with (
        # Until the connection is closed, the engine can do nothing else with the keeper.
        contextlib.closing(stream),
        tarfile.open(fileobj=as_file(stream, limit), mode="r|") as archive,
    ):
        for member in archive:
            parts = PurePosixPath(member.name).parts
            if parts[:2] != (top, folder):
                continue
            inside = PurePosixPath(*parts[2:])
            if ".." in parts or inside.is_absolute():
                raise UserError(f"the submission left the path {member.name!r}: it was refused")
            if member.islnk() or member.issym():
                raise UserError(
                    f"the submission left {str(inside)!r}, a link to {member.linkname!r}: "
                    "links are refused; write the file itself"
                )
            if inside == PurePosixPath() and not member.isdir():
                raise UserError(f"the submission left {folder!r}, no folder: it was refused")
            if member.isdir():
                (destination / inside).mkdir(exist_ok=True)
            elif not member.isreg():
                raise UserError(f"the submission left {str(inside)!r}, no file: it was refused")
            # A temporary file is what a killed process was writing.
            elif not inside.name.startswith(TEMPORARY_PREFIX):
                content = archive.extractfile(member)
                assert content is not None
                with (destination / inside).open("wb") as file:
                    shutil.copyfileobj(content, file)


def as_file(chunks: Iterator[bytes], limit: float = math.inf) -> io.BufferedReader:
    """The chunks of an archive as a file; reading more than a limit of bytes is a `UserError`."""
    return io.BufferedReader(_Stream(chunks, limit))


@contextlib.contextmanager
def readable_copy(folder: Path, limit: int) -> Iterator[Path]:
    """Copies a representation folder for a container's user, who isn't this one.

    Args:
        folder: Holds regular files and folders only.
        limit: Bytes.

    Yields:
        The copy, removed at the end.

    Raises:
        UserError: There is no such folder, or it holds a link, a device or more than the limit.
    """
    if not folder.is_dir():
        raise UserError(f"there is no representation folder {folder}")
    # An engine in a snap or a virtual machine doesn't see /tmp; the data sets are here too.
    place = ownership.SCRATCH if os.access(ownership.SCRATCH, os.W_OK) else None
    with ownership.temporary_folder(place) as temporary:
        temporary.chmod(0o711)  # over NFS, an engine's root is nobody
        copy = temporary / "representation"
        _make_readable_folder(copy)
        size = 0
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                raise UserError(
                    f"{path} is a link to {os.readlink(path)!r}: links are refused; put the file "
                    "itself there"
                )
            if stat.S_ISDIR(status.st_mode):
                _make_readable_folder(copy / inside)
                continue
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path} is no regular file: remove it")
            size += status.st_size
            if size > limit:
                raise UserError(
                    f"{folder} holds more than {limit / 2**30:.3g} GiB: remove the rest"
                )
            shutil.copyfile(path, copy / inside)
            (copy / inside).chmod(0o644)
        yield copy


def _make_readable_folder(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)  # whatever the umask


def data_set_mounts(
    data_root: Path, target: str, dataset: Dataset, secrets: bool = False
) -> dict[str, Path]:
    """What to mount so that a container finds the data sets in a folder of its own.

    Args:
        data_root: The folder of the data sets.
        target: The folder in the container.
        dataset: The one that will be read.
        secrets: Whether the container may know the labels of a secret rendering.

    Returns:
        Folders and files of this machine, by their path in the container; each entry of the data
        root by itself, since one may be a symbolic link to another disk. A rendered data set may
        stand in the user's cache instead; its folder then has the name that it has in a data root.
        Of one's own data, only these and what is kept of them in a cache, at `address_in`.

    Raises:
        UserError: The data set is in no file, or the container's user can't read it.
    """
    if dataset.path is None:
        raise UserError(
            f"the data set {dataset.name} isn't in {data_root}: make that folder writable, or set "
            "DISENTANGLEMENT_LIB_DATA to one that is"
        )
    if dataset.is_own:
        _check_readable(dataset.path.parent, dataset.path)
        parts = (dataset.path, *map(Path, glob(f"{escape(str(dataset.path))}.cache.*")))
        return {f"{target}/{part.name}": part.resolve() for part in parts}
    entries = data_root.iterdir() if data_root.is_dir() else ()
    mounts = {
        f"{target}/{entry.name}": entry.resolve()
        for entry in sorted(entries)
        if entry.exists()
        and (
            not entry.name.startswith(".") or (secrets and entry.name == mpi3d_mini_secret.SECRETS)
        )
    }
    if data_root.absolute() in dataset.path.absolute().parents:
        _check_readable(data_root, dataset.path)
        return mounts
    folder = dataset.path.absolute().parent
    _check_readable(folder.parent, dataset.path)
    return mounts | {f"{target}/{folder.name}": folder}


def address_in(target: str, dataset: Dataset) -> str:
    """What `--dataset` takes in a container that has `data_set_mounts` of it."""
    return f"{target}/{Path(dataset.address).name}" if dataset.is_own else dataset.name


def _check_readable(data_root: Path, path: Path) -> None:
    inside = path.absolute().relative_to(data_root.absolute())
    place = data_root.absolute()
    for part in inside.parts:
        place = place / part
        needed = stat.S_IROTH | (stat.S_IXOTH if place.is_dir() else 0)
        if place.stat().st_mode & needed != needed:
            raise UserError(
                f"{place} can't be read by the container's user: run "
                f"`chmod -R o+rX {data_root / inside.parts[0]}`"
            )


class _Stream(io.RawIOBase):
    """The chunks of an archive as a file, with an end to what is taken."""

    def __init__(self, chunks: Iterator[bytes], limit: float) -> None:
        self._chunks = chunks
        self._limit = limit
        self._taken = 0
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            try:
                self._rest = next(self._chunks)
            except StopIteration:
                return 0
            self._taken += len(self._rest)
            # A sparse file takes no room where it lies, and all of its length in an archive.
            if self._taken > self._limit + _ARCHIVE_OVERHEAD:
                raise UserError(
                    f"the submission left more than {self._limit / 2**30:.3g} GiB: it was refused"
                )
        piece = self._rest[: len(buffer)]
        self._rest = self._rest[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)
