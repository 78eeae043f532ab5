"""Images on a grid of ground-truth factors, how to draw from them, and finding their files.

Nothing here knows any one data set: those are in the readers and the catalogue.
"""

import gzip
import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from submission.datasets.image_cache import damage_named, exclusive, fingerprint_of
from submission.datasets.pixels import in_unit_range
from submission.errors import UserError
from submission.runs.files import write_atomically

COPY_BYTES = 2**20

log = logging.getLogger(__name__)

Paint = Callable[[np.ndarray, np.random.RandomState], np.ndarray]

OtherNames = Mapping[str, Sequence[str]]
"""What files were called where they were published, by the name disentanglement_lib gives them."""

Finder = Callable[[Path, Path], Path | None]
"""Finds a file in a data root, given where it belongs, as `find` does."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and their factors: mostly every combination of these once, in some order.

    A *state* numbers a combination of factor values, row-major with the last factor fastest. Every
    draw follows disentanglement_lib (Locatello et al., 2019, `SplitDiscreteStateSpace`), so that
    the same `RandomState` gives the same factors and the same images in both.

    Attributes:
        name: The name in the catalogue, or of one's own data.
        images: uint8 [count, height, width, channels]; may be a read-only `np.memmap`.
        factor_names: Of every factor of the grid; none where the images have none.
        factor_sizes: The number of values of every factor of the grid.
        scored_factors: Indices of the factors that count; the others are drawn at random when an
            image is asked for (disentanglement_lib's `latent_factor_indices`).
        image_of_state: int64 [prod(factor_sizes)], the row of `images` of every state; None when
            that is the state's own number.
        white: The pixel value that means 1.0: 255, but 1 for dSprites.
        paint: The random part of colour, noisy and scream dSprites, drawn anew for every
            observation: float [n, h, w, 1] to [n, h, w, 3]; None for all others.
        path: The file or folder that the images were read from.
        known_fingerprint: The fingerprint when the reader computed it along the way.
        float64: Whether disentanglement_lib reads it in float64, as it does MPI3D.
        factors: int64 [images, factors], the values of every image where some combination has no
            image, or several; None where the images are a grid.
        factor_values: The values themselves of every factor, as one's own data tell them.
        is_own: Whether it is one's own, which is known by its path.
    """

    name: str
    images: np.ndarray = field(repr=False)
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    scored_factors: tuple[int, ...]
    image_of_state: np.ndarray | None = field(default=None, repr=False)
    white: int = 255
    paint: Paint | None = None
    path: Path | None = None
    known_fingerprint: str | None = field(default=None, repr=False)
    float64: bool = False
    factors: np.ndarray | None = field(default=None, repr=False)
    factor_values: tuple[np.ndarray, ...] = field(default=(), repr=False)
    is_own: bool = False

    def __post_init__(self) -> None:
        """Refuses images that don't fit the grid.

        Raises:
            ValueError: The images are not uint8 [count, h, w, c], or don't cover the grid that
                they are said to be.
        """
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(
                f"images must be uint8 [count, h, w, c], not {self.images.dtype} "
                f"{list(self.images.shape)}"
            )
        if not self.is_grid:
            return
        states = math.prod(self.factor_sizes)
        rows = len(self.images) if self.image_of_state is None else len(self.image_of_state)
        if rows != states:
            raise ValueError(f"a grid of {states} states, but {rows} images")

    @property
    def is_grid(self) -> bool:
        """Whether the images have factors and cover every combination of them once."""
        return bool(self.factor_sizes) and self.factors is None

    @property
    def address(self) -> str:
        """What `--dataset` takes to open it: the name, or the path of one's own data."""
        return str(self.path) if self.is_own else self.name

    @property
    def no_scores(self) -> str:
        """Why representations can't be scored on it, in a line; empty where they can."""
        if self.scored_factors:
            return ""
        told = "no factor of more than one value" if self.factor_names else "no factors"
        return f"{self.name} tells {told} of its images, so there is nothing to score by"

    @property
    def scored_factor_names(self) -> list[str]:
        """Of the factors that count."""
        return [self.factor_names[factor] for factor in self.scored_factors]

    @property
    def num_factors(self) -> int:
        """How many factors are scored."""
        return len(self.scored_factors)

    @property
    def factors_num_values(self) -> list[int]:
        """The number of values of every scored factor."""
        return [self.factor_sizes[factor] for factor in self.scored_factors]

    @property
    def observation_shape(self) -> list[int]:
        """[height, width, channels] of what `observe` returns for one image."""
        height, width, channels = self.images.shape[1:]
        return [height, width, channels if self.paint is None else 3]

    @property
    def is_deterministic(self) -> bool:
        """Whether the scored factors alone determine the image."""
        return self.paint is None and self.num_factors == len(self.factor_sizes)

    def sample_factors(self, num: int, random_state: np.random.RandomState) -> np.ndarray:
        """Draws scored factors uniformly, factor by factor.

        Args:
            num: How many rows.
            random_state: Where the draws come from.

        Returns:
            int64 [num, num_factors].
        """
        factors = np.zeros((num, self.num_factors), dtype=np.int64)
        for column, factor in enumerate(self.scored_factors):
            factors[:, column] = random_state.randint(self.factor_sizes[factor], size=num)
        return factors

    def image_indices(self, factors: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
        """Finds an image for each row of scored factors, drawing the factors that aren't scored.

        Args:
            factors: Integers [n, num_factors].
            random_state: Where the draws of the unscored factors come from.

        Returns:
            int64 [n], rows of `images`.

        Raises:
            ValueError: A factor's value lies outside its range.
        """
        num = len(factors)
        grid = np.zeros((num, len(self.factor_sizes)), dtype=np.int64)
        grid[:, list(self.scored_factors)] = factors
        for factor, size in enumerate(self.factor_sizes):
            if factor not in self.scored_factors:
                grid[:, factor] = random_state.randint(size, size=num)
        states = np.ravel_multi_index(tuple(grid.T), self.factor_sizes)
        if self.image_of_state is None:
            return np.asarray(states, dtype=np.int64)
        return self.image_of_state[states]

    def observe(self, indices: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
        """Reads images as the networks and metrics see them.

        Args:
            indices: Integers [n], rows of `images`.
            random_state: Where `paint` draws from; untouched without `paint`.

        Returns:
            float32 [n, h, w, c] in [0, 1].
        """
        observations = in_unit_range(self.images[indices], self.white)
        if self.paint is None:
            return observations
        return self.paint(observations, random_state).astype(np.float32, copy=False)

    def fingerprint(self) -> str:
        """The sha256 of the images' shape and pixels, as hexadecimal digits."""
        return self.known_fingerprint or fingerprint_of(self.images)


def find(data_root: Path, expected: Path, other_names: OtherNames | None = None) -> Path | None:
    """Finds a file or folder where it belongs, or one step off.

    A step is: in the data root instead of its folder, written in another case, under the name it
    was published by, or packed by gzip. What is found is checked by its reader as any other.

    Args:
        data_root: The folder of the data sets.
        expected: Where disentanglement_lib looks for it, relative to the data root.
        other_names: What it was called where it was published.

    Returns:
        Its path, ending in `.gz` if only that is there; None when there is nothing of the kind.

    Raises:
        UserError: A folder can't be read.
    """
    home = data_root
    for part in expected.parent.parts:
        home = _entry(home, part) or home / part
    others = (other_names or {}).get(expected.name, ())
    for folder in (home, data_root):
        for name in (expected.name, *others):
            for ending in ("", ".gz"):
                found = _entry(folder, name + ending)
                if found is not None:
                    return found
    return None


def require(
    data_root: Path, expected: Path, name: str, other_names: OtherNames | None = None
) -> Path:
    """Finds a file or folder as `find` does, and unpacks one that is packed by gzip beside it.

    Args:
        data_root: The folder of the data sets.
        expected: Where disentanglement_lib looks for it, relative to the data root.
        name: The data set that needs it.
        other_names: As for `find`.

    Returns:
        Its path.

    Raises:
        UserError: There is nothing of the kind, or it can't be read or unpacked.
    """
    found = find(data_root, expected, other_names)
    if found is None:
        raise missing(data_root / expected, name)
    if found.suffix.lower() != ".gz":
        return found
    unpacked = found.with_suffix("")
    if not os.access(found.parent, os.W_OK):
        raise UserError(
            f"{found} is packed and its folder can't be written: unpack it with `gunzip`"
        )
    with exclusive(found.parent):
        # Another process may have done the work while this one waited.
        if not unpacked.exists():
            log.warning("unpacking %s", found)
            gunzip(found, unpacked)
    return unpacked


def missing(path: Path, name: str) -> UserError:
    """The one line for a data set that isn't there: where it should be, and how to get it."""
    return UserError(
        f"the data set {name} is missing: there is no {path}; get it with "
        f"`python -m submission.datasets download {name}`, "
        "or set DISENTANGLEMENT_LIB_DATA to the folder that holds it"
    )


def gunzip(packed: Path, target: Path) -> None:
    """Unpacks a `.gz` file, whole or not at all.

    Args:
        packed: The `.gz` file.
        target: Where its content goes.

    Raises:
        UserError: It is damaged, or the content can't be written.
    """
    with damage_named(packed), gzip.open(packed) as content:
        write_atomically(target, lambda file: shutil.copyfileobj(content, file, COPY_BYTES))


def _entry(folder: Path, name: str) -> Path | None:
    """The entry of that name, else the one that differs from it in case only."""
    try:
        entries = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{folder} can't be read: {error.strerror}") from error
    if name in entries:
        return folder / name
    return next((folder / entry for entry in entries if entry.lower() == name.lower()), None)
