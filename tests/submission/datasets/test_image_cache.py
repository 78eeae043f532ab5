import json
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from submission.datasets import image_cache, npz
from submission.datasets.image_cache import ImageSource, fingerprint_of, open_images
from submission.datasets.npz import npz_source, open_npz_array
from submission.errors import UserError

SHAPE = (4, 4, 3)


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.setattr(image_cache, "CHUNK_BYTES", 1000)  # so that there are several pieces
    return np.random.RandomState(0).randint(256, size=(100, *SHAPE)).astype(np.uint8)


def source_of(path: Path) -> ImageSource:
    return npz_source(open_npz_array(path, "images"), SHAPE)


def forbid_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Iterator[np.ndarray]:
        raise AssertionError("the pixels were read again")

    monkeypatch.setattr(npz, "npz_chunks", fail)


def test_an_uncompressed_array_is_mapped_in_place(tmp_path: Path, images: np.ndarray) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, before=np.arange(3), images=images)
    opened, fingerprint = open_images(source_of(path))
    assert isinstance(opened, np.memmap)
    assert Path(opened.filename) == path
    np.testing.assert_array_equal(opened, images)
    assert fingerprint == fingerprint_of(images)
    assert not list(tmp_path.glob("*.npy"))


def test_a_compressed_array_is_decoded_once_into_a_file_beside_it(
    tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=images)
    opened, fingerprint = open_images(source_of(path))
    assert Path(opened.filename) == tmp_path / "set.cache.npy"
    np.testing.assert_array_equal(opened, images)
    np.testing.assert_array_equal(np.load(tmp_path / "set.cache.npy"), images)
    assert fingerprint == fingerprint_of(images)
    forbid_reading(monkeypatch)
    again, fingerprint_again = open_images(source_of(path))
    np.testing.assert_array_equal(again, images)
    assert fingerprint_again == fingerprint


def test_opened_images_are_read_only(tmp_path: Path, images: np.ndarray) -> None:
    np.savez(tmp_path / "set.npz", images=images)
    opened, _ = open_images(source_of(tmp_path / "set.npz"))
    with pytest.raises(ValueError):
        opened[0] = 0


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_replaced_file_is_read_anew(tmp_path: Path, images: np.ndarray, save: object) -> None:
    path = tmp_path / "set.npz"
    save(path, images=images)
    open_images(source_of(path))
    save(path, images=255 - images)
    opened, fingerprint = open_images(source_of(path))
    np.testing.assert_array_equal(opened, 255 - images)
    assert fingerprint == fingerprint_of(255 - images)


def test_another_modification_time_is_another_file(tmp_path: Path, images: np.ndarray) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=images)
    open_images(source_of(path))
    before = (tmp_path / "set.cache.npy").stat().st_mtime_ns
    os.utime(path, ns=(1, 1))
    open_images(source_of(path))
    assert (tmp_path / "set.cache.npy").stat().st_mtime_ns != before


def test_a_damaged_cache_or_stamp_is_made_anew(tmp_path: Path, images: np.ndarray) -> None:
    path, cache, stamp = (tmp_path / f"set.{end}" for end in ("npz", "cache.npy", "cache.json"))
    np.savez_compressed(path, images=images)
    open_images(source_of(path))
    for harm in (
        lambda: cache.write_bytes(cache.read_bytes()[:500]),
        lambda: cache.unlink(),
        lambda: stamp.write_text("{"),
        lambda: stamp.write_text("[]"),
        lambda: stamp.write_text(json.dumps({"version": 0})),
    ):
        harm()
        np.testing.assert_array_equal(open_images(source_of(path))[0], images)


