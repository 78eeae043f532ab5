import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from submission.datasets import Dataset, load, shapes3d
from submission.errors import UserError

SIZES = (2, 3, 2, 2, 2, 4)


def grid() -> tuple[np.ndarray, np.ndarray]:
    count = math.prod(SIZES)
    images = np.random.RandomState(0).randint(256, size=(count, 64, 64, 3)).astype(np.uint8)
    labels = np.indices(SIZES).reshape(len(SIZES), -1).T * [0.1, 0.1, 0.1, 0.07, 1, -4.3]
    return images, labels * [1, 1, 1, 1, 1, -1] - 30


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shapes3d, "FACTOR_SIZES", SIZES)
    monkeypatch.setattr(shapes3d, "IMAGES_PER_PIECE", 50)
    (tmp_path / "3dshapes").mkdir()
    return tmp_path


def write_hdf5(root: Path, **arrays: np.ndarray) -> None:
    with h5py.File(root / "3dshapes" / "3dshapes.h5", "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip", compression_opts=1)


def disentanglement_libs(
    path: Path, reference: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> Any:
    module, util = reference("shapes3d"), reference("util")
    monkeypatch.setattr(module, "SHAPES3D_PATH", str(path))
    other = module.Shapes3D()
    # Its grid is always the published one; the images and the formulas are its own.
    other.factor_sizes = list(SIZES)
    other.state_space = util.SplitDiscreteStateSpace(list(SIZES), list(range(6)))
    other.factor_bases = np.prod(SIZES) / np.cumprod(SIZES)
    return other


def test_both_files_give_the_factors_and_images_of_disentanglement_lib(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reference: Callable[[str], Any],
    same_draws: Callable[[Dataset, Any], None],
) -> None:
    images, labels = grid()
    write_hdf5(root, images=images, labels=labels)
    from_hdf5 = load("shapes3d", root)
    path = root / "3dshapes" / shapes3d.NPZ_FILE
    np.savez(path, images=images.reshape(*SIZES, 64, 64, 3), labels=labels.reshape(*SIZES, 6))
    from_npz = load("shapes3d", root)
    other = disentanglement_libs(path, reference, monkeypatch)
    same_draws(from_hdf5, other)
    same_draws(from_npz, other)
    assert from_hdf5.path.suffix == ".h5" and from_npz.path == path
    assert from_hdf5.fingerprint() == from_npz.fingerprint()


def test_the_second_load_decodes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = grid()
    write_hdf5(root, images=images, labels=labels)
    load("shapes3d", root)
    monkeypatch.setattr(shapes3d, "_decode", None)
    np.testing.assert_array_equal(load("shapes3d", root).images, images)


def test_wrong_content_is_refused(root: Path) -> None:
    images, labels = grid()
    for arrays, message in (
        ({"images": images}, "no array 'labels'"),
        ({"labels": labels}, "no array 'images', only labels"),
        ({"images": images[:-1], "labels": labels}, r"shape \[191, 64, 64, 3\]; it must be uint8"),
        ({"images": images.astype(np.int32), "labels": labels}, "it must be uint8"),
        ({"images": images, "labels": labels[::-1]}, "order of the published file"),
        ({"images": images, "labels": labels[:, :5]}, "'labels' has the shape"),
    ):
        write_hdf5(root, **arrays)
        with pytest.raises(UserError, match=message):
            load("shapes3d", root)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_truncated_file_is_one_clear_line(root: Path, share: float) -> None:
    images, labels = grid()
    write_hdf5(root, images=images, labels=labels)
    path = root / "3dshapes" / "3dshapes.h5"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"3dshapes\.h5 is damaged") as caught:
        load("shapes3d", root)
    assert "\n" not in str(caught.value)


def test_pixels_that_rotted_are_noticed(root: Path) -> None:
    images, labels = grid()
    write_hdf5(root, images=images, labels=labels)
    path = root / "3dshapes" / "3dshapes.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"3dshapes\.h5 is damaged"):
        load("shapes3d", root)


def test_a_missing_file_names_the_published_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"3dshapes/3dshapes\.h5; get it with .*download shapes3d"):
        load("shapes3d", tmp_path)
