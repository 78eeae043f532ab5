import hashlib
import itertools
import math

import numpy as np
import pytest

from submission.datasets import mpi3d_mini, rendering
from submission.errors import UserError

DEFAULT_GRID_SHA256 = "c555e041423ab896dfeb86975a63c41081189dc568383ebe1e84c22a9caa89c1"
VISIBLE_STEP = 24
"""A pixel counts as visibly changed when a channel changes by this much of 255."""


@pytest.fixture(scope="module")
def grid() -> np.ndarray:
    images = mpi3d_mini.render()
    return images.reshape(*mpi3d_mini.DEFAULT_SIZES, *images.shape[1:])


def flat(grid: np.ndarray) -> np.ndarray:
    return grid.reshape(-1, *grid.shape[-3:])


def changed_pixels(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Visibly changed pixels of each pair of images: two [..., 64, 64, 3] -> [n]."""
    pairs = zip(flat(before), flat(after), strict=True)
    return np.array(
        [
            np.count_nonzero((np.maximum(a, b) - np.minimum(a, b)).max(axis=-1) >= VISIBLE_STEP)
            for a, b in pairs
        ]
    )


def test_default_grid_is_28800_small_colour_images(grid: np.ndarray) -> None:
    assert flat(grid).shape == (28_800, 64, 64, 3)
    assert grid.dtype == np.uint8


def test_default_grid_has_the_bytes_it_always_had(grid: np.ndarray) -> None:
    assert hashlib.sha256(grid.tobytes()).hexdigest() == DEFAULT_GRID_SHA256


def test_all_images_of_the_default_grid_are_distinct(grid: np.ndarray) -> None:
    assert len({image.tobytes() for image in flat(grid)}) == len(flat(grid))


@pytest.mark.slow
def test_all_images_of_the_full_grid_are_distinct() -> None:
    images = mpi3d_mini.render(mpi3d_mini.FULL_SIZES)
    digests = {hashlib.blake2b(image, digest_size=16).digest() for image in images}
    assert len(digests) == 460_800


@pytest.mark.parametrize(
    ("factor", "least"), [(2, 25), (5, 18), (6, 16)], ids=["size", "horizontal", "vertical"]
)
def test_one_step_of_size_or_arm_is_visible_in_every_state(
    grid: np.ndarray, factor: int, least: int
) -> None:
    size = grid.shape[factor]
    one_ring = grid[:, :, :, :, :1]
    before = one_ring.take(range(size - 1), axis=factor)
    after = one_ring.take(range(1, size), axis=factor)
    assert changed_pixels(before, after).min() >= least


@pytest.mark.parametrize(
    ("factor", "least"), [(0, 20), (1, 12), (3, 400)], ids=["colour", "shape", "camera"]
)
def test_any_two_colours_shapes_or_cameras_are_told_apart_in_every_state(
    grid: np.ndarray, factor: int, least: int
) -> None:
    one_ring = grid[:, :, :, :, :1]
    for one, other in itertools.combinations(range(grid.shape[factor]), 2):
        before, after = one_ring.take(one, axis=factor), one_ring.take(other, axis=factor)
        assert changed_pixels(before, after).min() >= least


def test_any_two_background_colours_are_told_apart_in_every_state(grid: np.ndarray) -> None:
    one_colour = grid[2]
    for one, other in itertools.combinations(range(3), 2):
        assert changed_pixels(one_colour[:, :, :, one], one_colour[:, :, :, other]).min() >= 100


def test_ends_of_the_horizontal_axis_differ_though_the_arm_swings_to_the_other_side(
    grid: np.ndarray,
) -> None:
    before, after = grid[2:3, :, :, :, 0, 0], grid[2:3, :, :, :, 0, -1, ::-1]
    assert changed_pixels(before, after).min() >= 16


def test_white_object_is_lighter_than_the_arm_in_every_state(grid: np.ndarray) -> None:
    for white, red in zip(flat(grid[0, :, :, :, 0]), flat(grid[2, :, :, :, 0]), strict=True):
        change = np.maximum(white, red) - np.minimum(white, red)
        on_object = change.max(axis=-1) > 60
        on_arm = (change.max(axis=-1) == 0) & (np.ptp(white, axis=-1) == 0) & (white[..., 0] > 60)
        assert white[on_object].mean() >= white[on_arm].mean() + 25


def test_object_is_never_cut_by_the_frame(grid: np.ndarray) -> None:
    for edge in (grid[..., 0, :, :], grid[..., -1, :, :], grid[..., 0, :], grid[..., -1, :]):
        assert (edge == edge[:1, :1, :1, :, :, :1, :1]).all()


def test_states_are_row_major_with_the_last_factor_fastest(grid: np.ndarray) -> None:
    corners = mpi3d_mini.render((4, 4, 2, 3, 3, 2, 2)).reshape(4, 4, 2, 3, 3, 2, 2, 64, 64, 3)
    assert np.array_equal(corners, grid[:, :, :, :, :, ::9, ::9])


@pytest.mark.parametrize("sizes", [(1, 2, 1, 3, 1, 5, 5), (6, 6, 2, 1, 2, 1, 3), (1,) * 7])
def test_any_smaller_grid_renders_distinct_images(sizes: tuple[int, ...]) -> None:
    images = mpi3d_mini.render(sizes)
    assert images.shape == (math.prod(sizes), 64, 64, 3)
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize(
    "sizes",
    [
        (4, 4, 2, 3, 3, 10),
        (7, 4, 2, 3, 3, 10, 10),
        (4, 4, 2, 3, 3, 10, 41),
        (4, 4, 2, 0, 3, 10, 10),
    ],
)
def test_grid_that_cannot_be_rendered_is_the_users_mistake(sizes: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="mpi3d_mini has no grid"):
        mpi3d_mini.render(sizes)


def test_progress_rises_to_one() -> None:
    fractions: list[float] = []
    mpi3d_mini.render((1, 1, 1, 3, 1, 4, 5), fractions.append)
    assert fractions == sorted(set(fractions))
    assert len(fractions) == 60
    assert fractions[-1] == 1.0


def test_published_grid_has_the_published_values_in_their_order() -> None:
    values = mpi3d_mini.factor_values(mpi3d_mini.PUBLISHED_SIZES)
    assert values[0] == ("white", "green", "red", "blue", "brown", "olive")
    assert values[1] == ("cone", "cube", "cylinder", "hexagonal", "pyramid", "sphere")
    assert values[2:5] == (
        ("small", "large"),
        ("top", "centre", "bottom"),
        ("purple", "sea green", "salmon"),
    )


def test_default_grid_leaves_out_the_values_that_are_hard_to_tell_apart() -> None:
    colours, shapes = mpi3d_mini.factor_values()[:2]
    assert colours == ("white", "green", "red", "blue")
    assert shapes == ("cone", "cube", "cylinder", "sphere")


def test_contact_sheet_shows_each_value_of_each_factor_once(grid: np.ndarray) -> None:
    sheet = np.asarray(mpi3d_mini.contact_sheet(flat(grid), enlargement=1))
    # A panel begins where white ends.
    coloured = (sheet != 255).any(axis=-1)
    starts = np.argwhere(coloured[1:-64, 1:-64] & ~coloured[:-65, 1:-64] & ~coloured[1:-64, :-65])
    windows = {sheet[y : y + 64, x : x + 64].tobytes() for y, x in starts + 1}
    shown = windows & {image.tobytes() for image in flat(grid)}
    # The state around which the factors vary is in every row.
    assert len(shown) == sum(mpi3d_mini.DEFAULT_SIZES) - (len(mpi3d_mini.DEFAULT_SIZES) - 1)


CAMERA = rendering.Camera(distance=3.5, height=3.4, pitch=40.0, focal_length=91.0)
TILTED = np.array([[0.6, 0.8, 0.0], [-0.48, 0.36, 0.8], [0.64, -0.48, 0.6]])
PLACE = np.array([0.3, -0.4, 0.7])


def ray_directions(patch: rendering.Patch) -> np.ndarray:
    """Of the patch's samples, [rows, columns, 3]."""
    right, up, forward = CAMERA.axes
    x, y = CAMERA.samples(patch.columns), -CAMERA.samples(patch.rows)
    return forward + x[None, :, None] * right + y[:, None, None] * up


@pytest.mark.parametrize(
    "shape", [rendering.pyramid(5, 0.4, 0.0, 0.7), rendering.prism(20, 0.3, -0.2, 0.5)]
)
def test_polyhedron_is_hit_on_its_surface_and_missed_only_outside(
    shape: rendering.Polyhedron,
) -> None:
    solid = shape.placed(TILTED, PLACE)
    patch = rendering.cast(solid, CAMERA)
    assert patch is not None
    depths = np.linspace(2.0, 7.0, 400)
    for direction, nearness in zip(
        ray_directions(patch).reshape(-1, 3)[::7], patch.nearness.ravel()[::7], strict=True
    ):
        points = CAMERA.origin + depths[:, None] * direction
        outside = (points @ solid.normals.T - solid.offsets).max(axis=1)
        if nearness > 0.0:
            surface = CAMERA.origin + direction / nearness
            assert abs((solid.normals @ surface - solid.offsets).max()) < 1e-9
            assert (outside[depths < 1.0 / nearness] > 0.0).all()
        else:
            assert (outside > 0.0).all()


def test_sphere_is_hit_on_its_near_side_by_the_rays_that_pass_its_centre_closely() -> None:
    sphere = rendering.Sphere(PLACE, 0.3)
    patch = rendering.cast(sphere, CAMERA)
    assert patch is not None
    directions = ray_directions(patch)
    unit = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    towards = PLACE - CAMERA.origin
    passing = np.linalg.norm(np.cross(unit, towards), axis=-1)
    hit = patch.nearness > 0.0
    np.testing.assert_array_equal(hit, passing < 0.3)
    points = CAMERA.origin + directions[hit] / patch.nearness[hit][:, None]
    np.testing.assert_allclose(np.linalg.norm(points - PLACE, axis=-1), 0.3, atol=1e-9)
    assert ((points - PLACE) @ towards < 0.0).all()
