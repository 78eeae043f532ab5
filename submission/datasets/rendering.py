"""A small ray caster for convex solids in a 64x64 picture, the same to the byte on every machine.

Three things keep it so. Values come from the IEEE operations that are exact to the last bit (sums,
products, quotients, square roots), one NumPy ufunc each: no BLAS, and no reduction of floats, whose
order could depend on the processor. Sines are rounded, because mathematical libraries differ in
their last bit. And what a sample of the picture shows is an integer, so averaging is exact.

A camera looks from `origin` along `forward`. The ray through a sample at (x, y) has the direction
`forward + x right + y up`, so its parameter is the depth of a point along `forward`. The inverse
of the depth at which rays meet a plane is affine in x and y. Nearness, below, means this inverse
depth; it is 0 at infinity.
"""

import math
from dataclasses import dataclass

import numpy as np

PICTURE_SIZE = 64
SAMPLES_PER_SIDE = 4
"""Samples of a pixel along each side; their mean is the pixel."""

_LIGHT = (0.36, -0.48, 0.80)  # a unit vector towards the light: above, in front, a little right
_AMBIENT = 0.50
_EDGE_ON = 1e-12  # stands for a plane's distance 0 from the camera, which has no inverse


def sine(degrees: float) -> float:
    """The sine, rounded to 12 digits: the same on every machine."""
    return round(math.sin(math.radians(degrees)), 12)


def cosine(degrees: float) -> float:
    """The cosine, rounded to 12 digits: the same on every machine."""
    return round(math.cos(math.radians(degrees)), 12)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at x = 0 whose picture is level: its right is the world's x axis.

    Attributes:
        distance: How far in front of the world's origin it stands, along -y.
        height: Its height above the ground.
        pitch: How far it looks down from the horizontal, in degrees.
        focal_length: In pixels.
    """

    distance: float
    height: float
    pitch: float
    focal_length: float

    @property
    def origin(self) -> np.ndarray:
        """Where the rays start, [3]."""
        return np.array([0.0, -self.distance, self.height])

    @property
    def axes(self) -> np.ndarray:
        """The unit vectors right, up and forward, [3, 3]."""
        down, ahead = sine(self.pitch), cosine(self.pitch)
        return np.array([[1.0, 0.0, 0.0], [0.0, down, ahead], [0.0, ahead, -down]])

    def samples(self, pixels: slice) -> np.ndarray:
        """Offsets from the picture's centre to the samples of these pixels, in focal lengths."""
        index = np.arange(pixels.start * SAMPLES_PER_SIDE, pixels.stop * SAMPLES_PER_SIDE)
        return ((index + 0.5) / SAMPLES_PER_SIDE - PICTURE_SIZE / 2) / self.focal_length

    def window(self, corners: np.ndarray) -> tuple[slice, slice] | None:
        """Rows and columns of pixels that the hull of `corners` [n, 3] can touch; None: none."""
        right, up, forward = self.axes
        offset = corners - self.origin
        depth = _dot(offset, forward)
        x = self.focal_length * _dot(offset, right) / depth + PICTURE_SIZE / 2
        y = PICTURE_SIZE / 2 - self.focal_length * _dot(offset, up) / depth
        rows, columns = _pixels(y), _pixels(x)
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


@dataclass(frozen=True)
class Polyhedron:
    """A convex solid: the points p with normals @ p <= offsets.

    Attributes:
        normals: Outward unit normals of the faces, [faces, 3].
        offsets: Distances of the faces from the origin, [faces].
        corners: Points whose convex hull holds the solid, [n, 3].
    """

    normals: np.ndarray
    offsets: np.ndarray
    corners: np.ndarray

    def placed(self, axes: np.ndarray, position: np.ndarray) -> "Polyhedron":
        """The solid with its own axes laid along the unit vectors `axes` [3, 3], then moved."""
        normals = _rotated(self.normals, axes)
        offsets = self.offsets + _dot(normals, position)
        return Polyhedron(normals, offsets, _rotated(self.corners, axes) + position)


