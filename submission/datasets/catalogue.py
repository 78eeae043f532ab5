"""Every data set that can be loaded, an entry each: a new one is its reader and an entry here."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from submission.datasets import (
    cars3d,
    dsprites,
    mpi3d,
    mpi3d_mini_secret,
    rendered,
    shapes3d,
    smallnorb,
)
from submission.datasets.images import Dataset, Finder, find, gunzip
from submission.datasets.remote import RemoteFile
from submission.errors import UserError, nearest


@dataclass(frozen=True)
class Entry:
    """What is known of a data set before it is opened.

    Attributes:
        name: Its name: disentanglement_lib's, or this project's own.
        load: Opens it, given the name and the data root.
        files: Where its files or folders belong, relative to the data root.
        factor_sizes: The number of values of every factor, as published today.
        remote_files: Where the files are published; none when they can't be fetched.
        find_file: Finds one of `files` in a data root, wherever `load` takes it from.
        sizes_in: Reads the factor sizes from the first file; None when all files have the same.
        value_names: Names the values of the first factors, given the factor sizes.
        challenge_files: What `remote_files` are for the challenge's grid, if that was another one.
        is_rendered: Whether it is rendered on first use, so that there is nothing to fetch.
        note: How to get it by hand; it is read after the name.
    """

    name: str
    load: Callable[[str, Path], Dataset]
    files: tuple[Path, ...]
    factor_sizes: tuple[int, ...]
    remote_files: tuple[RemoteFile, ...] = ()
    find_file: Finder = find
    sizes_in: Callable[[Path], tuple[int, ...]] | None = None
    value_names: Callable[[tuple[int, ...]], tuple[tuple[str, ...], ...]] | None = None
    challenge_files: tuple[RemoteFile, ...] = ()
    is_rendered: bool = False
    note: str = ""

    def missing_files(self, data_root: Path) -> list[Path]:
        """Lists the files (or folders) that the data set needs and that aren't there.

        Args:
            data_root: The folder of the data sets.

        Returns:
            Where they should be.

        Raises:
            UserError: A folder can't be read.
        """
        return [data_root / path for path in self.files if self.find_file(data_root, path) is None]

    def sizes_here(self, data_root: Path) -> tuple[int, ...]:
        """Tells the factor sizes of the files that are there, else of those published.

        Args:
            data_root: The folder of the data sets.

        Returns:
            The number of values of every factor; as published for a file that is still packed.

        Raises:
            UserError: A file is damaged, or a folder can't be read.
        """
        if self.sizes_in is None:
            return self.factor_sizes
        found = self.find_file(data_root, self.files[0])
        if found is None or found.suffix.lower() == ".gz":
            return self.factor_sizes
        return self.sizes_in(found)


def entry_of(name: str) -> Entry:
    """Returns the entry of a data set.

    Args:
        name: What the user wrote.

    Returns:
        Its entry.

    Raises:
        UserError: There is no such data set; the message names the nearest.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    raise UserError(f"unknown data set {name!r}: {nearest(name, tuple(CATALOGUE))}")


def remote_files(name: str, of_challenge: bool = False) -> tuple[RemoteFile, ...]:
    """Lists the published files that a data set needs.

    Args:
        name: The data set.
        of_challenge: For mpi3d_toy and mpi3d_realistic, keep of the 1,036,800 images published
            since the 460,800 that show the challenge's colours and shapes.

    Returns:
        The files.

    Raises:
        UserError: There is no such data set, or nothing of it to fetch.
    """
    entry = entry_of(name)
    if entry.is_rendered:
        raise UserError(
            f"{name} is rendered, not downloaded: `python -m submission.datasets render`"
        )
    if of_challenge:
        if not entry.challenge_files:
            raise UserError(f"the challenge has no file of its own for {name}: omit --challenge")
        return entry.challenge_files
    if not entry.remote_files:
        raise UserError(f"{name} {entry.note}")
    return entry.remote_files


# Where the files are: the README of rr-learning/disentanglement_dataset for MPI3D, today's and
# older ones (but the real.npz of 2024, which is scrambled); disentanglement_lib's
# dlib_download_data for dSprites, the scream, Cars3D and smallNORB; deepmind/3d-shapes for 3D
# Shapes. The md5 sums are those that nmichlo/disent (Cars3D) and vaetc (dSprites) check; the sizes
# and sha256 sums are those of tensorflow/datasets (url_checksums). MPI3D's are in origin.py: files
# that were compressed anew since may be right and have others.
_GOOGLE = "https://storage.googleapis.com"
_OF_2024 = f"{_GOOGLE}/mpi3d_disentanglement_dataset/data"

_find_mpi3d = functools.partial(find, other_names=mpi3d.OTHER_NAMES)
_find_dsprites = functools.partial(find, other_names=dsprites.OTHER_NAMES)


