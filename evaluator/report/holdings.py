"""Which latent tells which factor, as the matrices in `scores.json` say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluator.assignment import LEAST_SHARE
from evaluator.latents import finite_numbers
from submission.runs.scores import Scores

LEAST_SHOWN = 0.15
"""A factor of which no latent tells as much is told by many together, or not at all."""

_MOST = 3
_MOST_ROWS = 50
_TITLES = {
    "importance": "DCI importance",
    "information": "Mutual information",
    "accuracy": "SAP accuracy",
    "squared_correlation": "Squared correlation",
}


@dataclass(frozen=True)
class Holding:
    """One matrix, to be shown.

    Attributes:
        key: Its name in `scores.json`.
        title: What the entries are.
        factors: Their names, a column each.
        rows: Latent and its entries in [0, 1], of latents that tell `LEAST_SHOWN` of a factor or
            more, sorted by the factor that they tell most of; 50 at most, those that tell most.
        faint: The same of the other latents.
        left_out: How many are in neither.
        told_by: Each factor's name and the latents that tell it best; none where none does.
        factor_of: The name of the factor that each latent of `rows` tells most of, by the latent.
        latents_by_factor: The same by the factor, for factors that some latent tells most of.
    """

    key: str
    title: str
    factors: Sequence[str]
    rows: Sequence[tuple[int, Sequence[float]]]
    faint: Sequence[tuple[int, Sequence[float]]]
    left_out: int
    told_by: Sequence[tuple[str, Sequence[int]]]
    factor_of: dict[int, str]
    latents_by_factor: Sequence[tuple[str, Sequence[int]]]


def holdings(scores: Scores) -> list[Holding]:
    """What is known of a representation's latents; empty for scores without matrices.

    Args:
        scores: Of `scores.json`, which people may have changed.

    Returns:
        In the order of the challenge's metrics; a matrix that is none is left out.
    """
    names = scores.matrices.get("factors")
    sizes = scores.provenance.get("factors_num_values")
    if not isinstance(names, list) or not names:
        return []
    found = []
    for key, title in _TITLES.items():
        matrix = _matrix(scores.matrices.get(key), len(names))
        if matrix is None:
            continue
        if key == "accuracy":
            values = finite_numbers(sizes)
            if len(values) != len(names) or min(values) < 1:
                continue
            chance = 1 / np.array(values)
            matrix = (matrix - chance) / np.where(chance < 1, 1 - chance, 1)
        found.append(_holding(key, title, np.clip(matrix, 0, 1), [str(name) for name in names]))
    return found


def _holding(key: str, title: str, matrix: np.ndarray, names: list[str]) -> Holding:
    factor_of = matrix.argmax(axis=1).tolist()
    told = matrix.max(axis=1)

    def ordered(latents: np.ndarray) -> list[int]:
        most = sorted(latents.tolist(), key=lambda one: -told[one])[:_MOST_ROWS]
        return sorted(most, key=lambda one: (factor_of[one], -told[one]))

    shown = ordered(np.flatnonzero(told >= LEAST_SHOWN))
    faint = ordered(np.flatnonzero(told < LEAST_SHOWN))
    return Holding(
        key=key,
        title=title,
        factors=names,
        rows=[(latent, matrix[latent].tolist()) for latent in shown],
        faint=[(latent, matrix[latent].tolist()) for latent in faint],
        left_out=len(matrix) - len(shown) - len(faint),
        told_by=[(name, _best(column)) for name, column in zip(names, matrix.T, strict=True)],
        factor_of={latent: names[factor_of[latent]] for latent in shown},
        latents_by_factor=[
            (name, [latent for latent in shown if factor_of[latent] == factor])
            for factor, name in enumerate(names)
            if any(factor_of[latent] == factor for latent in shown)
        ],
    )


def _best(column: np.ndarray) -> list[int]:
    """A latent that tells another factor better still may be among them."""
    if column.max() < LEAST_SHOWN:
        return []
    order = np.argsort(-column, kind="stable").tolist()
    return [latent for latent in order if column[latent] >= LEAST_SHARE * column.max()][:_MOST]


def _matrix(value: object, columns: int) -> np.ndarray | None:
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    fits = matrix.ndim == 2 and matrix.shape[1] == columns and len(matrix) > 0
    return matrix if fits and np.isfinite(matrix).all() else None
