"""What a reader of one's own data gives: images, and what is told of their factors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from submission.datasets.image_cache import ImageSource
from submission.errors import UserError

_MISSING = ("", "nan", "na", "n/a", "null", "none")


@dataclass(frozen=True)
class Factors:
    """The factors of some images.

    Attributes:
        names: Of the factors.
        values: The values that each of them takes, in ascending order.
        indices: int64 [images, factors], which of these values each image has; None where the
            images are a grid in its own order, the last factor fastest.
    """

    names: tuple[str, ...]
    values: tuple[np.ndarray, ...]
    indices: np.ndarray | None

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each factor takes."""
        return tuple(len(values) for values in self.values)


@dataclass(frozen=True)
class Content:
    """What a file or a folder holds.

    Attributes:
        source: The images.
        factors: Their factors; None where it tells of none.
    """

    source: ImageSource
    factors: Factors | None


def factors_of_grid(names: tuple[str, ...], sizes: tuple[int, ...]) -> Factors:
    """The factors of images that stand in the order of a grid."""
    return Factors(names, tuple(np.arange(size) for size in sizes), None)


def factors_of_columns(columns: Mapping[str, np.ndarray], where: str) -> Factors:
    """The factors of images in any order.

    Args:
        columns: The value of every image, by the factor's name: numbers, truth values or texts.
        where: What messages call the table.

    Returns:
        The factors; texts that are all numbers are ordered as numbers.

    Raises:
        UserError: A value is missing, or a column holds no such values.
    """
    values, indices = [], []
    for name, given in columns.items():
        column = _numbers(given) if given.dtype.kind in "US" else given
        if column.dtype.kind not in "biufUS":
            raise UserError(
                f"{where}: the factor {name} is {column.dtype}; it must be numbers or texts"
            )
        if column.dtype.kind == "f":
            lacking = ~np.isfinite(column)
        elif column.dtype.kind in "US":
            lacking = np.isin(np.char.lower(column.astype(str)), _MISSING)
        else:
            lacking = np.zeros(len(column), dtype=bool)
        if lacking.any():
            row = int(lacking.argmax())
            raise UserError(
                f"{where}: the factor {name} has no value in row {row + 1} of {len(column)} "
                f"({given[row]!s}): leave such images out"
            )
        distinct, index = np.unique(column, return_inverse=True)
        values.append(distinct)
        indices.append(index.reshape(-1).astype(np.int64))
    return Factors(tuple(columns), tuple(values), np.stack(indices, axis=1))


def rows_of_states(factors: Factors) -> np.ndarray | None:
    """Finds the image of every combination of the factors.

    Args:
        factors: With `indices`.

    Returns:
        int64 [prod(sizes)], the image of every state, the last factor fastest; None where some
        combination has no image, or several. A single factor, all of whose values may differ
        because it is continuous, is no grid.
    """
    assert factors.indices is not None
    count = math.prod(factors.sizes)
    if count != len(factors.indices) or len(factors.names) < 2:
        return None
    states = np.ravel_multi_index(tuple(factors.indices.T), factors.sizes)
    rows = np.full(count, -1, dtype=np.int64)
    rows[states] = np.arange(count)
    return None if (rows < 0).any() else rows


def _numbers(texts: np.ndarray) -> np.ndarray:
    """The same as numbers, if they all are."""
    try:
        return texts.astype(np.float64)
    except ValueError:
        return texts