def _mini(name: str) -> Entry:
    return Entry(
        name,
        rendered.load,
        files=(rendered.file_of(name),),
        factor_sizes=rendered.GRIDS[rendered.GRID_OF_NAME[name]],
        find_file=rendered.find_file,
        is_rendered=True,
    )


def _mpi3d(
    name: str,
    remote_files: tuple[RemoteFile, ...] = (),
    challenge_files: tuple[RemoteFile, ...] = (),
    note: str = "",
) -> Entry:
    return Entry(
        name,
        mpi3d.load,
        files=(mpi3d.file_of(name),),
        factor_sizes=mpi3d.published_sizes(name),
        remote_files=remote_files,
        find_file=_find_mpi3d,
        sizes_in=functools.partial(mpi3d.sizes_in, name=name),
        value_names=functools.partial(mpi3d.value_names, name),
        challenge_files=challenge_files,
        note=note,
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
        find_file=_find_mpi3d,
    )


def _cut_for_challenge(published: RemoteFile) -> RemoteFile:
    return replace(
        published,
        check=mpi3d.open_challenge_file,
        unpack=mpi3d.cut_challenge,
        keep=mpi3d.keep_published,
        note="cut from the published file by the colours and shapes that the authors named in "
        "2019; the challenge's own file, which is gone, can't be compared",
    )


def _dsprites(name: str) -> Entry:
    return Entry(
        name,
        dsprites.load,
        files=(dsprites.FILE,),
        factor_sizes=dsprites.FACTOR_SIZES,
        remote_files=(_DSPRITES,),
    )


_TOY = _mpi3d_file("mpi3d_toy", f"{_OF_2024}/mpi3d_toy.npz")
_REALISTIC = _mpi3d_file("mpi3d_realistic", f"{_OF_2024}/mpi3d_realistic.npz")
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
    find_file=_find_dsprites,
)
_SMALLNORB = tuple(
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
)

_ENTRIES = (
    _mini("mpi3d_mini"),
    _mini("mpi3d_mini_full"),
    Entry(
        mpi3d_mini_secret.NAME,
        mpi3d_mini_secret.load,
        files=(mpi3d_mini_secret.FILE,),
        factor_sizes=mpi3d_mini_secret.FACTOR_SIZES,
        note=f"isn't downloaded: {mpi3d_mini_secret.HOW_TO_RENDER} makes it",
    ),
    _mpi3d("mpi3d_toy", (_TOY,), (_cut_for_challenge(_TOY),)),
    _mpi3d("mpi3d_realistic", (_REALISTIC,), (_cut_for_challenge(_REALISTIC),)),
    _mpi3d("mpi3d_real", (_mpi3d_file("mpi3d_real"),)),
    _mpi3d(
        mpi3d.COMPLEX,
        note="is on Google Drive only: get real3d_complicated_shapes_ordered.npz by hand from "
        "https://drive.google.com/file/d/1Tp8eTdHxgUMtsZv5uAoYAbJR1BOa_OQm/view and put it at "
        f"{mpi3d.file_of(mpi3d.COMPLEX)} in the folder of the data sets",
    ),
    _dsprites("dsprites_full"),
    _dsprites("dsprites_noshape"),
    _dsprites("color_dsprites"),
    _dsprites("noisy_dsprites"),
    Entry(
        "scream_dsprites",
        dsprites.load,
        files=(dsprites.FILE, dsprites.SCREAM_FILE),
        factor_sizes=dsprites.FACTOR_SIZES,
        remote_files=(_DSPRITES, _SCREAM),
        find_file=_find_dsprites,
    ),
    Entry(
        "cars3d",
        cars3d.load,
        files=(Path(cars3d.FOLDER),),
        factor_sizes=cars3d.FACTOR_SIZES,
        remote_files=(
            RemoteFile(
                "http://www.scottreed.info/files/nips2015-analogy-data.tar.gz",
                Path(cars3d.FOLDER),
                cars3d.open_folder,
                checksum=("md5", "4e866a7919c1beedf53964e6f7a23686"),
                unpack=cars3d.unpack,
            ),
        ),
        find_file=lambda data_root, _: cars3d.find_folder(data_root),
    ),
    Entry(
        "smallnorb",
        smallnorb.load,
        files=smallnorb.FILES,
        factor_sizes=smallnorb.FACTOR_SIZES,
        remote_files=_SMALLNORB,
    ),
    Entry(
        "shapes3d",
        shapes3d.load,
        files=(Path(shapes3d.FOLDER) / shapes3d.HDF5_FILE,),
        factor_sizes=shapes3d.FACTOR_SIZES,
        remote_files=(
            RemoteFile(
                f"{_GOOGLE}/3d-shapes/3dshapes.h5",
                Path(shapes3d.FOLDER) / shapes3d.HDF5_FILE,
                shapes3d.open_file,
                267_573_662,
                ("sha256", "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785"),
            ),
        ),
        find_file=shapes3d.find_file,
    ),
)

CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
"""Every data set by its name, in the order in which they are listed."""
