"""Arrays of codes and factors that a user hands over: checked, and every value numbered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from evaluator.worker.readers import as_array
from submission.errors import UserError

BINS = 20
"""Into how many bins of as many rows a continuous factor goes."""

ROWS_A_VALUE = 10
"""Numbers with fewer rows to a value, on average, are continuous."""


@dataclass(frozen=True)
class Factors:
    """The factors of rows.

    Attributes:
        names: Of each factor.
        numbers: int64 [n, factors], the place of each value among the factor's values, which rise.
        values: float64 [n, factors], numbers as they were given, and the place of other values.
        categorical: Which factors aren't numbers.
        warnings: What was done to them.
    """

    names: tuple[str, ...]
    numbers: np.ndarray
    values: np.ndarray
    categorical: tuple[bool, ...]
    warnings: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each factor takes."""
        return tuple(int(size) for size in self.numbers.max(axis=0) + 1)

    @property
    def row_of_state(self) -> np.ndarray | None:
        """The row of each combination, last factor fastest; None where it isn't one row each.

        A single factor makes no grid: all its values may differ because it is continuous.
        """
        if len(self.names) < 2 or math.prod(self.sizes) != len(self.numbers):
            return None
        states = np.ravel_multi_index(tuple(self.numbers.T), self.sizes)
        rows = np.argsort(states)
        return rows if np.array_equal(states[rows], np.arange(len(rows))) else None


def read_codes(given: Any, name: str = "codes") -> np.ndarray:
    """Makes an array of what may be one, a list, a table of pandas or a tensor.

    Args:
        given: Finite numbers [n, latents].
        name: What messages call them.

    Returns:
        [n, latents], in their own number type; truth values and unsigned integers in float64.

    Raises:
        UserError: Not a table, no numbers, or none that are finite.
    """
    if hasattr(given, "iloc"):
        # A table of pandas; what is missing is told below.
        given = given.to_numpy(na_value=np.nan)
    codes = _array(given, name)
    if codes.dtype.kind == "O":
        try:
            codes = codes.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise UserError(f"{name} hold something that is no number: {error}") from error
    if codes.dtype.kind not in "fiub":
        raise UserError(f"{name} are {codes.dtype}, not numbers")
    _check_table(codes, name, "latents")
    if codes.dtype.kind in "bu" or codes.dtype.itemsize > 8:
        # Differences of unsigned integers wrap, those of truth values don't exist.
        codes = codes.astype(np.float64)
    # numpy sums numbers of the other byte order in another order too.
    codes = codes.astype(codes.dtype.newbyteorder("="), copy=False)
    wrong = np.argwhere(~np.isfinite(codes))
    if len(wrong):
        row, latent = wrong[0]
        raise UserError(
            f"{name} must be finite numbers: {len(wrong)} are not, the first in row {row}, "
            f"latent {latent} ({codes[row, latent]})"
        )
    return codes


def read_factors(given: Any, names: Sequence[str] | None = None, name: str = "factors") -> Factors:
    """Numbers the values of factors; those of one value are left out.

    Args:
        given: [n, factors]: numbers, or anything that has a name (strings, categories of pandas). A
            column of strings that all spell numbers is one of numbers.
        names: Of the factors; by default the columns' of a table of pandas, or `factor 0` and on.
        name: What messages call them.

    Returns:
        The factors.

    Raises:
        UserError: Not a table, a value that is missing, or nothing that varies.
    """
    columns, own_names = _columns(given, name)
    if isinstance(names, str):
        raise UserError(f"names is {names!r}, and must be a list of the factors' names")
    names = own_names if names is None else list(map(str, names))
    if len(names) != len(columns):
        raise UserError(f"{name} have {len(columns)} columns, but there are {len(names)} names")
    kept, numbers, values, categorical, warnings = [], [], [], [], []
    for title, column in zip(names, columns, strict=True):
        known = _known(column, title)
        distinct, places = np.unique(known, return_inverse=True)
        if len(distinct) == 1:
            warnings.append(f"the factor {title} has one value, so it is left out")
            continue
        is_number = known.dtype.kind in "fiub"
        kept.append(title)
        numbers.append(places)
        values.append((known if is_number else places).astype(np.float64))
        categorical.append(not is_number)
    if not kept:
        raise UserError(f"{name} have one value each: there is nothing to find in the codes")
    return Factors(
        tuple(kept),
        np.stack(numbers, axis=1).astype(np.int64),
        np.stack(values, axis=1),
        tuple(categorical),
        tuple(warnings),
    )


