"""A rendering that no file can know, and whose labels only its owner has."""

import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from submission.datasets import load, mpi3d_mini, mpi3d_mini_secret, secret_scene
from submission.datasets.image_cache import fingerprint_of
from submission.errors import UserError

SIZES = (4, 4, 2, 3, 3, 2, 2)
FINGERPRINT = "9c649bda40dfcee0bdb6ebb8372f947a5dd64aa09b0e91aff32df4a20f2c61c7"
VISIBLE_STEP = 24  # of 255, as in the tests of mpi3d_mini


@pytest.fixture
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi3d_mini_secret, "FACTOR_SIZES", SIZES)


def changed_pixels(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Visibly changed pixels of each pair of images."""
    change = np.maximum(before, after) - np.minimum(before, after)
    return np.count_nonzero(change.max(axis=-1) >= VISIBLE_STEP, axis=(-1, -2)).ravel()


def fewest_changed(grid: np.ndarray, factor: int) -> int:
    """Of all states and all pairs of a factor's values; of an angle, neighbours."""
    values = range(grid.shape[factor])
    pairs = itertools.pairwise(values) if factor > 4 else itertools.combinations(values, 2)
    return min(
        changed_pixels(grid.take(one, axis=factor), grid.take(other, axis=factor)).min()
        for one, other in pairs
    )


def test_every_factor_is_seen_in_every_state() -> None:
    scene, sizes = secret_scene.scene(2**127 + 1), (4, 4, 2, 3, 3, 2, 2)
    images = scene.render(sizes)
    assert len({image.tobytes() for image in images}) == math.prod(sizes)
    grid = images.reshape(*sizes, 64, 64, 3)
    fewest = [fewest_changed(grid, factor) for factor in range(5)]
    assert all(np.array(fewest) >= [12, 5, 20, 400, 100]), fewest
    for edge in (grid[..., 0, :, :], grid[..., -1, :, :], grid[..., 0, :], grid[..., -1, :]):
        assert (edge == edge[:1, :1, :1, :, :, :1, :1]).all(), "the object is cut off"
    angles = scene.render((1, 1, 1, 3, 1, 10, 10)).reshape(1, 1, 1, 3, 1, 10, 10, 64, 64, 3)
    assert fewest_changed(angles, 5) >= 12 and fewest_changed(angles, 6) >= 5


def test_no_two_seeds_look_alike_and_none_like_mpi3d_mini() -> None:
    sizes = (2, 2, 2, 3, 1, 2, 2)
    three = [secret_scene.scene(seed).render(sizes) for seed in (1, 2)]
    three.append(mpi3d_mini.render(sizes))
    for one, other in itertools.combinations(three, 2):
        assert not {image.tobytes() for image in one} & {image.tobytes() for image in other}
        assert changed_pixels(one, other).min() >= 100


def test_a_seed_gives_the_same_bytes_on_every_machine() -> None:
    images = secret_scene.scene(2**127).render((2, 2, 2, 3, 3, 2, 2))
    assert fingerprint_of(images) == FINGERPRINT


def test_mpi3d_mini_itself_stays_as_it_is() -> None:
    before = mpi3d_mini.render((2, 1, 1, 3, 1, 2, 2))
    secret_scene.scene(3)
    np.testing.assert_array_equal(mpi3d_mini.render((2, 1, 1, 3, 1, 2, 2)), before)


@pytest.mark.usefixtures("small_grid")
def test_the_owner_sees_the_labels(tmp_path: Path) -> None:
    dataset = mpi3d_mini_secret.write(tmp_path)
    seed = int(json.loads((tmp_path / ".secret/mpi3d_mini_secret.json").read_text())["seed"])
    assert seed >= 2**64
    in_order = secret_scene.scene(seed).render(SIZES)
    assert not np.array_equal(dataset.images, in_order)
    states = np.array(list(np.ndindex(SIZES)))
    found = dataset.images[dataset.image_indices(states, np.random.RandomState(0))]
    np.testing.assert_array_equal(found, in_order)
    again = load("mpi3d_mini_secret", tmp_path)
    np.testing.assert_array_equal(again.image_of_state, dataset.image_of_state)
    assert again.fingerprint() == dataset.fingerprint()


@pytest.mark.usefixtures("small_grid")
def test_without_the_seed_there_are_images_and_nothing_to_score(tmp_path: Path) -> None:
    mpi3d_mini_secret.write(tmp_path)
    shutil.rmtree(tmp_path / ".secret")
    dataset = load("mpi3d_mini_secret", tmp_path)
    assert dataset.images.shape == (math.prod(SIZES), 64, 64, 3)
    assert dataset.no_scores.startswith("mpi3d_mini_secret tells no factors of its images")


@pytest.mark.usefixtures("small_grid")
def test_what_a_submission_sees_tells_no_seed(tmp_path: Path) -> None:
    mpi3d_mini_secret.write(tmp_path, 2**100 + 12345)
    seen = [path for path in tmp_path.rglob("*") if path.is_file() and ".secret" not in path.parts]
    assert {path.name for path in seen} >= {"mpi3d_mini_secret.npz", "mpi3d_mini_secret.cache.json"}
    for path in seen:
        assert str(2**100 + 12345).encode() not in path.read_bytes()


@pytest.mark.usefixtures("small_grid")
def test_a_seed_repeats_its_rendering_and_overwrites_none(tmp_path: Path) -> None:
    seed = 2**100
    first = mpi3d_mini_secret.write(tmp_path / "a", seed)
    with pytest.raises(UserError, match=r"mpi3d_mini_secret\.npz is there already, its seed in"):
        mpi3d_mini_secret.write(tmp_path / "a")
    assert mpi3d_mini_secret.write(tmp_path / "b", seed).fingerprint() == first.fingerprint()
    assert mpi3d_mini_secret.write(tmp_path / "c").fingerprint() != first.fingerprint()


@pytest.mark.usefixtures("small_grid")
@pytest.mark.parametrize(
    ("record", "message"),
    [
        ('{"seed": "5", "fingerprint": "of another"}', "is the seed of another rendering"),
        ('{"seed": "five"}', "can't be read as the seed"),
        ("[]", "can't be read as the seed"),
        ("", "can't be read as the seed"),
    ],
)
def test_a_record_that_tells_no_seed_is_one_line(tmp_path: Path, record: str, message: str) -> None:
    mpi3d_mini_secret.write(tmp_path, 2**100)
    (tmp_path / ".secret/mpi3d_mini_secret.json").write_text(record)
    with pytest.raises(UserError, match=message):
        load("mpi3d_mini_secret", tmp_path)


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "submission.datasets", *arguments],
        env={**os.environ, "DISENTANGLEMENT_LIB_DATA": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--secret-seed", "-1"), "whole number"),
        (("--secret-seed", "1.5"), "whole number"),
        (("--secret-seed", "--grid", "full"), "omit --grid and --output"),
        (("--secret-seed", "7", "--output", "x.npz"), "omit --grid and --output"),
    ],
)
def test_a_wrong_option_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    answer = run(tmp_path, "render", *arguments)
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1 and message in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_rendered_says_how_to_render_it(tmp_path: Path) -> None:
    for command in ("check", "download"):
        answer = run(tmp_path, command, "mpi3d_mini_secret")
        assert answer.returncode == 2
        assert answer.stderr.count("\n") == 1 and "render --secret-seed" in answer.stderr


@pytest.mark.slow
def test_the_command_renders_28800_images_that_all_differ(tmp_path: Path) -> None:
    answer = run(tmp_path, "render", "--secret-seed")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("mpi3d_mini_secret: 28,800 images in ")
    dataset = load("mpi3d_mini_secret", tmp_path)
    assert dataset.factor_sizes == mpi3d_mini.DEFAULT_SIZES
    assert len({image.tobytes() for image in dataset.images}) == 28_800