def test_without_room_images_stay_in_memory_with_a_note(
    tmp_path: Path,
    images: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    np.savez_compressed(tmp_path / "set.npz", images=images)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with caplog.at_level(logging.WARNING):
        opened, fingerprint = open_images(source_of(tmp_path / "set.npz"))
    assert not isinstance(opened, np.memmap)
    assert not opened.flags.writeable
    np.testing.assert_array_equal(opened, images)
    assert fingerprint == fingerprint_of(images)
    assert "memory" in caplog.text and "no room" in caplog.text
    assert not list(tmp_path.glob("*.npy"))


def test_a_disk_that_fills_up_meanwhile_leaves_no_file(
    tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "set.npz", images=images)
    # A real full disk: /dev/full answers every write with ENOSPC.
    real = image_cache.write_atomically

    def write_to_full_disk(path: Path, write: object) -> None:
        def and_fill(file: object) -> None:
            write(file)
            with open("/dev/full", "wb", buffering=0) as full:
                full.write(b"x")

        real(path, and_fill)

    monkeypatch.setattr(image_cache, "write_atomically", write_to_full_disk)
    opened, _ = open_images(source_of(tmp_path / "set.npz"))
    np.testing.assert_array_equal(opened, images)
    assert not list(tmp_path.glob("*.npy")) + list(tmp_path.glob(".incomplete*"))


def test_a_read_only_folder_uses_memory_and_the_users_cache(
    tmp_path: Path, images: np.ndarray, user_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compressed, stored = tmp_path / "a" / "set.npz", tmp_path / "b" / "set.npz"
    for path in (compressed, stored):
        path.parent.mkdir()
    np.savez_compressed(compressed, images=images)
    np.savez(stored, images=images)
    # Root may write in any folder, so the folders' own permissions can't be used here.
    real_access, real_open = os.access, os.open

    def access(path: object, mode: int) -> bool:
        return tmp_path not in Path(path).parents and real_access(path, mode)

    def open_(path: object, flags: int, *rest: object, **named: object) -> int:
        if tmp_path in Path(path).parents and flags & os.O_CREAT:
            raise OSError(30, "Read-only file system", str(path))
        return real_open(path, flags, *rest, **named)

    monkeypatch.setattr(os, "access", access)
    monkeypatch.setattr(os, "open", open_)
    np.testing.assert_array_equal(open_images(source_of(compressed))[0], images)
    np.testing.assert_array_equal(open_images(source_of(stored))[0], images)
    assert [path.name for path in compressed.parent.iterdir()] == ["set.npz"]
    assert list(user_cache.rglob("*.json"))
    forbid_reading(monkeypatch)
    np.testing.assert_array_equal(open_images(source_of(stored))[0], images)


def test_a_flipped_pixel_in_a_stored_array_is_noticed(tmp_path: Path, images: np.ndarray) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, images=images)
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"set\.npz is damaged"):
        open_images(source_of(path))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_one_clear_line(
    tmp_path: Path, images: np.ndarray, save: object, share: float
) -> None:
    path = tmp_path / "set.npz"
    save(path, images=images)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"set\.npz is damaged or cut short") as caught:
        open_images(source_of(path))
    assert "\n" not in str(caught.value)


def test_every_damaged_byte_of_a_compressed_file_gives_a_clear_line_or_the_right_images(
    tmp_path: Path, images: np.ndarray
) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=images)
    content = path.read_bytes()
    refused = 0
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            np.testing.assert_array_equal(open_images(source_of(path))[0], images)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 10


def test_a_missing_key_names_those_there_are(tmp_path: Path, images: np.ndarray) -> None:
    np.savez(tmp_path / "set.npz", pictures=images, more=images)
    with pytest.raises(UserError, match="no array 'images', only pictures, more"):
        source_of(tmp_path / "set.npz")


def test_wrong_types_are_refused(tmp_path: Path, images: np.ndarray) -> None:
    np.savez(tmp_path / "set.npz", images=images.astype(np.float32))
    with pytest.raises(UserError, match="'images' is float32; it must be uint8"):
        source_of(tmp_path / "set.npz")
    np.savez(tmp_path / "set.npz", images=np.asfortranarray(images))
    with pytest.raises(UserError, match="column-major"):
        source_of(tmp_path / "set.npz")


def test_a_header_that_promises_more_than_there_is_is_refused(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "set.npz", "w") as archive,
        archive.open("images.npy", "w") as f,
    ):
        header = {"descr": "|u1", "fortran_order": False, "shape": (100, *SHAPE)}
        np.lib.format.write_array_header_1_0(f, header)
        f.write(bytes(10))
    with pytest.raises(UserError, match="not as long as its header says"):
        source_of(tmp_path / "set.npz")


def test_two_processes_decode_the_same_file_without_harm(
    tmp_path: Path, images: np.ndarray
) -> None:
    np.savez_compressed(tmp_path / "set.npz", images=images)
    code = (
        "import sys; from pathlib import Path; from submission.datasets.image_cache import *;"
        "from submission.datasets.npz import *;"
        "a = open_npz_array(Path(sys.argv[1]), 'images');"
        "print(open_images(npz_source(a, (4, 4, 3)))[1])"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "set.npz")]
    processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    prints = {process.communicate()[0].strip() for process in processes}
    assert prints == {fingerprint_of(images)}
    assert not list(tmp_path.glob(".incomplete*"))


def test_what_a_killed_process_left_is_removed(tmp_path: Path, images: np.ndarray) -> None:
    np.savez_compressed(tmp_path / "set.npz", images=images)
    (tmp_path / ".incomplete-abc").write_bytes(b"half")
    open_images(source_of(tmp_path / "set.npz"))
    assert not list(tmp_path.glob(".incomplete*"))
