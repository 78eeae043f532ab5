from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submission.datasets import Dataset, load, mpi3d
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
