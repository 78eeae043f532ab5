import gzip
from pathlib import Path

import pytest

from submission.datasets.images import find, require
from submission.datasets.mpi3d import OTHER_NAMES
from submission.errors import UserError

EXPECTED = Path("mpi3d_toy") / "mpi3d_toy.npz"


def put(path: Path, content: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "place",
    [
        "mpi3d_toy/mpi3d_toy.npz",
        "mpi3d_toy.npz",
        "MPI3D_Toy/mpi3d_toy.NPZ",
        "MPI3D_TOY.npz",
        "mpi3d_toy/sim_toy_64x_ordered_without_heldout_factors.npz",
    ],
)
def test_a_file_one_step_off_is_found(tmp_path: Path, place: str) -> None:
    path = put(tmp_path / place)
    assert find(tmp_path, EXPECTED, OTHER_NAMES) == path
    assert require(tmp_path, EXPECTED, "mpi3d_toy", OTHER_NAMES) == path


def test_the_right_place_and_case_come_first(tmp_path: Path) -> None:
    put(tmp_path / "mpi3d_toy.npz")
    put(tmp_path / "mpi3d_toy" / "MPI3D_toy.npz")
    right = put(tmp_path / "mpi3d_toy" / "mpi3d_toy.npz")
    assert find(tmp_path, EXPECTED) == right


def test_what_macos_leaves_beside_a_copy_is_not_taken_for_it(tmp_path: Path) -> None:
    put(tmp_path / "mpi3d_toy" / "._mpi3d_toy.npz")
    assert find(tmp_path, EXPECTED) is None


def test_a_packed_file_is_unpacked_beside_it_once(tmp_path: Path) -> None:
    packed = put(tmp_path / "mpi3d_toy" / "mpi3d_toy.npz.gz", gzip.compress(b"content"))
    assert find(tmp_path, EXPECTED) == packed
    path = require(tmp_path, EXPECTED, "mpi3d_toy")
    assert path.read_bytes() == b"content"
    packed.unlink()
    assert require(tmp_path, EXPECTED, "mpi3d_toy") == path


def test_a_damaged_packed_file_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    put(tmp_path / "mpi3d_toy" / "mpi3d_toy.npz.gz", gzip.compress(bytes(10_000))[:-20])
    with pytest.raises(UserError, match=r"mpi3d_toy\.npz\.gz is damaged") as caught:
        require(tmp_path, EXPECTED, "mpi3d_toy")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mpi3d_toy" / "mpi3d_toy.npz").exists()


@pytest.mark.parametrize("root", ["", "nowhere", "file"])
def test_nothing_found_names_the_right_place(tmp_path: Path, root: str) -> None:
    put(tmp_path / "file")
    with pytest.raises(UserError, match="download mpi3d_toy") as caught:
        require(tmp_path / root, EXPECTED, "mpi3d_toy")
    assert str(tmp_path / root / EXPECTED) in str(caught.value)


def test_a_folder_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match=r"loop can't be read: ") as caught:
        find(tmp_path / "loop", EXPECTED)
    assert "\n" not in str(caught.value)
