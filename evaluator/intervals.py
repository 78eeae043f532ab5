"""How far a score moves from one seed of its draws to the next: is a difference noise?

The interval says nothing of training: another seed of the training can move a score by far more.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """Student's t-interval of the mean over seeds.

    Attributes:
        mean: Of the scores.
        half_width: The interval is mean ± half_width at the level `CONFIDENCE`.
        scores: One for each seed.
    """

    mean: float
    half_width: float
    scores: tuple[float, ...]

    def __str__(self) -> str:
        """Such as `0.132 ± 0.004`."""
        # Adding 0 turns -0.0 into 0.0.
        return f"{round(self.mean, 3) + 0:.3f} ± {self.half_width:.3f}"


def t_interval(scores: Sequence[float]) -> Interval:
    """Computes the interval, as if the scores were independent and normal.

    Args:
        scores: At least two.

    Returns:
        The interval; its half width is t((1 + CONFIDENCE) / 2, n - 1) s / sqrt(n).

    Raises:
        ValueError: Fewer than two scores have no spread.

    Example:
        >>> print(t_interval([0.31, 0.29, 0.30]))
        0.300 ± 0.025
    """
    if len(scores) < 2:
        raise ValueError(f"an interval needs two scores or more, not {len(scores)}")
    from scipy import stats

    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(scores) - 1)
    half_width = quantile * np.std(scores, ddof=1) / math.sqrt(len(scores))
    return Interval(float(np.mean(scores)), float(half_width), tuple(scores))
