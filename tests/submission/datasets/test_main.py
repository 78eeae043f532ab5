import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from submission.datasets import NAMES, load, mpi3d_mini


@pytest.fixture
def run(tmp_path: Path) -> object:
    """Runs the command as a user does, with a data root of its own."""

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "submission.datasets", *arguments],
            env={**os.environ, "DISENTANGLEMENT_LIB_DATA": str(tmp_path / "data")},
            capture_output=True,
            text=True,
            check=False,
        )

    return command


def assert_one_clear_line(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    for word in words:
        assert word in result.stderr


def test_list_shows_every_data_set(run: object, tmp_path: Path) -> None:
    path = tmp_path / "data" / "mpi3d_toy" / "mpi3d_toy.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    result = run("list")
    assert result.returncode == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()[1:]}
    assert list(lines) == list(NAMES)
    assert "28,800" in lines["mpi3d_mini"] and "4x4x2x3x3x10x10" in lines["mpi3d_mini"]
    assert " no " in lines["cars3d"] and str(tmp_path / "data" / "cars") in lines["cars3d"]
    assert " bad " in lines["mpi3d_toy"] and "damaged" in lines["mpi3d_toy"]


def test_render_writes_a_grid_of_ones_own(run: object, tmp_path: Path) -> None:
    output = tmp_path / "new" / "grid.npz"
    result = run("render", "--grid", "2,2,1,1,1,2,2", "--output", str(output))
    assert result.returncode == 0, result.stderr
    with np.load(output) as archive:
        assert archive["images"].shape == (16, 64, 64, 3)
        assert archive["factor_sizes"].tolist() == [2, 2, 1, 1, 1, 2, 2]
        np.testing.assert_array_equal(archive["images"], mpi3d_mini.render((2, 2, 1, 1, 1, 2, 2)))
    dataset = load(str(output))
    assert dataset.is_grid and dataset.factor_names == mpi3d_mini.FACTOR_NAMES
    assert dataset.factors_num_values == [2, 2, 2, 2]


def test_the_default_grid_and_its_contact_sheet(run: object, tmp_path: Path) -> None:
    assert run("render").returncode == 0
    assert (tmp_path / "data" / "mpi3d_mini" / "mpi3d_mini.npz").exists()
    result = run("contact-sheet", "--output", str(tmp_path / "sheet.png"))
    assert result.returncode == 0, result.stderr
    assert "rendering" not in result.stderr
    with PIL.Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"


@pytest.mark.parametrize("grid", ["tiny", "1,2,3", "4,4,2,3,3,10,x", "0,4,2,3,3,10,10", ""])
def test_a_wrong_grid_is_one_clear_line(run: object, tmp_path: Path, grid: str) -> None:
    result = run("render", "--grid", grid, "--output", str(tmp_path / "grid.npz"))
    assert_one_clear_line(result, "--grid", "7 sizes")


def test_a_grid_of_ones_own_needs_an_output(run: object) -> None:
    assert_one_clear_line(run("render", "--grid", "2,2,1,1,1,2,2"), "--output FILE.npz")


def test_a_grid_too_fine_is_one_clear_line(run: object, tmp_path: Path) -> None:
    arguments = ["render", "--grid", "7,4,2,3,3,10,10", "--output", str(tmp_path / "grid.npz")]
    assert_one_clear_line(run(*arguments))


def test_an_output_that_is_no_npz_is_one_clear_line(run: object, tmp_path: Path) -> None:
    assert_one_clear_line(run("render", "--output", str(tmp_path / "grid.zip")), "end in .npz")


def test_downloading_an_unknown_data_set_is_one_clear_line(run: object) -> None:
    assert_one_clear_line(run("download", "mpi3d_tot"), "did you mean mpi3d_toy?")


def test_downloading_what_is_rendered_is_one_clear_line(run: object) -> None:
    assert_one_clear_line(run("download", "mpi3d_mini"), "rendered, not downloaded")


def test_checking_what_is_not_here_is_one_clear_line(run: object, tmp_path: Path) -> None:
    assert_one_clear_line(run("check", "mpi3d_real"), "mpi3d_real.npz", "download mpi3d_real")
    assert_one_clear_line(run("check", "mpi3d_rael"), "did you mean mpi3d_real?")


def test_a_data_set_without_an_address_says_where_to_get_it(run: object) -> None:
    result = run("download", "mpi3d_real_complex")
    assert_one_clear_line(result, "drive.google.com", "real3d_complicated_shapes_ordered.npz")


def test_a_data_folder_that_cannot_be_used_is_one_clear_line(run: object, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    assert_one_clear_line(run("download", "cars3d"), str(tmp_path / "data"), "can't be made")
    result = run("list")
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_during_rendering_is_one_line_and_leaves_no_file(
    tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "folder" / "grid.npz"
    command = [sys.executable, "-m", "submission.datasets", "render", "--grid", "full"]
    with subprocess.Popen(
        [*command, "--output", str(output)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        # The first line on how far it is.
        told = process.stderr.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert told.startswith("rendering mpi3d_mini")
    assert process.returncode == 1
    lines = errors.splitlines()
    assert lines[-1] == f"interrupted by {number.name}"
    assert all(line.startswith("rendering mpi3d_mini") for line in lines[:-1])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
