from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from submission.datasets import Dataset, cars3d, load
from submission.errors import UserError

SIZES = (4, 24, 3)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three cars, with as many views of each as in the published files."""
    monkeypatch.setattr(cars3d, "FACTOR_SIZES", SIZES)
    folder = tmp_path / "cars"
    folder.mkdir()
    random_state = np.random.RandomState(0)
    for number in range(SIZES[2]):
        views = random_state.randint(256, size=(128, 128, 3, 24, 4)).astype(np.uint8)
        scipy.io.savemat(folder / f"car_{number:03}_mesh.mat", {"im": views})
    return tmp_path


def test_factors_and_images_are_those_of_disentanglement_lib(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    reference: Callable[[str], Any],
    same_draws: Callable[[Dataset, Any], None],
) -> None:
    module, util = reference("cars3d"), reference("util")
    monkeypatch.setattr(module, "CARS3D_PATH", str(root / "cars"))
    # Its order of the cars is the file system's; ours is the names'.
    files = sorted(path.name for path in (root / "cars").glob("*.mat"))
    monkeypatch.setattr(module.gfile, "ListDirectory", lambda _: files)
    other = module.Cars3D()
    # Its grid always has 183 cars; with three, only the sampling has to know.
    other.state_space = util.SplitDiscreteStateSpace(list(SIZES), [0, 1, 2])
    other.factor_sizes = list(SIZES)
    same_draws(load("cars3d", root), other)


def test_the_second_load_reads_no_mat_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load("cars3d", root)
    monkeypatch.setattr(cars3d, "_read_car", None)
    second = load("cars3d", root)
    np.testing.assert_array_equal(first.images, second.images)
    assert first.fingerprint() == second.fingerprint()


def test_a_missing_car_is_refused(root: Path) -> None:
    next((root / "cars").iterdir()).unlink()
    with pytest.raises(UserError, match=r"holds 2 \.mat files; there must be 3"):
        load("cars3d", root)


def test_a_missing_folder_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="download cars3d"):
        load("cars3d", tmp_path)


def test_a_damaged_car_is_named(root: Path) -> None:
    path = root / "cars" / "car_001_mesh.mat"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"car_001_mesh\.mat is damaged"):
        load("cars3d", root)
    scipy.io.savemat(path, {"im": np.zeros((128, 128, 3, 24, 2), np.uint8)})
    with pytest.raises(UserError, match=r"'im' uint8 \[128, 128, 3, 24, 2\]; it must be"):
        load("cars3d", root)
    scipy.io.savemat(path, {"other": np.zeros(3)})
    with pytest.raises(UserError, match="no 'im'"):
        load("cars3d", root)
    scipy.io.savemat(path, {"im": np.zeros((60, 60, 3, 24, 4), np.uint8)})
    with pytest.raises(UserError, match="64x64"):
        load("cars3d", root)


def test_what_macos_leaves_beside_a_car_is_no_car(root: Path) -> None:
    (root / "cars" / "._car_001_mesh.mat").write_bytes(b"\0\5\x16\7 AppleDouble")
    assert len(load("cars3d", root).images) == 4 * 24 * 3


@pytest.mark.parametrize("place", ["Cars", "data/cars", "."])
def test_a_folder_one_step_off_is_found(root: Path, place: str) -> None:
    (root / place).mkdir(parents=True, exist_ok=True)
    for path in list((root / "cars").iterdir()):
        path.rename(root / place / path.name)
    (root / "cars").rmdir()
    assert len(load("cars3d", root).images) == 4 * 24 * 3
