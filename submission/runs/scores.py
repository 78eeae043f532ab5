"""The scores of a representation, and what is needed to get them again."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submission.runs.files import read_object, write_json


@dataclass(frozen=True)
class Scores:
    """The content of `scores.json`.

    Attributes:
        scores: The score of each metric, by its name; NaN where a file holds no number.
        sum: Of the challenge's metrics; None if none of them is there.
        metrics: All values that a metric gives, by its name.
        provenance: Where the scores come from.
        repeats: The scores over several seeds; empty if there was one.
        matrices: What each latent tells of each factor, a list a latent, by what it is measured by;
            and `factors`, their names. Empty where no metric has such a matrix.
    """

    scores: dict[str, float] = field(default_factory=dict)
    sum: float | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    repeats: dict[str, Any] = field(default_factory=dict)
    matrices: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Writes the scores atomically as JSON."""
        optional = ("repeats", "matrices")
        write_json(
            path, {key: value for key, value in vars(self).items() if key not in optional or value}
        )


def read_scores(path: Path) -> Scores:
    """Reads scores, which people and other programs may have changed.

    Args:
        path: Their `scores.json`.

    Returns:
        The scores; a part that is missing, or of another type, is empty.

    Raises:
        FileNotFoundError: There is none.
        NotADirectoryError: Nor can there be: a file stands in place of a folder.
        UnreadableError: It is damaged, or holds no object.
    """
    content = read_object(path)
    total = content.get("sum")
    return Scores(
        scores={name: _number(score) for name, score in _part(content, "scores").items()},
        sum=None if total is None else _number(total),
        metrics=_part(content, "metrics"),
        provenance=_part(content, "provenance"),
        repeats=_part(content, "repeats"),
        matrices=_part(content, "matrices"),
    )


def _part(content: dict[str, Any], name: str) -> dict[str, Any]:
    part = content.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
