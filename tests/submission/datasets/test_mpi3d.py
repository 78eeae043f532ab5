import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submission.datasets import Dataset, load, load_unchecked, mpi3d, origin
from submission.errors import UserError


def write(root: Path, name: str, count: int, shape: tuple[int, ...] = (2, 2, 3)) -> Path:
    """Writes a file of the real number of images, each tiny and different from its neighbours."""
    path = root / name / f"{name}.npz"
    path.parent.mkdir()
    pixels = np.random.RandomState(0).bytes(count * int(np.prod(shape)))
    np.savez(path, images=np.frombuffer(pixels, dtype=np.uint8).reshape(count, *shape))
    return path


@pytest.mark.parametrize(
    ("name", "count"),
    [("mpi3d_toy", 460_800), ("mpi3d_realistic", 460_800), ("mpi3d_real", 1_036_800)],
)
def test_factors_and_images_are_those_of_disentanglement_lib(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reference: Callable[[str], Any],
    same_draws: Callable[[Dataset, Any], None],
    name: str,
    count: int,
) -> None:
    monkeypatch.setattr(mpi3d, "IMAGE_SHAPE", (2, 2, 3))
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path))
    write(tmp_path, name, count)
    module = reference("mpi3d")
    monkeypatch.setattr(module.MPI3D, "observation_shape", [2, 2, 3])
    same_draws(load(name), module.MPI3D(name))
    assert load(name).float64


def test_the_number_of_images_decides_the_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mpi3d, "IMAGE_SHAPE", (1, 1, 3))
    write(tmp_path, "mpi3d_toy", 1_036_800, (1, 1, 3))
    write(tmp_path, "mpi3d_real", 460_800, (1, 1, 3))
    assert load("mpi3d_toy", tmp_path).factor_sizes == (6, 6, 2, 3, 3, 40, 40)
    assert load("mpi3d_real", tmp_path).factor_sizes == (4, 4, 2, 3, 3, 40, 40)
    assert load("mpi3d_toy", tmp_path).is_deterministic


def test_any_other_number_of_images_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "mpi3d_toy", 10, (64, 64, 3))
    with pytest.raises(UserError, match=r"mpi3d_toy\.npz holds 10 images; .*460,800 .*1,036,800"):
        load("mpi3d_toy", tmp_path)


def test_another_image_shape_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "mpi3d_toy", 10, (32, 64, 3))
    with pytest.raises(
        UserError, match=r"shape \[10, 32, 64, 3\]; it must be \[count, 64, 64, 3\]"
    ):
        load("mpi3d_toy", tmp_path)


def test_a_missing_file_names_the_path_and_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="download mpi3d_toy") as caught:
        load("mpi3d_toy", tmp_path)
    assert str(tmp_path / "mpi3d_toy" / "mpi3d_toy.npz") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean mpi3d_toy"):
        load("mpi3dtoy")


def write_images(path: Path, images: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=images)
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A grid of 72 images of 8x8 pixels."""
    sizes = (6, 6, 2, 1, 1, 1, 1)
    monkeypatch.setattr(mpi3d, "IMAGE_SHAPE", (8, 8, 3))
    monkeypatch.setattr(mpi3d, "PUBLISHED_SIZES", sizes)
    monkeypatch.setattr(mpi3d, "CHALLENGE_SIZES", (4, 4, 2, 1, 1, 1, 1))
    monkeypatch.setattr(mpi3d, "SIZES_OF_COUNT", {72: sizes, 32: (4, 4, 2, 1, 1, 1, 1)})
    return np.random.RandomState(0).randint(256, size=(72, 8, 8, 3)).astype(np.uint8)


def test_the_array_in_the_grid_of_its_readme_is_read_as_the_row_of_images(
    tmp_path: Path, small: np.ndarray
) -> None:
    write_images(tmp_path / "mpi3d_toy.npz", small.reshape(6, 6, 2, 1, 1, 1, 1, 8, 8, 3))
    dataset = load("mpi3d_toy", tmp_path)
    assert dataset.factor_sizes == (6, 6, 2, 1, 1, 1, 1)
    np.testing.assert_array_equal(dataset.images, small)


def test_the_grid_in_another_order_is_refused(tmp_path: Path, small: np.ndarray) -> None:
    write_images(tmp_path / "mpi3d_toy.npz", small.reshape(2, 6, 6, 1, 1, 1, 1, 8, 8, 3))
    with pytest.raises(UserError, match=r"in a grid \[2, 6, 6, 1, 1, 1, 1\]"):
        load("mpi3d_toy", tmp_path)


def test_the_complex_shapes_are_a_data_set_of_their_own(tmp_path: Path, small: np.ndarray) -> None:
    path = tmp_path / "mpi3d_real_complex" / "real3d_complicated_shapes_ordered.npz"
    write_images(path, small[:32])
    dataset = load("mpi3d_real_complex", tmp_path)
    assert dataset.factor_sizes == (4, 4, 2, 1, 1, 1, 1)
    names = mpi3d.value_names("mpi3d_real_complex", dataset.factor_sizes)
    assert names[1] == ("coffee cup", "tennis ball", "croissant", "beer cup")
    write_images(path, small)
    with pytest.raises(UserError, match="holds 72 images; an MPI3D grid has 32"):
        load("mpi3d_real_complex", tmp_path)


def test_a_file_that_nothing_vouches_for_is_warned_of_until_it_is_looked_at(
    tmp_path: Path, small: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_images(tmp_path / "mpi3d_real" / "mpi3d_real.npz", small)
    for _ in range(2):
        caplog.clear()
        load("mpi3d_real", tmp_path)
        assert f"{path} has none of the checksums" in caplog.text
        assert "`python -m submission.datasets check mpi3d_real`" in caplog.text
    origin.remember_as_known(load_unchecked("mpi3d_real", tmp_path))
    caplog.clear()
    load("mpi3d_real", tmp_path)
    assert caplog.text == ""
    write_images(path, small[::-1])
    load("mpi3d_real", tmp_path)
    assert "none of the checksums" in caplog.text


@pytest.mark.parametrize("table", ["MD5_OF_FILE", "SHA256_OF_IMAGES"])
def test_a_file_of_a_known_checksum_needs_no_look(
    tmp_path: Path,
    small: np.ndarray,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
) -> None:
    path = write_images(tmp_path / "mpi3d_realistic" / "mpi3d_realistic.npz", small)
    with zipfile.ZipFile(path) as archive:
        of_images = hashlib.sha256(archive.read("images.npy")).hexdigest()
    digests = {
        "MD5_OF_FILE": hashlib.md5(path.read_bytes()).hexdigest(),
        "SHA256_OF_IMAGES": of_images,
    }
    monkeypatch.setitem(getattr(origin, table), "mpi3d_realistic", digests[table])
    load("mpi3d_realistic", tmp_path)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "web page"),
    ],
)
def test_what_stands_in_the_files_place_is_named(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "mpi3d_toy" / "mpi3d_toy.npz"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        load("mpi3d_toy", tmp_path)
    assert "\n" not in str(caught.value)
