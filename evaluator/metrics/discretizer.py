"""disentanglement_lib's histogram discretizer: codes and factors as numbers of equal bins."""

import warnings
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from submission.values import Interval

# Of one bin there is no information.
DISCRETIZER: Mapping[str, Any] = {
    "discretizer.num_bins": Annotated[int, Interval(ge=2, le=1_000_000)]
}
"""Its setting."""


def binned(values: np.ndarray, num_bins: int) -> np.ndarray:
    """Numbers of the bins of a histogram, [n] in the type of `values`."""
    try:
        edges = np.histogram(values, num_bins)[1]
    except ValueError:
        # float16 and huge codes: no room for the bins between neighbouring numbers.
        warnings.warn(
            f"{num_bins} bins don't fit the range of {values.dtype} codes: binned as float64",
            stacklevel=3,
        )
        values = values.astype(np.float64) / np.abs(values).max().astype(np.float64)
        edges = np.histogram(values, num_bins)[1]
    return np.digitize(values, edges[:-1]).astype(values.dtype)
