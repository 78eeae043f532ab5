import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submission.datasets import load, mpi3d_mini, rendered
from submission.errors import UserError

SIZES = (2, 2, 2, 1, 2, 2, 3)


@pytest.fixture(autouse=True)
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rendered.GRIDS, "default", SIZES)


def test_the_first_load_renders_and_the_second_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load("mpi3d_mini", tmp_path)
    assert first.path == tmp_path / "mpi3d_mini" / "mpi3d_mini.npz"
    np.testing.assert_array_equal(first.images, mpi3d_mini.render(SIZES))
    assert first.factor_names == mpi3d_mini.FACTOR_NAMES
    assert first.is_deterministic
    monkeypatch.setattr(mpi3d_mini, "render", None)
    second = load("mpi3d_mini", tmp_path)
    assert first.float64 and second.float64
    assert isinstance(second.images, np.memmap)
    assert second.factor_sizes == SIZES
    assert second.fingerprint() == first.fingerprint()


def test_the_same_render_gives_the_same_file(tmp_path: Path) -> None:
    images = mpi3d_mini.render(SIZES)
    for name in ("a.npz", "b.npz"):
        rendered.write_file(tmp_path / name, images, SIZES)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_another_renderers_file_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as before:
        before.setattr(rendered, "renderer_version", lambda: "an older one")
        before.setattr(mpi3d_mini, "render", lambda sizes, _: np.zeros((96, 64, 64, 3), np.uint8))
        assert not load("mpi3d_mini", tmp_path).images.any()
    with caplog.at_level(logging.WARNING):
        assert load("mpi3d_mini", tmp_path).images.any()
    assert "another version of the renderer" in caplog.text


def test_a_folder_that_cannot_be_written_leads_to_the_users_cache(
    tmp_path: Path, user_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    dataset = load("mpi3d_mini", tmp_path / "file")
    assert user_cache in dataset.path.parents
    assert f"isn't kept in {tmp_path / 'file' / 'mpi3d_mini'}" in caplog.text
    assert f"mpi3d_mini is kept in {dataset.path}" in caplog.text
    assert load("mpi3d_mini", tmp_path / "file").path == dataset.path


def test_without_any_room_it_stays_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with caplog.at_level(logging.WARNING):
        dataset = load("mpi3d_mini", tmp_path)
    assert dataset.path is None
    assert "stays in memory" in caplog.text
    np.testing.assert_array_equal(dataset.images, mpi3d_mini.render(SIZES))
    assert len(dataset.fingerprint()) == 64


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_one_clear_line(tmp_path: Path, share: float) -> None:
    path = load("mpi3d_mini", tmp_path).path
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"mpi3d_mini\.npz is damaged or cut short"):
        load("mpi3d_mini", tmp_path)


def test_a_file_of_another_grid_or_without_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mpi3d_mini" / "mpi3d_mini.npz"
    images = np.zeros((8, 64, 64, 3), np.uint8)
    rendered.write_file(path, images, (2, 2, 2, 1, 1, 1, 1))
    with pytest.raises(UserError, match="holds the grid"):
        load("mpi3d_mini", tmp_path)
    np.savez(path, images=images, factor_sizes=[2, 2, 2, 1, 1, 1, 2])
    with pytest.raises(
        UserError, match=r"the grid \[2, 2, 2, 1, 1, 1, 2\] needs \[16, 64, 64, 3\]"
    ):
        load("mpi3d_mini", tmp_path)
    np.savez(path, images=images)
    with pytest.raises(UserError, match="no array 'factor_sizes'"):
        load("mpi3d_mini", tmp_path)


def test_two_processes_that_start_at_once_render_one_whole_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from submission.datasets import rendered;"
        f"rendered.GRIDS['default'] = {SIZES};"
        "print(rendered.load('mpi3d_mini', Path(sys.argv[1])).fingerprint())"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path)]
    processes = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate() for process in processes]
    assert {out.strip() for out, _ in outputs} == {load("mpi3d_mini", tmp_path).fingerprint()}
    assert sum("rendering" in err for _, err in outputs) == 1
    assert sorted(os.listdir(tmp_path / "mpi3d_mini")) == [
        ".lock",
        "mpi3d_mini.cache.json",
        "mpi3d_mini.npz",
    ]


def test_disentanglement_libs_mpi3d_reads_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: Callable[[str], Any]
) -> None:
    images = mpi3d_mini.render(SIZES)
    rendered.write_file(tmp_path / "mpi3d_toy" / "mpi3d_toy.npz", images, SIZES)
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path))
    np.testing.assert_array_equal(reference("mpi3d").MPI3D("mpi3d_toy").images, images)
