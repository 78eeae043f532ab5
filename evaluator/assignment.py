"""Which latent stands for which factor, by the matrices that the metrics are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluator.metrics.discretizer import binned

LEAST_SHARE = 0.5
"""A latent counts among a factor's when it tells at least this share of what the best one does."""

LEAST_TOLD = 0.05
"""One that tells less than this share of the matrix's largest entry tells nothing."""


@dataclass(frozen=True)
class Assignment:
    """Latents and factors by their numbers.

    Attributes:
        factor_of: The factor that each latent tells most of; None for one that tells nothing.
        latents_of: The latents of each factor, the best first: those whose factor it is and that
            tell `LEAST_SHARE` of what its best latent does. Empty for a factor that no latent
            tells most of.
        pairs: Latents and factors one to one, so that what they tell is the most in all.
    """

    factor_of: tuple[int | None, ...]
    latents_of: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[int, int], ...]


def assign(matrix: np.ndarray) -> Assignment:
    """Reads an assignment off a matrix.

    Args:
        matrix: [latents, factors], none negative: what a latent tells of a factor, such as
            `information`, DCI's importances, or SAP's accuracies less chance.

    Returns:
        The assignment.

    Example:
        >>> found = assign(np.array([[0.9, 0.0], [0.5, 0.1], [0.0, 0.0]]))
        >>> found.factor_of, found.latents_of, found.pairs
        ((0, 0, None), ((0, 1), ()), ((0, 0), (1, 1)))
    """
    from scipy.optimize import linear_sum_assignment

    least = max(LEAST_TOLD * matrix.max(), np.finfo(float).tiny)
    factor_of = [int(row.argmax()) if row.max() >= least else None for row in matrix]
    latents_of = []
    for factor, column in enumerate(matrix.T):
        own = [
            latent
            for latent in np.argsort(-column, kind="stable").tolist()
            if factor_of[latent] == factor and column[latent] >= LEAST_SHARE * column.max()
        ]
        latents_of.append(tuple(own))
    latents, factors = linear_sum_assignment(matrix, maximize=True)
    pairs = tuple(zip(latents.tolist(), factors.tolist(), strict=True))
    return Assignment(tuple(factor_of), tuple(latents_of), pairs)


def information(codes: np.ndarray, factors: np.ndarray, num_bins: int = 20) -> np.ndarray:
    """The share of each factor's entropy that each latent tells, as MIG bins the codes.

    Args:
        codes: [n, latents].
        factors: Integers [n, factors].
        num_bins: Equal bins between a latent's smallest and largest code.

    Returns:
        [latents, factors] in [0, 1]. A sample's is too large by about
        (bins - 1)(values - 1) / 2n nats.
    """
    values = [_positions(factor) for factor in factors.T]
    bins = [_positions(binned(latent, num_bins)) for latent in codes.T]
    entropy = np.array([_entropy(own) for own in values])
    together = np.array(
        [[_entropy(own * (value.max() + 1) + value) for value in values] for own in bins]
    )
    told = np.array([_entropy(own) for own in bins])[:, None] + entropy - together
    return np.clip(told / np.where(entropy > 0, entropy, 1), 0, 1)


def _positions(values: np.ndarray) -> np.ndarray:
    """Distinct values numbered from 0."""
    return np.unique(values, return_inverse=True)[1]


def _entropy(positions: np.ndarray) -> float:
    """In nats."""
    shares = np.bincount(positions) / len(positions)
    known = shares[shares > 0]
    return float(-(known * np.log(known)).sum())


def importances(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> np.ndarray:
    """DCI's importances, of trees fitted to all rows.

    Args:
        codes: [n, latents].
        factors: Integers [n, factors], from 0 on.
        seed: Of the choice between splits that gain the same.

    Returns:
        [latents, factors]; each factor's add up to 1.
    """
    from evaluator.metrics.boosting import importance_matrix

    return importance_matrix(codes, factors, codes, factors, seed)[0]


def accuracies(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """How much better than the most frequent value each latent names each factor, as SAP does.

    Args:
        codes: [n, latents].
        factors: Integers [n, factors], from 0 on.

    Returns:
        [latents, factors], accuracies less the share of the most frequent value; 0 where that is
        more.
    """
    from evaluator.metrics.linear_svc import score_matrix

    common = np.array([np.bincount(factor).max() / len(factor) for factor in factors.T])
    return np.clip(score_matrix(codes, factors, codes, factors) - common, 0, None)


def sentence(assignment: Assignment, names: Sequence[str]) -> str:
    """The assignment in words.

    Args:
        assignment: The assignment.
        names: Of the factors.

    Returns:
        Such as `size is told by z0 and z3; shape by none`.
    """
    told = [
        f"{name} by {' and '.join(f'z{latent}' for latent in latents) or 'none'}"
        for name, latents in zip(names, assignment.latents_of, strict=True)
    ]
    return "; ".join(told)
