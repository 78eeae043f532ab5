"""What goes into a container as data sets."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from container import ownership, results
from submission import datasets
from submission.datasets import Dataset, mpi3d_mini_secret
from submission.errors import UserError


@pytest.fixture
def cached(tmp_path: Path, mpi3d_mini: Dataset) -> Dataset:
    """A data set that was rendered into the user's cache."""
    path = tmp_path / "cache" / "mpi3d_mini" / "mpi3d_mini.npz"
    path.parent.mkdir(parents=True)
    path.touch()
    return dataclasses.replace(mpi3d_mini, path=path)


@pytest.fixture(scope="module")
def mpi3d_mini() -> Dataset:
    return datasets.load("mpi3d_mini")


def test_a_data_set_in_the_users_cache_is_where_the_container_looks_for_it(cached, tmp_path):
    mounts = results.data_set_mounts(tmp_path / "none", "/DATASET", cached)
    assert mounts == {"/DATASET/mpi3d_mini": tmp_path / "cache" / "mpi3d_mini"}


def test_the_rest_of_the_data_root_is_there_too(cached, tmp_path):
    (tmp_path / "root" / "cars").mkdir(parents=True)
    mounts = results.data_set_mounts(tmp_path / "root", "/DATASET", cached)
    assert set(mounts) == {"/DATASET/cars", "/DATASET/mpi3d_mini"}


def test_a_data_set_in_memory_is_refused(cached, tmp_path):
    with pytest.raises(UserError, match="make that folder writable"):
        results.data_set_mounts(tmp_path, "/DATASET", dataclasses.replace(cached, path=None))


def test_ones_own_file_goes_in_by_itself_with_what_is_kept_of_it(tmp_path):
    path = tmp_path / "my [1] images.npz"
    np.savez_compressed(path, images=np.zeros((4, 64, 64), np.uint8))
    (tmp_path / "diary.txt").touch()
    own = datasets.load(str(path))
    mounts = results.data_set_mounts(tmp_path, "/DATASET", own)
    names = [path.name, f"{path.name}.cache.json", f"{path.name}.cache.npy"]
    assert mounts == {f"/DATASET/{name}": tmp_path / name for name in names}
    assert results.address_in("/DATASET", own) == "/DATASET/my [1] images.npz"


def test_a_cached_file_that_the_containers_user_cannot_read_is_told(cached, tmp_path):
    assert cached.path is not None
    cached.path.chmod(0o600)
    with pytest.raises(UserError, match="can't be read by the container's user"):
        results.data_set_mounts(tmp_path / "none", "/DATASET", cached)


def test_a_copy_for_a_container_can_be_read_whatever_the_umask(tmp_path):
    (tmp_path / "given" / "folder").mkdir(parents=True)
    (tmp_path / "given" / "folder" / "model").touch()
    before = os.umask(0o077)
    try:
        with results.readable_copy(tmp_path / "given", 2**20) as copy:
            modes = [path.stat().st_mode & 0o777 for path in (copy, *sorted(copy.rglob("*")))]
    finally:
        os.umask(before)
    assert modes == [0o755, 0o755, 0o644]


def test_a_copy_for_a_container_lies_in_the_checkout_if_that_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "given").mkdir()
    monkeypatch.setattr(ownership, "SCRATCH", tmp_path)
    with results.readable_copy(tmp_path / "given", 0) as copy:
        assert copy.is_relative_to(tmp_path)
    monkeypatch.setattr(ownership, "SCRATCH", tmp_path / "missing")
    with results.readable_copy(tmp_path / "given", 0) as copy:
        assert not copy.is_relative_to(tmp_path)


def test_the_seed_of_a_secret_rendering_is_the_scorers_alone(cached, tmp_path):
    for folder in ("mpi3d_mini", mpi3d_mini_secret.SECRETS, ".cache"):
        (tmp_path / "root" / folder).mkdir(parents=True)
    trained = results.data_set_mounts(tmp_path / "root", "/DATASET", cached)
    scored = results.data_set_mounts(tmp_path / "root", "/DATASET", cached, secrets=True)
    assert trained.keys() == {"/DATASET/mpi3d_mini"}
    assert scored.keys() == {"/DATASET/mpi3d_mini", "/DATASET/.secret"}
