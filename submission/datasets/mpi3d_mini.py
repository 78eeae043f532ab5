"""The embedded data set `mpi3d_mini`: the scene of MPI3D, rendered here, with nothing to download.

A two-joint arm on a base holds an object at its tip, on a disc with a coloured ring, in front of
a camera at one of three heights. Cameras, proportions and colours were fitted to frames of
mpi3d_toy (Gondal et al., "On the Transfer of Inductive Bias from Simulation to the Real World: a
New Disentanglement Dataset", NeurIPS 2019). It isn't MPI3D: scores on it are not scores on MPI3D.

As in the frames of mpi3d_real, the factor "horizontal axis" turns the arm from side to side, about
the vertical, and "vertical axis" swings its rod over from front to back.

The unit of length is the height of the arm's post. x points right, y away from the camera, z up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from submission.datasets import rendering
from submission.datasets.rendering import (
    PICTURE_SIZE,
    SAMPLES_PER_SIDE,
    Camera,
    Patch,
    Polyhedron,
    Solid,
    Sphere,
)
from submission.errors import UserError

FACTOR_NAMES = (
    "object colour",
    "object shape",
    "object size",
    "camera height",
    "background colour",
    "horizontal axis",
    "vertical axis",
)
DEFAULT_SIZES = (4, 4, 2, 3, 3, 10, 10)
"""28,800 images."""
FULL_SIZES = (4, 4, 2, 3, 3, 40, 40)
"""460,800 images, the grid of the challenge's mpi3d_toy."""
PUBLISHED_SIZES = (6, 6, 2, 3, 3, 40, 40)
"""1,036,800 images, the grid of the published MPI3D and the largest one rendered."""

# Each in the published order of its values.
_OBJECT_COLOURS = {
    "white": (248, 248, 248),
    "green": (44, 172, 44),
    "red": (226, 14, 14),
    "blue": (48, 122, 236),
    "brown": (112, 58, 34),
    "olive": (146, 140, 48),
}
_RING_COLOURS = {"purple": (112, 82, 160), "sea green": (74, 112, 102), "salmon": (128, 88, 98)}
_CAMERAS = {
    "top": Camera(distance=2.93, height=4.05, pitch=48.7, focal_length=91.0),
    "centre": Camera(distance=3.52, height=3.36, pitch=36.5, focal_length=91.0),
    "bottom": Camera(distance=3.82, height=2.46, pitch=21.6, focal_length=91.0),
}
_SIZES = {"small": 0.68, "large": 1.0}
_SHAPES: dict[str, Solid] = {
    "cone": rendering.pyramid(20, 0.30, 0.0, 0.52),
    "cube": rendering.prism(4, 0.21, 0.0, 0.42, turned=20.0),
    "cylinder": rendering.prism(20, 0.165, 0.0, 0.48),
    "hexagonal": rendering.prism(6, 0.28, 0.0, 0.28, turned=20.0),
    "pyramid": rendering.pyramid(4, 0.24, 0.0, 0.54, turned=20.0),
    "sphere": Sphere(np.array([0.0, 0.0, 0.26]), 0.26),
}
# A grid that asks for fewer values than there are takes the first of these: easy to tell apart.
_PREFERRED = (
    ("white", "green", "red", "blue", "olive", "brown"),
    ("cone", "cube", "cylinder", "sphere", "hexagonal", "pyramid"),
    ("large", "small"),
    ("centre", "top", "bottom"),
    ("purple", "sea green", "salmon"),
)
_CATEGORIES: tuple[Mapping[str, object], ...] = (
    _OBJECT_COLOURS,
    _SHAPES,
    _SIZES,
    _CAMERAS,
    _RING_COLOURS,
)

# Turning by 180 degrees and swinging to the other side is almost no change, so the turns stop short
# of that: the ends of the range differ as clearly as two of ten steps do.
_TURN_RANGE = (-81.0, 81.0)
_SWING_RANGE = (-90.0, 90.0)

