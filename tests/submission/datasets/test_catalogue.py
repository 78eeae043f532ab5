import ast
import math
from pathlib import Path
from types import ModuleType

import pytest

from submission.datasets import (
    NAMES,
    contact_sheet,
    download,
    image_cache,
    images,
    npz,
    remote,
)
from submission.datasets.catalogue import CATALOGUE, Entry


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=NAMES)
def test_an_entry_tells_where_the_files_belong_and_how_to_get_them(entry: Entry) -> None:
    assert entry.files
    assert not any(path.is_absolute() for path in entry.files)
    assert math.prod(entry.factor_sizes) > 1
    assert bool(entry.remote_files) + entry.is_rendered + bool(entry.note) == 1
    assert entry.sizes_in is None or len(entry.files) == 1


@pytest.mark.parametrize("name", [name for name in NAMES if CATALOGUE[name].remote_files])
def test_what_is_fetched_is_what_is_needed(name: str, tmp_path: Path) -> None:
    entry = CATALOGUE[name]
    assert {file.path for file in entry.remote_files} == set(entry.files)
    assert entry.missing_files(tmp_path) == [tmp_path / path for path in entry.files]
    for file in entry.remote_files:
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert entry.missing_files(tmp_path) == []


def test_a_packed_file_counts_as_the_published_grid(tmp_path: Path) -> None:
    (tmp_path / "mpi3d_toy.npz.gz").touch()
    assert CATALOGUE["mpi3d_toy"].sizes_here(tmp_path) == (6, 6, 2, 3, 3, 40, 40)
    assert CATALOGUE["mpi3d_real_complex"].sizes_here(tmp_path) == (4, 4, 2, 3, 3, 40, 40)


@pytest.mark.parametrize("module", [images, npz, image_cache, remote, download, contact_sheet])
def test_what_serves_all_data_sets_knows_none(module: ModuleType) -> None:
    readers = {entry.load.__module__ for entry in CATALOGUE.values()}
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    }
    assert imported.isdisjoint({*readers, "submission.datasets.catalogue"})
