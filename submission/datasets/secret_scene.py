"""The scene of `mpi3d_mini` in an appearance that a seed draws: cameras, colours, sizes, angles."""

import colorsys
import hashlib
import importlib.util
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Protocol

import numpy as np

from submission.datasets import mpi3d_mini, rendering

Colour = tuple[int, int, int]


class Draw(Protocol):
    """Draws a number between two others; the same name gives the same number."""

    def __call__(self, name: str, low: float, high: float) -> float:
        """Draws."""


def scene(seed: int) -> ModuleType:
    """A copy of the module `mpi3d_mini` whose things have another appearance.

    The ranges are such that every factor is seen as well as in mpi3d_mini, no camera sees the
    horizon, and none cuts the object off.

    Args:
        seed: 0 or more.

    Returns:
        The copy, of which `render` gives the same bytes on every machine. The module itself stays
        as it is, down to its source, whose hash names the renderings on people's disks.
    """
    spec = importlib.util.find_spec(mpi3d_mini.__name__)
    assert spec is not None and spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    for name, value in _appearance(partial(_draw, seed), copy).items():
        # Of a name that the module hasn't, nothing would come.
        assert hasattr(copy, name)
        setattr(copy, name, value)
    return copy


def order(seed: int, count: int) -> np.ndarray:
    """A permutation of the images: int64 [count]."""
    words = np.frombuffer(_digest(seed, "order"), "<u4")
    return np.random.RandomState(words).permutation(count)


def _appearance(draw: Draw, module: ModuleType) -> dict[str, object]:
    zoom, target = draw("zoom", 19.0, 20.5), draw("target", 0.76, 0.93)
    turn, breadth = draw("turn", -15.0, 15.0), draw("breadth", 144.0, 162.0)
    camera = partial(_camera, draw, zoom, target)
    colours = partial(_colours, draw)
    return {
        "_CAMERAS": {
            "top": camera("top", 49.0, 57.0),
            "centre": camera("centre", 35.0, 42.0),
            "bottom": camera("bottom", 23.0, 28.0),
        },
        # The last two are in no grid of four colours.
        "_OBJECT_COLOURS": colours(("white", "green", "red", "blue"), (0.65, 0.95), (0.65, 0.98))
        | colours(("brown", "olive"), (0.3, 0.5), (0.3, 0.5)),
        "_RING_COLOURS": colours(("purple", "sea green", "salmon"), (0.4, 0.65), (0.45, 0.7)),
        "_SIZES": {"small": draw("small", 0.6, 0.7), "large": draw("large", 0.96, 1.06)},
        "_TURN_RANGE": (turn - breadth / 2, turn + breadth / 2),
        "_SWING_RANGE": (draw("back", -92.0, -82.0), draw("front", 82.0, 92.0)),
        "_FLOOR_GREY": round(draw("floor", 25, 75)),
        "_DISC_GREY": round(draw("disc", 30, 60)),
        "_RING_INNER": draw("inner", 2.15, 2.4),
        "_RING_OUTER": draw("outer", 2.7, 3.0),
    } | {
        name: tuple(
            (solid, round(draw(f"{name} {part}", 130, 200)))
            for part, (solid, _) in enumerate(getattr(module, name))
        )
        for name in ("_BASE", "_POST", "_ROD")
    }


def _camera(
    draw: Draw, zoom: float, target: float, name: str, low: float, high: float
) -> rendering.Camera:
    """One at an elevation between two, which looks at a point of the arm.

    The nearer it stands the wider is its angle, so that the arm stays as large as zoom.
    """
    elevation, distance = draw(f"{name} elevation", low, high), draw(f"{name} distance", 4.4, 5.6)
    return rendering.Camera(
        distance=distance * rendering.cosine(elevation),
        height=target + distance * rendering.sine(elevation),
        pitch=elevation,
        focal_length=zoom * distance,
    )


def _colours(
    draw: Draw,
    names: Sequence[str],
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> dict[str, Colour]:
    """Hues all around the circle, each off its place by at most a seventh of a step."""
    step = 1 / len(names)
    start = draw(f"{names[0]} first", 0.0, 1.0)
    return {
        name: _rgb(
            start + step * (place + draw(f"{name} hue", -1 / 7, 1 / 7)),
            draw(f"{name} saturation", *saturation),
            draw(f"{name} value", *value),
        )
        for place, name in enumerate(names)
    }


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _draw(seed: int, name: str, low: float, high: float) -> float:
    # 48 bits are exact in a float.
    return low + (high - low) * (int.from_bytes(_digest(seed, name)[:6], "big") / 2**48)


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