_FLOOR_GREY, _DISC_GREY = 49, 55
_RING_INNER, _RING_OUTER = 2.33, 2.85
_BASE_GREY, _POST_GREY, _JOINT_GREY, _ROD_GREY = 176, 112, 152, 150
_SHOULDER_HEIGHT = 0.98
_SHOULDER_OFFSET = 0.17  # sideways, so that an upright arm shows its turn too
_ROD_LENGTH = 0.66

_BASE = (
    (rendering.prism(24, 0.26, 0.0, 0.05), _BASE_GREY),
    (rendering.prism(24, 0.17, 0.05, 0.06), _POST_GREY // 2),
)
# Turns with the arm; the post isn't square and has a bright foot in front, so that its turn shows.
_POST = (
    (rendering.box((-0.085, 0.085), (-0.14, 0.14), (0.05, 0.90)), _POST_GREY),
    (rendering.box((-0.07, 0.07), (-0.25, -0.14), (0.05, 0.17)), _JOINT_GREY),
    (rendering.box((-0.095, 0.20), (-0.10, 0.10), (0.88, 1.0)), _JOINT_GREY),
)
# Swings about the shoulder; its z axis points along the rod.
_ROD = (
    (rendering.box((-0.028, 0.028), (-0.028, 0.028), (0.0, _ROD_LENGTH)), _ROD_GREY),
    (rendering.box((-0.06, 0.08), (-0.07, 0.07), (-0.07, 0.14)), _JOINT_GREY),
)


@dataclass(frozen=True)
class _Canvas:
    """The samples of a picture without an object.

    Attributes:
        nearness: Inverse depth, 0 on the ground, which nothing stands below, float64 [256, 256].
        grey: Brightness of what isn't coloured, uint8 [256, 256].
        ring: How much of the ring's colour a sample shows, 0 to 255, uint8 [256, 256].
    """

    nearness: np.ndarray
    grey: np.ndarray
    ring: np.ndarray

    def with_parts(self, parts: Sequence[tuple[Polyhedron, int]], camera: Camera) -> "_Canvas":
        """A copy with grey solids drawn into it, each where nothing nearer is."""
        drawn = _Canvas(self.nearness.copy(), self.grey.copy(), self.ring.copy())
        for solid, grey in parts:
            patch = rendering.cast(solid, camera)
            if patch is None:
                continue
            window = patch.samples
            nearer = patch.nearness > drawn.nearness[window]
            brightness = ((patch.light.astype(np.int32) * grey + 127) // 255).astype(np.uint8)
            np.copyto(drawn.nearness[window], patch.nearness, where=nearer)
            np.copyto(drawn.grey[window], brightness, where=nearer)
            np.copyto(drawn.ring[window], 0, where=nearer)
        return drawn


def render(
    factor_sizes: Sequence[int] = DEFAULT_SIZES, progress: Callable[[float], None] | None = None
) -> np.ndarray:
    """Renders every image of a grid.

    The bytes depend on the grid alone, not on the machine. A factor with fewer values than the
    published grid has those that are easiest to tell apart, in the published order; angles are
    evenly spaced over the whole range.

    Args:
        factor_sizes: The number of values of each of `FACTOR_NAMES`, at most `PUBLISHED_SIZES`.
        progress: Called with the fraction done, up to 1.0.

    Returns:
        uint8 [prod(factor_sizes), 64, 64, 3]: row-major, the last factor fastest.

    Raises:
        UserError: If `factor_sizes` isn't such a grid.
    """
    sizes = _checked(factor_sizes)
    colours, shapes, scales, views, rings = factor_values(sizes)[:5]
    colour_table = np.array([_OBJECT_COLOURS[name] for name in colours], np.int32)
    ring_table = np.array([_RING_COLOURS[name] for name in rings], np.int32)
    cameras = [_CAMERAS[name] for name in views]
    objects = [[_scaled(_SHAPES[name], _SIZES[scale]) for scale in scales] for name in shapes]
    turns, swings = _angles(sizes)
    images = np.empty((*sizes, PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)
    positions = [(turn, swing) for turn in range(sizes[5]) for swing in range(sizes[6])]
    for view, camera in enumerate(cameras):
        ground = _ground(camera).with_parts(_BASE, camera)
        for done, (turn, swing) in enumerate(positions, start=1):
            parts, axes, tip = _arm(turns[turn], swings[swing])
            canvas = ground.with_parts(parts, camera)
            without_object = _mean(_backdrop(canvas.grey, canvas.ring, ring_table))
            for shape, size in np.ndindex(sizes[1], sizes[2]):
                target = images[:, shape, size, view, :, turn, swing]
                target[...] = without_object
                patch = rendering.cast(objects[shape][size].placed(axes, tip), camera)
                if patch is not None:
                    window = _with_object(canvas, patch, ring_table, colour_table)
                    target[:, :, patch.rows, patch.columns] = window
            if progress is not None:
                progress((view + done / len(positions)) / len(cameras))
    return images.reshape(-1, PICTURE_SIZE, PICTURE_SIZE, 3)


def factor_values(factor_sizes: Sequence[int] = DEFAULT_SIZES) -> tuple[tuple[str, ...], ...]:
    """The values of each factor of a grid, in words; angles in degrees.

    Raises:
        UserError: If `factor_sizes` isn't a grid that `render` can make.
    """
    sizes = _checked(factor_sizes)
    categories = (
        tuple(name for name in table if name in preferred[:size])
        for table, preferred, size in zip(_CATEGORIES, _PREFERRED, sizes, strict=False)
    )
    angles = (tuple(f"{angle:+.0f}°" for angle in axis) for axis in _angles(sizes))
    return (*categories, *angles)


def contact_sheet(
    images: np.ndarray, factor_sizes: Sequence[int] = DEFAULT_SIZES, enlargement: int = 2
) -> Image.Image:
    """Shows each factor varied alone, a row a factor, around one state of the grid.

    Args:
        images: The grid's images as `render` returns them, uint8 [prod(factor_sizes), 64, 64, 3].
        factor_sizes: Its number of values of each factor.
        enlargement: Screen pixels along the side of a pixel.

    Returns:
        The sheet; of a factor with more than ten values it shows ten, evenly spaced.
    """
    sizes = _checked(factor_sizes)
    grid = images.reshape(*sizes, *images.shape[1:])
    # A large red cone on an arm that points away and aside: whatever varies is in plain view.
    state = [min(2, sizes[0] - 1), 0, sizes[2] - 1, sizes[3] // 2, 0]
    state += [sizes[5] * 3 // 10, sizes[6] * 7 // 10]
    panel, gap, caption, margin = PICTURE_SIZE * enlargement, 8, 22, 168
    shown = [np.linspace(0, size - 1, min(size, 10)).round().astype(int) for size in sizes]
    width = margin + max(len(values) for values in shown) * (panel + gap) + gap
    sheet = Image.new("RGB", (width, len(sizes) * (panel + gap + caption) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    names = factor_values(sizes)
    for factor, values in enumerate(shown):
        top = gap + factor * (panel + gap + caption)
        draw.text(
            (margin - 14, top + panel // 2),
            FACTOR_NAMES[factor],
            fill="black",
            font=ImageFont.load_default(17),
            anchor="rm",
        )
        for column, value in enumerate(values):
            image = grid[tuple([*state[:factor], value, *state[factor + 1 :]])]
            left = margin + column * (panel + gap)
            enlarged = image.repeat(enlargement, axis=0).repeat(enlargement, axis=1)
            sheet.paste(Image.fromarray(enlarged), (left, top))
            draw.text(
                (left + panel // 2, top + panel + 4),
                names[factor][value],
                fill="dimgray",
                font=ImageFont.load_default(14),
                anchor="ma",
            )
    return sheet


def _checked(factor_sizes: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in factor_sizes)
    if len(sizes) != len(PUBLISHED_SIZES) or not all(
        1 <= size <= most for size, most in zip(sizes, PUBLISHED_SIZES, strict=True)
    ):
        raise UserError(
            f"mpi3d_mini has no grid {list(sizes)}: it takes 7 sizes, each from 1 to "
            f"{list(PUBLISHED_SIZES)}"
        )
    return sizes


def _angles(sizes: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """The turns and the swings of a grid, in degrees."""
    turns, swings = (
        [(low + high) / 2]
        if size == 1
        else [low + (high - low) * step / (size - 1) for step in range(size)]
        for (low, high), size in ((_TURN_RANGE, sizes[5]), (_SWING_RANGE, sizes[6]))
    )
    return turns, swings


def _scaled(shape: Solid, scale: float) -> Solid:
    """The shape grown about the point where the rod holds it."""
    if isinstance(shape, Sphere):
        return Sphere(shape.centre * scale, shape.radius * scale)
    return Polyhedron(shape.normals, shape.offsets * scale, shape.corners * scale)


def _ground(camera: Camera) -> _Canvas:
    """The floor, and the disc with its ring, whose light falls off outwards."""
    right, up, forward = camera.axes
    picture = slice(0, PICTURE_SIZE)
    x, y = camera.samples(picture), -camera.samples(picture)[:, None]
    reach = camera.height / -(y * up[2] + forward[2])  # every ray falls: no camera sees the horizon
    east = reach * (x * right[0])
    north = reach * (y * up[1] + forward[1]) - camera.distance
    radius = np.sqrt(east * east + north * north)
    on_ring = (radius >= _RING_INNER) & (radius < _RING_OUTER)
    grey = np.where(radius < _RING_INNER, _DISC_GREY, _FLOOR_GREY)
    falloff = 255.0 - 36.0 * (radius - _RING_INNER) / (_RING_OUTER - _RING_INNER)
    return _Canvas(
        nearness=np.zeros(radius.shape),
        grey=np.where(on_ring, 0, grey).astype(np.uint8),
        ring=np.where(on_ring, falloff, 0.0).astype(np.uint8),
    )


def _arm(turn: float, swing: float) -> tuple[list[tuple[Polyhedron, int]], np.ndarray, np.ndarray]:
    """The arm in one position.

    Args:
        turn: About the vertical axis, in degrees.
        swing: Of the rod, from upright, in degrees.

    Returns:
        Its parts and their greys, the rod's axes [3, 3], and its tip [3].
    """
    upward, origin = np.array([0.0, 0.0, 1.0]), np.zeros(3)
    sideways = np.array([rendering.cosine(turn), rendering.sine(turn), 0.0])
    ahead = np.array([-rendering.sine(turn), rendering.cosine(turn), 0.0])
    along = rendering.sine(swing) * ahead + rendering.cosine(swing) * upward
    across = rendering.cosine(swing) * ahead - rendering.sine(swing) * upward
    post_axes = np.stack([sideways, ahead, upward])
    rod_axes = np.stack([sideways, across, along])
    shoulder = _SHOULDER_HEIGHT * upward + _SHOULDER_OFFSET * sideways
    parts = [(solid.placed(post_axes, origin), grey) for solid, grey in _POST]
    parts += [(solid.placed(rod_axes, shoulder), grey) for solid, grey in _ROD]
    return parts, rod_axes, shoulder + _ROD_LENGTH * along


def _with_object(
    canvas: _Canvas, patch: Patch, ring_table: np.ndarray, colour_table: np.ndarray
) -> np.ndarray:
    """The patch's window with the object in it: uint8 [colours, rings, rows, columns, 3]."""
    window = patch.samples
    seen = patch.nearness > canvas.nearness[window]
    grey = np.where(seen, np.uint8(0), canvas.grey[window])
    ring = np.where(seen, np.uint8(0), canvas.ring[window])
    light = rendering.pixel_sums(np.where(seen, patch.light, np.uint8(0)))
    coloured = light[..., None] * colour_table[:, None, None, None, :]
    return _mean(_backdrop(grey, ring, ring_table) + coloured)


def _backdrop(grey: np.ndarray, ring: np.ndarray, ring_table: np.ndarray) -> np.ndarray:
    """What isn't the object, 255 times its sum over samples: int32 [rings, rows, columns, 3]."""
    coloured = rendering.pixel_sums(ring)[..., None] * ring_table[:, None, None, :]
    return coloured + 255 * rendering.pixel_sums(grey)[..., None]


def _mean(sums: np.ndarray) -> np.ndarray:
    """The mean over a pixel's samples of sums that are 255 times too large, rounded."""
    samples = 255 * SAMPLES_PER_SIDE * SAMPLES_PER_SIDE
    return ((sums + samples // 2) // samples).astype(np.uint8)
