"""Which latent tells which factor, as the matrices in `scores.json` say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluator.assignment import LEAST_SHARE, assign
from submission.runs.scores import Scores

# A factor of which no latent tells more is told by many together, or not at all.
_LEAST = 0.15
_MOST = 3
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
        rows: Latent and its entries in [0, 1], sorted by the factor that it tells most of.
        silent: Latents that tell nothing of any factor.
        told_by: Each factor's name and the latents that tell it best; none where none does.
        factor_of: The name of the factor that each latent tells most of, by the latent.
    """

    key: str
    title: str
    factors: Sequence[str]
    rows: Sequence[tuple[int, Sequence[float]]]
    silent: Sequence[int]
    told_by: Sequence[tuple[str, Sequence[int]]]
    factor_of: dict[int, str]


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
            if not isinstance(sizes, list) or len(sizes) != len(names):
                continue
            chance = 1 / np.array(sizes, float)
            matrix = (matrix - chance) / np.where(chance < 1, 1 - chance, 1)
        found.append(_holding(key, title, np.clip(matrix, 0, 1), [str(name) for name in names]))
    return found


def _holding(key: str, title: str, matrix: np.ndarray, names: list[str]) -> Holding:
    assignment = assign(matrix)
    known = {
        latent: factor for latent, factor in enumerate(assignment.factor_of) if factor is not None
    }
    order = sorted(known, key=lambda latent: (known[latent], -matrix[latent, known[latent]]))
    return Holding(
        key=key,
        title=title,
        factors=names,
        rows=[(latent, matrix[latent].tolist()) for latent in order],
        silent=[latent for latent in range(len(matrix)) if latent not in known],
        told_by=[(name, _best(column)) for name, column in zip(names, matrix.T, strict=True)],
        factor_of={latent: names[factor] for latent, factor in known.items()},
    )


def _best(column: np.ndarray) -> list[int]:
    """A latent that tells another factor better still may be among them."""
    if column.max() < _LEAST:
        return []
    order = np.argsort(-column, kind="stable").tolist()
    return [latent for latent in order if column[latent] >= LEAST_SHARE * column.max()][:_MOST]


def _matrix(value: object, columns: int) -> np.ndarray | None:
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    fits = matrix.ndim == 2 and matrix.shape[1] == columns and len(matrix) > 0
    return matrix if fits and np.isfinite(matrix).all() else None