def binned(factors: Factors) -> Factors:
    """Bins continuous factors, so that rows share values: into `BINS` bins of as many rows.

    Args:
        factors: Numbers of which there are fewer than `ROWS_A_VALUE` rows to a value are
            continuous.

    Returns:
        The factors; the values stay as they were.

    Raises:
        UserError: A factor that isn't a number, of which hardly two rows share a value.
    """
    numbers, warnings = factors.numbers.copy(), list(factors.warnings)
    rows = len(numbers)
    for column, (name, size) in enumerate(zip(factors.names, factors.sizes, strict=True)):
        if rows >= ROWS_A_VALUE * size:
            continue
        if factors.categorical[column]:
            if rows < 2 * size:
                raise UserError(
                    f"the factor {name} has {size:,} values in {rows:,} rows: leave it out, or "
                    "give groups of rows one value"
                )
            continue
        bins = min(BINS, rows // ROWS_A_VALUE)
        values = factors.values[:, column]
        edges = np.unique(np.quantile(values, np.arange(1, bins) / bins))
        # An edge at the lowest value parts nothing; where most rows have that one, it is a bin.
        edges = edges[edges > values.min()]
        edges = edges if len(edges) else np.unique(values)[1:2]
        places = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1]
        numbers[:, column] = places
        warnings.append(
            f"the factor {name} has {size:,} values in {rows:,} rows, fewer than {ROWS_A_VALUE} "
            f"rows to a value: taken as continuous, and binned into {places.max() + 1} bins of as "
            "many rows (sap_score.continuous_factors = True takes it as it is)"
        )
    return replace(factors, numbers=numbers, warnings=tuple(warnings))


def _array(given: Any, name: str) -> np.ndarray:
    """An array of what may be tensors, none of its values missing."""
    if np.ma.isMaskedArray(given):
        if np.ma.getmaskarray(given).any():
            raise UserError(f"{name} are a masked array with missing values: leave those rows out")
        given = given.data
    try:
        array = np.asarray(_without_tensors(given))
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{name} are no table: {str(error).splitlines()[0]}") from error
    if array.ndim == 0:
        raise UserError(f"{name} are a {type(given).__name__}, and must be a table: a row an image")
    return array


def _without_tensors(given: Any) -> Any:
    """Tensors, or a list of them, that have a gradient, are on a GPU or bfloat16, as arrays."""
    if isinstance(given, list | tuple) and given and hasattr(given[0], "detach"):
        return [_without_tensors(one) for one in given]
    return as_array(given) if hasattr(given, "detach") else given


def _check_table(array: np.ndarray, name: str, columns: str) -> None:
    if array.ndim != 2:
        hint = f"; of one column, give array.reshape(-1, 1): [n, {columns}]"
        raise UserError(
            f"{name} are an array of rank {array.ndim}, shape {list(array.shape)}, and must be a "
            f"table [n, {columns}]{hint if array.ndim == 1 else ''}"
        )
    if 0 in array.shape:
        raise UserError(f"{name} are empty: the shape is {list(array.shape)}")


def _columns(given: Any, name: str) -> tuple[list[np.ndarray], list[str]]:
    """The columns of a table, each with its name."""
    if not hasattr(given, "iloc"):
        array = _array(given, name)
        _check_table(array, name, "factors")
        return list(array.T), [f"factor {column}" for column in range(array.shape[1])]
    # A table of pandas, whose columns have types of their own.
    _check_table(np.empty(given.shape, bool), name, "factors")
    columns = []
    for column in range(given.shape[1]):
        series = given.iloc[:, column]
        plain = isinstance(series.dtype, np.dtype) and series.dtype.kind != "O"
        columns.append(series.to_numpy() if plain else series.to_numpy(dtype=object, na_value=None))
    return columns, [str(title) for title in given.columns]


def _known(column: np.ndarray, title: str) -> np.ndarray:
    """A factor's values [n], numbers or strings, none of them missing."""
    if column.dtype.kind in "fiub":
        missing = ~np.isfinite(column)
    else:
        strings, missing = _strings(column, title)
        column = strings
    if missing.any():
        raise UserError(
            f"the factor {title} is missing, or infinite, in {missing.sum():,} of {len(missing):,} "
            f"rows, first in row {np.argmax(missing)}: leave those rows out of the codes and the "
            "factors"
        )
    if column.dtype.kind not in "U":
        return column
    try:
        numbers = column.astype(np.float64)
    except ValueError:
        return column
    return numbers if np.isfinite(numbers).all() else column


def _strings(column: np.ndarray, title: str) -> tuple[np.ndarray, np.ndarray]:
    """Other values than numbers as strings [n], and which of them are missing, bool [n]."""
    known = []
    for value in column.tolist():
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            value = ""
        if not isinstance(value, str | int | float | Decimal):
            raise UserError(
                f"the factor {title} holds a {type(value).__name__}: a factor's values are numbers "
                "or strings"
            )
        known.append(str(value).strip())
    strings = np.array(known, dtype=np.str_)
    return strings, strings == ""
