"""The two ways to the same scores: disentanglement_lib itself, and encode once, compute fast."""

from collections.abc import Sequence
from typing import Protocol

from evaluator.ground_truth import GroundTruth
from evaluator.metrics import Metric, Result
from evaluator.representations import Representation

ENGINES = ("fast", "reference")


class Score(Protocol):
    """Computes one metric of one representation."""

    def __call__(
        self, metric: Metric, seed: int, preset: str, bindings: Sequence[str] = ()
    ) -> Result:
        """Scores; see `metrics.run` for the arguments and errors."""


def prepare(
    engine: str, ground_truth: GroundTruth, representation: Representation
) -> tuple[Score, list[str]]:
    """Readies an engine for a representation; its codes are kept from one metric to the next.

    Args:
        engine: One of `ENGINES`.
        ground_truth: The data set.
        representation: What is scored.

    Returns:
        The function that scores, and warnings: why `fast` can't be used, if so (the representation
        is no function of the image, or the data set draws part of the image at random); it is then
        the reference that scores.
    """
    raise NotImplementedError
