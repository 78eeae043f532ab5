"""Three ways to make one number of several metrics, each under its own name.

The challenge ranked by order; the paper summed what it had normalised; the plain sum is this
project's.
"""

from collections.abc import Sequence

import numpy as np


def mean_ranks(scores: np.ndarray) -> np.ndarray:
    """The challenge's rank: for each metric 1 + the entries with a strictly higher score.

    Args:
        scores: [entries, metrics].

    Returns:
        [entries], the mean over the metrics; the lowest is best.

    Example:
        >>> mean_ranks(np.array([[0.9, 0.1], [0.5, 0.1], [0.1, 0.8]]))
        array([1.5, 2. , 2. ])
    """
    higher = scores[np.newaxis] > scores[:, np.newaxis]
    return (1 + higher.sum(axis=1)).mean(axis=1)


def standings(scores: np.ndarray, participants: Sequence[str]) -> list[tuple[int, float]]:
    """Ranks as the challenge's leaderboard did, where one entry of each participant counts.

    All entries are ranked, the best is its participant's, and that participant's entries are taken
    out; then again, until none is left. Those that were chosen are ranked afresh.

    Args:
        scores: [entries, metrics].
        participants: Whose each entry is.

    Returns:
        The number of each chosen entry and its mean rank, best first; ties by the earlier entry.
    """
    left, chosen = list(range(len(scores))), []
    while left:
        best = left[int(mean_ranks(scores[left]).argmin())]
        chosen.append(best)
        left = [entry for entry in left if participants[entry] != participants[best]]
    chosen.sort()
    ranks = mean_ranks(scores[chosen]).tolist()
    return sorted(zip(chosen, ranks, strict=True), key=lambda one: one[1])


def normalised_sums(scores: np.ndarray) -> np.ndarray:
    """The paper's sum: each metric divided by its largest score here (Table 1).

    Args:
        scores: [entries, metrics]; a metric without a score above 0 is left out.

    Returns:
        [entries].
    """
    largest = scores.max(axis=0)
    counted = largest > 0
    return (scores[:, counted] / largest[counted]).sum(axis=1)
