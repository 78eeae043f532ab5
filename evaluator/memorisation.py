"""An alarm for codes that were learnt by heart: do they outlast noise that no eye sees?

A file can hold the factors of every image of a public data set, found again by a hash of its
pixels, and score all that there is to score. What was learnt about images in general also answers
for one that is next to the same; what was learnt by heart answers anything at all. A table that
finds the nearest of its images raises no alarm, nor does a network that was trained on the labels:
docs/security.md says what does.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluator.codes import Codes
from evaluator.representations import Representation, files_of
from submission.datasets import Dataset
from submission.datasets.pixels import in_unit_range

MOST_CHANGE = 0.25
"""Of a latent's spread. A code drawn anew from all codes changes by 1.13 of it where codes are
normal, 1.15 where they are uniform; one that falls back to the mean, by 0.80 and 0.87. Of 28
encoders of mpi3d_mini, untrained to trained, the worst latent changed by 0.041; of its first 200
principal components, by 0.022. A latent that varies less than the noise, such as a pixel that is
the same in nearly all images, raises the alarm too."""

# The mean over so many images is within 2 % of that over all.
_IMAGES = 256
# Of a latent's largest code: less than that is rounding.
_CONSTANT = 1e-5


@dataclass(frozen=True)
class Memorisation:
    """How a representation bears noise of one step of 255 in each pixel.

    Attributes:
        change: The mean absolute change of a code in units of its latent's spread, of the latent
            that changes most: further latents can't hide it. None where all are constant.
        images: How many were probed.
        bytes: The size of the representation's files; None where a program holds it.
    """

    change: float | None
    images: int
    bytes: int | None

    @property
    def warning(self) -> str | None:
        """One line where the codes look learnt by heart."""
        if self.change is None or self.change <= MOST_CHANGE:
            return None
        size = "" if self.bytes is None else f" ({self.bytes:,} bytes)"
        return (
            f"labels may have been learnt by heart{size}: noise of 1 of 255 in each pixel, which "
            f"no eye sees, moves codes by more than {MOST_CHANGE} of their spread; those of a "
            "trained encoder move by some 0.04"
        )


def probe(codes: Codes) -> Memorisation:
    """Asks for the codes of some images again, each pixel moved by -1, 0 or +1 of 255.

    The images and the noise are drawn from the operating system's entropy: no model knows them.

    Args:
        codes: By image, of a data set that draws no part of the image at random.

    Returns:
        What it told.

    Raises:
        UserError: The representation fails, or gives codes that aren't finite.
    """
    dataset, representation = codes.dataset, codes.representation
    random = np.random.default_rng(secrets.randbits(128))
    indices = random.choice(codes.known, _IMAGES)
    # Of the images where 1 is white, 0 and 1 become 0 and 255, so that there is a step of 255.
    pixels = dataset.images[indices] * np.uint8(255 // dataset.white)
    noise = random.integers(-1, 2, size=pixels.shape, dtype=np.int16)
    noisy = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    size = representation.batch_size
    moved = np.concatenate(
        [
            _encode(representation, dataset, batch)
            for batch in np.split(noisy, range(size, _IMAGES, size))
        ]
    )
    in_bytes = None if representation.in_memory else _size(representation.path)
    return Memorisation(largest_change(codes[indices], moved), _IMAGES, in_bytes)


def largest_change(before: np.ndarray, after: np.ndarray) -> float | None:
    """The mean absolute change in units of the spread, of the latent that changes most.

    Args:
        before: Codes [n, latents].
        after: Codes of the same images, after some change.

    Returns:
        None where no latent varies over the images.
    """
    before, after = before.astype(np.float64), after.astype(np.float64)
    # Divided first, or the largest codes' squares overflow.
    largest = np.abs(before).max(axis=0)
    known = largest > 0
    before, after = before[:, known] / largest[known], after[:, known] / largest[known]
    spread = before.std(axis=0)
    varies = spread > _CONSTANT
    if not varies.any():
        return None
    change = np.abs(after - before).mean(axis=0)
    return float((change[varies] / spread[varies]).max())


def _encode(representation: Representation, dataset: Dataset, pixels: np.ndarray) -> np.ndarray:
    if representation.encode_pixels is not None:
        return representation.encode_pixels(pixels, 255)
    dtype = np.float64 if dataset.float64 else np.float32
    return representation.encode(in_unit_range(pixels, 255, dtype))


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in files_of(path))