@dataclass(frozen=True)
class Sphere:
    """A ball with its centre [3] and radius."""

    centre: np.ndarray
    radius: float

    def placed(self, axes: np.ndarray, position: np.ndarray) -> "Sphere":
        """The ball turned and moved as `Polyhedron.placed` does it."""
        return Sphere(_rotated(self.centre[None], axes)[0] + position, self.radius)


Solid = Polyhedron | Sphere


@dataclass(frozen=True)
class Patch:
    """What a solid looks like to a camera, inside a window of the picture.

    Attributes:
        rows: Of pixels.
        columns: Of pixels.
        nearness: Inverse depth of each sample, 0 where the ray misses, float64 [4 rows, 4 columns].
        light: Light that each sample sends back, 0 to 255, uint8 [4 rows, 4 columns].
    """

    rows: slice
    columns: slice
    nearness: np.ndarray
    light: np.ndarray

    @property
    def samples(self) -> tuple[slice, slice]:
        """The window in samples instead of pixels."""
        return _in_samples(self.rows), _in_samples(self.columns)


def prism(sides: int, radius: float, bottom: float, top: float, turned: float = 0.0) -> Polyhedron:
    """An upright prism over a regular polygon around the z axis.

    Args:
        sides: Of the polygon.
        radius: Of the circle inside the polygon.
        bottom: The z of its lower face.
        top: The z of its upper face.
        turned: Direction of the first side from the x axis, in degrees.
    """
    normals = [_level(360.0 * side / sides + turned) for side in range(sides)]
    faces = np.array([*normals, (0.0, 0.0, 1.0), (0.0, 0.0, -1.0)])
    offsets = np.array([radius] * sides + [top, -bottom])
    return Polyhedron(faces, offsets, _box_corners(radius / cosine(180.0 / sides), bottom, top))


def pyramid(
    sides: int, radius: float, bottom: float, top: float, turned: float = 0.0
) -> Polyhedron:
    """An upright pyramid over a regular polygon around the z axis; arguments as for `prism`."""
    height = top - bottom
    slant = math.sqrt(height * height + radius * radius)
    level = [_level(360.0 * side / sides + turned) for side in range(sides)]
    normals = [(height * x / slant, height * y / slant, radius / slant) for x, y, _ in level]
    faces = np.array([*normals, (0.0, 0.0, -1.0)])
    offsets = np.array([radius * top / slant] * sides + [-bottom])
    return Polyhedron(faces, offsets, _box_corners(radius / cosine(180.0 / sides), bottom, top))


