import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from submission.datasets import checked_name, load
from submission.datasets.__main__ import check
from submission.datasets.contact_sheet import CAPTION, GAP, PANEL
from submission.errors import UserError


def test_it_is_called_by_its_stem_and_known_by_its_path(
    path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(path, images=images)
    monkeypatch.chdir(path.parent)
    dataset = load("squares.npz")
    assert dataset.name == "squares"
    assert dataset.address == str(path) == checked_name("squares.npz")


def test_it_never_has_the_name_of_another_data_set(path: Path, images: np.ndarray) -> None:
    mine = path.with_name("mpi3d_toy.npz")
    np.savez(mine, images=images)
    assert load(str(mine)).name == "own_mpi3d_toy"


@pytest.mark.parametrize("name", ["no/such/folder", "missing.npz", "/dev/null"])
def test_a_path_that_is_no_data_set_is_told(name: str) -> None:
    with pytest.raises(UserError, match=r"\.npz, \.h5, \.hdf5 or a folder of PNG or JPEG files"):
        checked_name(name)


def test_what_is_no_path_stays_a_name() -> None:
    with pytest.raises(UserError, match="did you mean mpi3d_toy"):
        checked_name("mpi3dtoy")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_leaves_the_images_in_memory(
    path: Path, images: np.ndarray
) -> None:
    np.savez_compressed(path, images=images)
    path.parent.chmod(0o555)
    np.testing.assert_array_equal(load(str(path)).images, images)


def test_check_draws_what_there_is(
    path: Path, images: np.ndarray, factors: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = path.with_name("sheet.png")
    # Without the middle of the grid.
    kept = (factors != [1, 2, 2]).any(axis=1)
    np.savez(path, images=images[kept], factors=factors[kept])
    check(str(path), sheet, path.parent)
    assert "59 images (3x4x5, 59 of 60 combinations)" in capsys.readouterr().out
    with PIL.Image.open(sheet) as drawn:
        assert drawn.height == GAP + 3 * (PANEL + CAPTION + GAP)
    np.savez(path, images=images)
    check(str(path), sheet, path.parent)
    assert "60 images (no factors)" in capsys.readouterr().out
    with PIL.Image.open(sheet) as drawn:
        assert drawn.height == GAP + PANEL + CAPTION + GAP
