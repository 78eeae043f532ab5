import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submission.datasets import Dataset, load, smallnorb
from submission.errors import UserError

SIZES = (5, 4, 2, 3, 2)


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    """Writes the format of https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/."""
    magic = {1: 0x1E3D4C55, 4: 0x1E3D4C54}[matrix.itemsize]
    sizes = list(matrix.shape) + [1] * (3 - matrix.ndim)
    head = np.array([magic, matrix.ndim, *sizes], dtype="<i4")
    path.write_bytes(head.tobytes() + matrix.tobytes())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every combination of a small grid once, in random order, half of them in either chunk."""
    monkeypatch.setattr(smallnorb, "FACTOR_SIZES", SIZES)
    monkeypatch.setattr(smallnorb, "IMAGES_PER_PIECE", 7)
    random_state = np.random.RandomState(0)
    factors = np.indices(SIZES).reshape(5, -1).T.astype("<i4")
    factors = factors[random_state.permutation(len(factors))]
    stored = factors * [1, 1, 1, 2, 1]
    pixels = random_state.randint(256, size=(len(factors), 2, 96, 96)).astype(np.uint8)
    folder = tmp_path / "small_norb"
    folder.mkdir()
    half = len(factors) // 2
    for chunk, rows in zip(smallnorb.CHUNKS, (slice(half), slice(half, None)), strict=True):
        write_matrix(folder / f"{chunk}-dat.mat", pixels[rows])
        write_matrix(folder / f"{chunk}-cat.mat", stored[rows, 0].astype("<i4"))
        write_matrix(folder / f"{chunk}-info.mat", stored[rows, 1:].astype("<i4"))
    return tmp_path


def disentanglement_libs(
    root: Path, reference: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Its class on a small grid: its own constructor always takes the full one."""
    module, util = reference("norb"), reference("util")
    # It takes the int of an array with one element, which NumPy 2.4 refuses.
    monkeypatch.setattr(module, "int", lambda value: np.asarray(value).item(), raising=False)
    other = object.__new__(module.SmallNORB)
    other.images, features = module._load_small_norb_chunks(
        str(root / "small_norb" / "smallnorb-{}-{}.mat"), module.SMALLNORB_CHUNKS
    )
    other.factor_sizes, other.latent_factor_indices = list(SIZES), [0, 2, 3, 4]
    other.index = util.StateSpaceAtomIndex(other.factor_sizes, features)
    other.state_space = util.SplitDiscreteStateSpace(
        other.factor_sizes, other.latent_factor_indices
    )
    return other


def test_factors_and_images_are_those_of_disentanglement_lib_clipped_to_white(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    reference: Callable[[str], Any],
    same_draws: Callable[[Dataset, Any], None],
) -> None:
    other = disentanglement_libs(root, reference, monkeypatch)
    assert other.images.min() < 0 and other.images.max() > 1  # its defect
    other.images = np.clip(other.images, 0, 1)
    dataset = load("smallnorb", root)
    same_draws(dataset, other)
    assert not dataset.is_deterministic


def test_every_state_has_a_row_of_its_own(root: Path) -> None:
    rows = load("smallnorb", root).image_of_state
    assert sorted(rows.tolist()) == list(range(math.prod(SIZES)))


def test_a_missing_file_names_it_and_the_command(root: Path) -> None:
    path = root / "small_norb" / f"{smallnorb.CHUNKS[1]}-info.mat"
    path.unlink()
    with pytest.raises(UserError, match="download smallnorb") as caught:
        load("smallnorb", root)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["dat", "cat", "info"])
@pytest.mark.parametrize("length", [0, 6, 21, 60])
def test_a_truncated_file_is_named(root: Path, kind: str, length: int) -> None:
    path = root / "small_norb" / f"{smallnorb.CHUNKS[0]}-{kind}.mat"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match=rf"training-{kind}\.mat is damaged") as caught:
        load("smallnorb", root)
    assert "\n" not in str(caught.value)


def test_a_combination_that_is_missing_is_refused(root: Path) -> None:
    path = root / "small_norb" / f"{smallnorb.CHUNKS[0]}-cat.mat"
    write_matrix(path, np.zeros(math.prod(SIZES) // 2, dtype="<i4"))
    with pytest.raises(UserError, match="every combination of factors once"):
        load("smallnorb", root)
    write_matrix(path, np.full(math.prod(SIZES) // 2, 5, dtype="<i4"))
    with pytest.raises(UserError, match="outside the factors' ranges"):
        load("smallnorb", root)


def test_the_wrong_number_of_images_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smallnorb, "FACTOR_SIZES", (5, 10, 9, 18, 6))
    with pytest.raises(UserError, match="holds 240 images; there must be 48,600"):
        load("smallnorb", root)


def test_the_packed_files_are_read_as_they_are_published(root: Path) -> None:
    expected = load("smallnorb", root)
    for path in list((root / "small_norb").iterdir()):
        if path.suffix == ".mat":
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = load("smallnorb", root)
    np.testing.assert_array_equal(packed.images, expected.images)
    np.testing.assert_array_equal(packed.image_of_state, expected.image_of_state)


def test_files_in_the_data_root_itself_are_found(root: Path) -> None:
    expected = load("smallnorb", root).fingerprint()
    for path in list((root / "small_norb").glob("*.mat")):
        path.rename(root / path.name.upper())
    dataset = load("smallnorb", root)
    assert dataset.fingerprint() == expected
    assert dataset.path.parent == root