def box(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> Polyhedron:
    """A box with faces square to the axes, between two values on each."""
    normals = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    offsets = np.array([x[1], -x[0], y[1], -y[0], z[1], -z[0]])
    corners = np.array([[a, b, c] for a in x for b in y for c in z])
    return Polyhedron(normals, offsets, corners)


def cast(solid: Solid, camera: Camera) -> Patch | None:
    """Sends rays at a solid; None when it lies outside the picture.

    Args:
        solid: All of it in front of the camera.
        camera: Outside the solid.
    """
    if isinstance(solid, Sphere):
        radius = solid.radius
        window = camera.window(_box_corners(radius, -radius, radius) + solid.centre)
        return window and _cast_sphere(solid, camera, *window)
    window = camera.window(solid.corners)
    return window and _cast_polyhedron(solid, camera, *window)


def _cast_polyhedron(solid: Polyhedron, camera: Camera, rows: slice, columns: slice) -> Patch:
    right, up, forward = camera.axes
    x, y = camera.samples(columns), -camera.samples(rows)
    gap = _dot(solid.normals, camera.origin) - solid.offsets
    gap = np.where(gap == 0.0, _EDGE_ON, gap)
    across = (
        -(_dot(solid.normals, right) / gap)[:, None] * x
        - (_dot(solid.normals, forward) / gap)[:, None]
    )
    along = -(_dot(solid.normals, up) / gap)[:, None] * y
    lights = _shade(_dot(solid.normals, np.array(_LIGHT)))
    # A ray is inside the solid once it has passed the last of the faces that look at the camera and
    # has not yet passed the first of those that look away.
    entered = np.full((len(y), len(x)), np.inf)
    left = np.zeros((len(y), len(x)))
    light = np.zeros((len(y), len(x)), np.uint8)
    for face in range(len(gap)):
        nearness = along[face][:, None] + across[face]
        if gap[face] > 0.0:
            np.copyto(light, lights[face], where=nearness < entered)
            np.minimum(entered, nearness, out=entered)
        else:
            np.maximum(left, nearness, out=left)
    return Patch(rows, columns, np.where(entered > left, entered, 0.0), light)


def _cast_sphere(solid: Sphere, camera: Camera, rows: slice, columns: slice) -> Patch:
    right, up, forward = camera.axes
    x, y = camera.samples(columns), -camera.samples(rows)[:, None]
    offset = (solid.centre - camera.origin)[None]
    beside, above, depth = (float(_dot(offset, axis)[0]) for axis in (right, up, forward))
    square = x * x + y * y + 1.0  # of the ray's direction
    cosine_term = beside * x + above * y + depth
    distance = beside * beside + above * above + depth * depth - solid.radius * solid.radius
    inside = cosine_term * cosine_term - square * distance
    hit = inside > 0.0
    nearness = (cosine_term + np.sqrt(np.where(hit, inside, 0.0))) / distance
    towards_light = [float(_dot(np.array([_LIGHT]), axis)[0]) for axis in (right, up, forward)]
    slope = towards_light[0] * x + towards_light[1] * y + towards_light[2]
    centre = float(_dot(offset, np.array(_LIGHT))[0])
    light = _shade((slope / nearness - centre) / solid.radius)
    return Patch(rows, columns, np.where(hit, nearness, 0.0), light)


def pixel_sums(samples: np.ndarray) -> np.ndarray:
    """Sums the samples of each pixel: uint8 [4 rows, 4 columns] -> int32 [rows, columns]."""
    rows, columns = (length // SAMPLES_PER_SIDE for length in samples.shape)
    squares = samples.reshape(rows, SAMPLES_PER_SIDE, columns, SAMPLES_PER_SIDE)
    return squares.sum(axis=(1, 3), dtype=np.int32)


def _shade(towards_light: np.ndarray) -> np.ndarray:
    """Lambert's law and ambient light; the cosine to the light -> 0 to 255."""
    light = _AMBIENT + (1.0 - _AMBIENT) * np.maximum(towards_light, 0.0)
    return (np.minimum(light, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _dot(vectors: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """[n, 3] and [3] -> [n], in a fixed order of operations."""
    return vectors[:, 0] * vector[0] + vectors[:, 1] * vector[1] + vectors[:, 2] * vector[2]


def _rotated(vectors: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """[n, 3] in the coordinates of `axes` [3, 3] -> [n, 3] in the world's."""
    return vectors[:, :1] * axes[0] + vectors[:, 1:2] * axes[1] + vectors[:, 2:] * axes[2]


def _level(degrees: float) -> tuple[float, float, float]:
    return cosine(degrees), sine(degrees), 0.0


def _box_corners(radius: float, bottom: float, top: float) -> np.ndarray:
    sides = (-radius, radius)
    return np.array([[x, y, z] for x in sides for y in sides for z in (bottom, top)])


def _pixels(positions: np.ndarray) -> slice:
    first = max(0, math.floor(float(positions.min())))
    return slice(first, max(first, min(PICTURE_SIZE, math.ceil(float(positions.max())))))


def _in_samples(pixels: slice) -> slice:
    return slice(pixels.start * SAMPLES_PER_SIDE, pixels.stop * SAMPLES_PER_SIDE)
