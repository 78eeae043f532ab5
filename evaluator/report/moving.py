"""What a page needs to move the latents of an image and show what is decoded of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluator.report.inline_images import data_uri, webp
from evaluator.report.layers import decode, pack, packed_bytes, read_layers
from evaluator.report.traversals import SEED, Autoencoder, strip_png
from submission.errors import UserError

BASES = 8
"""Images to start from."""

MOST_BYTES = 3_000_000
"""Of a page for what it decodes with."""

MOST_LEVELS = 4
"""By how many of 255 levels a pixel that the page computes may differ from the decoder's."""

# Pictures that are computed both ways and compared, beside those of the images.
_COMPARED = 16
# How many places of a latent are drawn beforehand where the page can't decode, as space allows.
_PLACES = 11
_SKIPS = (1, 2, 5)


@dataclass(frozen=True)
class Slider:
    """A latent that a reader moves.

    Attributes:
        latent: Its number.
        low: Where its range begins.
        high: Where it ends.
    """

    latent: int
    low: float
    high: float


@dataclass(frozen=True)
class Moving:
    """What the section of moving latents shows.

    Attributes:
        originals: The images to start from, PNG.
        sliders: The latents that can be moved.
        how: Who decodes: "page", which computes the decoder's layers; "strips", drawn beforehand,
            one latent moved at a time; or "server", which is asked.
        why_strips: Why the page doesn't decode.
        bits: Of each of the decoder's weights in the page; 0 where it holds none.
        levels: By how much a pixel that the page decodes differs from the decoder's at most, of 255
            levels, over the pictures that were compared.
        compared: How many that were.
        places: How many places of each latent were drawn beforehand.
        content: For moving.js: the `codes` of the images, the `sliders`, the pictures' `side` and
            `channels`, and either the `decoder` (`evaluator.report.layers.Packed.content`) or
            `strips`: for each image a WebP of its reconstruction and below it each slider's places.
    """

    originals: list[bytes]
    sliders: Sequence[Slider]
    how: str
    why_strips: str
    bits: int
    levels: float
    compared: int
    places: int
    content: dict[str, Any]


def prepare(
    model: Autoencoder,
    images: NDArray[np.float32],
    codes: NDArray[np.float32],
    ranges: Sequence[Slider],
    served: bool = False,
) -> Moving:
    """Chooses how the page decodes, and makes what it needs for that.

    Args:
        model: The exported model.
        images: float32 [n, height, width, channels] in [0, 1]; the first `BASES` are started from.
        codes: Their posterior means, float32 [n, latents].
        ranges: The latents to move; where an image lies outside a range, it is widened.
        served: Whether the page will be served by what has the decoder at hand.

    Returns:
        What the page needs.

    Raises:
        UserError: The decoder fails.
    """
    images, codes = images[:BASES], codes[:BASES]
    sliders = [
        Slider(
            one.latent,
            min(one.low, *codes[:, one.latent].tolist()),
            max(one.high, *codes[:, one.latent].tolist()),
        )
        for one in ranges
    ]
    content: dict[str, Any] = {
        "side": images.shape[1],
        "channels": images.shape[3],
        "codes": [[float(f"{value:.7g}") for value in code] for code in codes.tolist()],
        "sliders": [
            {"latent": one.latent, "low": round(one.low, 4), "high": round(one.high, 4)}
            for one in sliders
        ],
    }
    how, why_strips, bits, levels, places = "server", "", 0, 0.0, 0
    if not served:
        try:
            content["decoder"], bits, levels = _computed(model, codes, sliders)
            how = "page"
        except UserError as error:
            how, why_strips = "strips", str(error)
            content["strips"], places = _strips(model, codes, sliders)
    return Moving(
        originals=[strip_png(image[None]) for image in images],
        sliders=sliders,
        how=how,
        why_strips=why_strips,
        bits=bits,
        levels=levels,
        compared=len(codes) + _COMPARED,
        places=places,
        content=content,
    )


def _computed(
    model: Autoencoder, codes: NDArray[np.float32], sliders: Sequence[Slider]
) -> tuple[dict[str, Any], int, float]:
    """The decoder for the page's script, the bits of its weights, and by how much it differs."""
    layers = read_layers(model.parameter, codes.shape[1])
    bits = next((bits for bits in (16, 8) if packed_bytes(layers, bits) <= MOST_BYTES), None)
    if bits is None:
        weights = sum(one.weight.size for one in layers)
        raise UserError(f"the decoder has {weights:,} weights, too many for a page")
    packed = pack(layers, bits)
    # A decoder whose layers have these shapes may still compute something else.
    random_state = np.random.RandomState(SEED)
    moved = codes[np.arange(_COMPARED) % len(codes)]
    for one in sliders:
        moved[:, one.latent] = random_state.uniform(one.low, one.high, _COMPARED)
    compared = np.concatenate([codes, moved])
    real, own = model.decode(compared), decode(packed.layers, compared)
    if real.shape != own.shape:
        raise UserError("the decoder computes something else than submission/networks.py")
    levels = float(255 * np.abs(real - own).max())
    # Not where a number isn't one, either.
    if not levels <= MOST_LEVELS:
        raise UserError("the decoder computes something else than submission/networks.py")
    return packed.content, bits, math.ceil(100 * levels) / 100


def _strips(
    model: Autoencoder, codes: NDArray[np.float32], sliders: Sequence[Slider]
) -> tuple[list[str], int]:
    """Of each image one tall picture, and how many places of each slider are in it."""
    places = np.linspace(0, 1, _PLACES)
    columns = []
    for code in codes:
        moved = np.repeat(code[None], 1 + len(sliders) * _PLACES, axis=0)
        for number, one in enumerate(sliders):
            start = 1 + number * _PLACES
            moved[start : start + _PLACES, one.latent] = one.low + (one.high - one.low) * places
        columns.append(np.rint(255 * model.decode(moved)).astype(np.uint8))
    for skip in _SKIPS:
        shown = range(0, _PLACES, skip)
        chosen = [0, *(1 + number * _PLACES + at for number in range(len(sliders)) for at in shown)]
        strips = [data_uri(webp(_column(column[chosen])), "webp") for column in columns]
        if sum(map(len, strips)) <= MOST_BYTES:
            break
    return strips, len(shown)


def _column(pictures: NDArray[np.uint8]) -> Image.Image:
    """Pictures one below the other. Their sides are multiples of WebP's blocks of 16 pixels."""
    column = np.repeat(pictures, 3, axis=3) if pictures.shape[3] == 1 else pictures
    return Image.fromarray(np.concatenate(column))
