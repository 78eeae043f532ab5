"""What a score is worth nothing below: the scores of representations that nobody has trained.

`python -m study audit` measures them (constants, noise, untrained encoders, random projections and
principal components of the pixels) and writes `baselines.json`; that of a data set stands in
`audited/`.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from submission.runs.files import UnreadableError, read_object

FOLDER = Path(__file__).parent / "audited"
"""Holds a file for each data set that was audited."""


@dataclass(frozen=True)
class Band:
    """The scores of the baselines.

    Attributes:
        low: The lowest of any.
        high: The highest.
        latents: How many they have: those measured that are nearest to what was asked for.
    """

    low: float
    high: float
    latents: int

    def __str__(self) -> str:
        """Such as `0.00 to 0.16`."""
        return f"{self.low:.2f} to {self.high:.2f}"


def band(dataset: str, metric: str, latents: object) -> Band | None:
    """The baselines' scores.

    Args:
        dataset: The name of the data set.
        metric: The name of the metric.
        latents: How many the representation has.

    Returns:
        The band; None where nothing was measured, or `latents` is no number of any.
    """
    if type(latents) is not int or latents < 1:
        return None
    try:
        measured = read_object(FOLDER / f"{dataset}.json")["metrics"][metric]
    except (FileNotFoundError, NotADirectoryError, UnreadableError, KeyError):
        return None
    nearest = min(map(int, measured), key=lambda count: abs(math.log(count / latents)))
    low, high = measured[str(nearest)]
    return Band(low, high, nearest)
